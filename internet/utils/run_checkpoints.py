"""Where a training run keeps its checkpoints, for the trainer that writes them and the commands that read them.

.. code-block:: text

    runs/first/config.yaml                       every setting; identifies the folder as that of a run
               checkpoints/step-00000500.pt
                           step-00001000.pt
                           latest.txt            one line, the name of the newest: step-00001000.pt

The newest is named in a file and not by a symbolic link, which exFAT, SMB shares and mounted drives do not support.
"""

import re
from pathlib import Path

from internet.utils.files import atomic_write

#: The resolved configuration of a run.
CONFIG = "config.yaml"

#: The folder of the checkpoints in that of a run, and the file that names the newest of them.
CHECKPOINTS, LATEST = "checkpoints", "latest.txt"

#: How the first version marked the newest: a symbolic link, or a copy that a user made of its target.
_LINK = "last.pt"
_STEP = re.compile(r"step-(\d{8,})\.pt", re.ASCII)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, with or without checkpoints."""
    return (folder / CONFIG).is_file()


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint of a step."""
    return f"step-{step:08d}.pt"


def step_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder that are named by their steps, oldest first."""
    names = [path for path in folder.iterdir() if _STEP.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(names, key=lambda path: int(path.stem.removeprefix("step-")))


def write_latest(checkpoint: Path) -> None:
    """Record a checkpoint as the newest of its folder.

    Raises :class:`~internet.utils.files.OutputError` if that cannot be written.
    """
    atomic_write(checkpoint.parent / LATEST, f"{checkpoint.name}\n".encode())
    link = checkpoint.parent / _LINK
    if link.is_symlink():  # from a run that the first version began
        link.unlink()


def latest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run, given its folder or that of its checkpoints; None if there is none.

    It is the one that `latest.txt` names; if that is missing or wrong, the target of `last.pt`, or the checkpoint with
    the highest step.
    """
    for folder in (run / CHECKPOINTS, run):
        candidates = [_named(folder), folder / _LINK, *reversed(step_checkpoints(folder))]
        found = next((path for path in candidates if path is not None and path.is_file()), None)
        if found is not None:
            return found
    return None


def _named(folder: Path) -> Path | None:
    """The path in a folder's `latest.txt`, if that contains the name of a checkpoint."""
    try:
        name = (folder / LATEST).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return folder / name if _STEP.fullmatch(name) else None
