"""Checkpoints: written whole or not at all, read without running code, the last few kept."""

import os
import warnings
from pathlib import Path
from typing import Any

from internet.model.weights import find_corruption
from internet.utils.files import fsync_directory, save_tensors
from internet.utils.run_checkpoints import checkpoint_name, step_checkpoints, write_latest


class Checkpoints:
    """The checkpoints of a run in a folder, named by their steps; `latest.txt` there names the newest.

    Args:
        folder: made when the first is saved.
        keep: how many; older ones are removed once a new one is safely there.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return step_checkpoints(self.folder)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint: tensors and plain types, among them those of :func:`internet.model.checkpoint_of`.

        Raises:
            OutputError: it cannot be written, for lack of space for instance; earlier checkpoints are kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / checkpoint_name(step)
        save_tensors(path, state)
        write_latest(path)
        fsync_directory(self.folder)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def newest(self) -> Path | None:
        """The newest checkpoint that is not damaged. A damaged one is reported and renamed.

        Partial files of a killed process are removed: call this only when no other process writes here.
        """
        for scrap in self.folder.glob(".step-*"):
            scrap.unlink()
        for path in reversed(self.paths()):
            reason = find_corruption(path)
            if reason is None:
                return path
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            warnings.warn(f"'{path}' is damaged ({reason}); it is now '{aside.name}'", stacklevel=2)
        return None
