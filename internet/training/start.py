"""Weights to start from that another training has made."""

from internet.model import INTERnet
from internet.model.checkpoint import find_checkpoint
from internet.model.weights import check_weights, read_weights


def load_start(model: INTERnet, path: str) -> None:
    """Load a checkpoint of such a model, its averaged weights where it has them, or stage I of `import-fomm`.

    Of a training folder it takes the newest checkpoint.

    Raises:
        OSError, ValueError: the file cannot be read, or its weights do not fit.
    """
    weights = read_weights(find_checkpoint(path))
    if "model_config" not in weights:
        model.load_stage_one(weights)
        return
    weights = weights["ema"] or weights["model"]
    check_weights(weights, model.state_dict(), f"'{path}'")
    model.load_state_dict(weights)
