"""What a run logs while it goes on: learning curves, pictures, a progress bar or lines of text."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from internet.utils.optional import require

#: Seconds between two lines, where there is no terminal to draw a bar on.
PAUSE = 10.0

#: Seconds, a century: what is further off is shown as this.
FAR_OFF = 3.2e9


class NullLogger:
    """Logs nothing: what processes other than the main one have."""

    def advance(self, step: int) -> None:
        """A step is done; now there are `step` of them."""

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Points of learning curves."""

    def progress(self, step: int, loss: float, seconds_left: float) -> None:
        """How the run stands. It may end by the clock before it ends by its steps."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """An image, uint8 (H, W, 3)."""

    def log(self, text: str) -> None:
        """A line for the user."""

    def close(self) -> None:
        """The end of the log."""


class RunLogger(NullLogger):
    """Logs to tensorboard and to standard error.

    Args:
        folder: where the curves go. Points after step `start`, of a run that was cut off, are dropped from them.
        start, steps: where the run begins and ends.
        batch: samples of a step: as many generated frames.
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
