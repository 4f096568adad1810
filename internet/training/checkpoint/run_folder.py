"""The folder of a run: whose it is, and where in it the run goes on."""

from pathlib import Path
from typing import Any

from internet.model.checkpoint import read_checkpoint
from internet.training.checkpoint.store import Checkpoints
from internet.training.config import Config
from internet.training.distributed import World
from internet.training.overrides import SettingError
from internet.utils.files import OutputError, atomic_write, output_folder
from internet.utils.optional import require
from internet.utils.run_layout import CHECKPOINTS

#: The resolved configuration, by which a folder is known as a run's.
CONFIG = "config.yaml"


def open_run(config: Config, world: World) -> dict[str, Any] | None:
    """Make the run's folder and write its configuration there; the checkpoint to go on from, None for a fresh start.

    All processes see the same folder, also those on other machines.

    Raises:
        SettingError: the folder has a run that was set differently in what matters.
        OutputError: it holds something else, or cannot be written.
    """
    path, error = world.told(_newest_or_error(config) if world.first else (None, None))
    if error is not None:  # the same in every process, or the others would wait for the first
        raise error
    state = None if path is None else read_checkpoint(path)
    if state is not None and (found := Config.from_dict(state["config"]).differences(config)):
        raise SettingError(
            f"'{config.out}' holds a run with other settings: {'; '.join(found)}. "
            "Choose another folder for out, or the same settings to go on"
        )
    if world.first:
        text = require("yaml", "writing the configuration").safe_dump(config.to_dict(), sort_keys=False)
        atomic_write(Path(config.out, CONFIG), text.encode())
    return state


def checkpoints(config: Config) -> Checkpoints:
    """Those of a run."""
    return Checkpoints(Path(config.out, CHECKPOINTS), config.checkpoint.keep)


def _newest_or_error(config: Config) -> tuple[Path | None, Exception | None]:
    try:
        return _newest(config), None
    except (OSError, ValueError, ImportError) as error:
        return None, error


def _newest(config: Config) -> Path | None:
    if not config.out:
        raise SettingError("out is empty, expected the run's folder: out=runs/first, for instance")
    folder = output_folder(config.out, overwrite=True)
    if any(folder.iterdir()) and not (folder / CONFIG).is_file():
        raise OutputError(f"the folder '{folder}' holds something, but no training run: it has no {CONFIG}")
    return checkpoints(config).newest()
