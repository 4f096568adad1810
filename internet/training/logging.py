"""The log of a run: learning curves, pictures, a progress bar or lines of text."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from internet.utils.optional import require

#: Seconds between two lines, if there is no terminal for a progress bar.
PAUSE = 10.0

#: The largest remaining time that is shown: a century, in seconds.
FAR_OFF = 3.2e9


class NullLogger:
    """Logs nothing; for processes other than the main one."""

    def advance(self, step: int) -> None:
        """`step` steps are done."""

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Points of learning curves."""

    def progress(self, step: int, loss: float, seconds_left: float) -> None:
        """Show progress. A run may reach its time limit before its last step."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """An image, uint8 (H, W, 3)."""

    def log(self, text: str) -> None:
        """Print a line for the user."""

    def close(self) -> None:
        """End the log."""


class RunLogger(NullLogger):
    """Logs to tensorboard and to standard error.

    Args:
        folder: for the curves. Points after step `start`, from a run that was interrupted, are dropped.
        start, steps: the run's first and last step.
        batch: samples (generated frames) in a step.
    """

    def __init__(self, folder: Path, start: int, steps: int, batch: int) -> None:
        require("tensorboard", "writing learning curves")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=start)
        tqdm = require("tqdm", "showing progress").tqdm
        self._bar = tqdm(total=steps, initial=start, unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        self.steps, self.batch = steps, batch
        self._mark, self._last_line = (start, time.monotonic()), float("-inf")

    def advance(self, step: int) -> None:
        self._bar.update(1)

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def progress(self, step: int, loss: float, seconds_left: float) -> None:
        (before, then), now = self._mark, time.monotonic()
        self._mark = step, now
        pace = (step - before) / max(now - then, 1e-9)
        left = timedelta(seconds=round(min((self.steps - step) / pace, seconds_left, FAR_OFF)))
        self.scalars(step, "speed", {"frames_per_second": pace * self.batch})
        status = f"loss {loss:.4g}, {pace * self.batch:.3g} frames/s, {left} left"
        self._bar.set_postfix_str(status)
        if self._bar.disable and (now - self._last_line >= PAUSE or step == self.steps):
            self._last_line = now
            self.log(f"step {step} of {self.steps}: {status}")

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._writer.add_image(name, image, step, dataformats="HWC")

    def log(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
        self._writer.close()
