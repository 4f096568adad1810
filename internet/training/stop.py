"""Being asked to stop: by a signal, or by the clock."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """While it is entered, SIGTERM and SIGINT are taken down as a wish to stop; a second one acts as ever.

    Args:
        minutes: after so many, it is as if somebody had asked.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.signal: int | None = None
        self._seconds = float("inf") if minutes is None else 60 * minutes
        self._begin = time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._take_down)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    @property
    def made(self) -> bool:
        """Whether it is time to stop."""
        return self.signal is not None or self.seconds_left <= 0

    @property
    def seconds_left(self) -> float:
        """By the clock."""
        return self._seconds - (time.monotonic() - self._begin)

    def _take_down(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def ignore_signals(worker: int = 0) -> None:
    """For processes that read samples: they end with the one they read for, which may be saving its work."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
