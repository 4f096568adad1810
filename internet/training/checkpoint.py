"""Checkpoints: written whole or not at all, read without running code, the last few kept."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

from internet.model.weights import damage
from internet.utils.files import OutputError, save_tensors

#: Points at the newest checkpoint.
LAST = "last.pt"

_NAME = re.compile(r"step-(\d{8,})\.pt")


class Checkpoints:
    """The checkpoints of a run in a folder, named by their steps; `last.pt` leads to the newest.

    Args:
        folder: made when the first is saved.
        keep: how many; older ones are removed once a new one is safely there.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """All there are, oldest first."""
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)] if self.folder.is_dir() else []
        return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint: tensors and plain types, among them those of :func:`internet.model.checkpoint_of`.

        Raises:
            OutputError: it cannot be written, for lack of space for instance; those before it are still there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        save_tensors(path, state)
        self._point_at(path)
        _settle(self.folder)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole. A damaged one is reported, and set aside under another name.

        What a killed process had begun to write is removed: call this when no other writes here.
        """
        for scrap in self.folder.glob(".step-*"):
            scrap.unlink()
        for path in reversed(self.paths()):
            reason = damage(path)
            if reason is None:
                return path
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            warnings.warn(f"'{path}' is damaged ({reason}); it is now '{aside.name}'", stacklevel=2)
        return None

    def _point_at(self, path: Path) -> None:
        link = self.folder / f".{LAST}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        os.replace(link, self.folder / LAST)


def _settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write the folder '{folder}': {error.strerror}") from error
