"""The folder of a run: which run it holds, and where to resume it."""

from pathlib import Path
from typing import Any

from torch import Tensor

from internet.model.checkpoint import read_checkpoint
from internet.training.checkpoint.store import Checkpoints
from internet.training.config import Config
from internet.training.distributed import World
from internet.utils.files import OutputError, atomic_write, output_folder
from internet.utils.optional import require
from internet.utils.run_checkpoints import CHECKPOINTS, CONFIG, is_run
from internet.utils.settings import SettingError

#: The further entries (with their types) of a checkpoint from which a run can be resumed.
_ENTRIES: dict[str, type] = {
    "config": dict,
    "discriminator": dict,
    "optimizers": list,
    "rng": Tensor,
    "step": int,
    "metrics": dict,
}


def open_run(config: Config, world: World) -> dict[str, Any] | None:
    """Make the run's folder and write its configuration there; returns the checkpoint to resume from, if any.

    All processes must see the same folder, also those on other machines.

    Raises:
        SettingError: the folder holds a run with other settings that cannot change on the way.
        OutputError: it holds something else, or cannot be written.
    """
    path = None
    with world.together():
        if world.is_main:
            path = _newest(config)
    path = world.broadcast(path)
    with world.together():
        state = None if path is None else _read_state(path, config)
        if world.is_main:
            text = require("yaml", "writing the configuration").safe_dump(config.to_dict(), sort_keys=False)
            atomic_write(Path(config.out, CONFIG), text.encode())
    return state


def checkpoints(config: Config) -> Checkpoints:
    """The checkpoints of a run."""
    return Checkpoints(Path(config.out, CHECKPOINTS), config.checkpoint.keep)


def _read_state(path: Path, config: Config) -> dict[str, Any]:
    """All entries of a run's checkpoint; SettingError if its settings differ."""
    state = read_checkpoint(path)
    if missing := [name for name, kind in _ENTRIES.items() if not isinstance(state.get(name), kind)]:
        raise ValueError(
            f"no run can go on from '{path}': it has no {', '.join(missing)}. A new one can: warm_start={path}"
        )
    try:
        found = Config.from_dict(state["config"]).differences(config)
    except SettingError as error:
        raise SettingError(
            f"another version of this library began the run in '{config.out}': {error}. A new run can start from its "
            f"weights: warm_start={config.out}"
        ) from error
    if found:
        raise SettingError(
            f"'{config.out}' holds a run with other settings: {'; '.join(found)}. "
            "Choose another folder for out, or the same settings to go on"
        )
    return state


def _newest(config: Config) -> Path | None:
    if not config.out:
        raise SettingError("out is empty, expected the run's folder: out=runs/first, for instance")
    folder = output_folder(config.out, overwrite=True)
    if any(map(_counts, folder.iterdir())) and not is_run(folder):
        raise OutputError(f"the folder '{folder}' is not empty and not a training run's: it has no {CONFIG}")
    return checkpoints(config).newest()


def _counts(path: Path) -> bool:
    """Whether a file makes the folder non-empty: hidden files and those of operating systems do not."""
    return not path.name.startswith(".") and path.name not in ("Thumbs.db", "desktop.ini")
