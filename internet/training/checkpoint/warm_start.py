"""Begin with weights that another training has made."""

from internet.model import INTERnet
from internet.model.checkpoint import best_weights, checked_entries, find_checkpoint, load_weights, read_entries


def warm_start(model: INTERnet, path: str) -> None:
    """Load a checkpoint of such a model, its averaged weights where it has them, or stage I of `import-fomm`.

    Of a training folder it takes the newest checkpoint.

    Raises:
        OSError, ValueError: the file cannot be read, or its weights do not fit.
    """
    file = find_checkpoint(path)
    entries = read_entries(file)
    if "format" in entries:
        load_weights(model, best_weights(checked_entries(entries, file)), f"'{file}'")
    else:
        model.load_stage_one(entries)
