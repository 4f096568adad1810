"""Being asked to stop: by a signal, or by the clock."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Seconds in which a signal that comes again is the same wish: torchrun passes on what the terminal has sent already.
ECHO = 1.0


class StopRequest:
    """While it is entered, SIGTERM and SIGINT are taken down as a wish to stop; a second one acts as ever.

    Args:
        minutes: after so many, it is as if somebody had asked.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.signal: int | None = None
        self._seconds = float("inf") if minutes is None else 60 * minutes
        self._begin = self._taken = time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._take_down) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def seconds_left(self) -> float:
        """By the clock."""
        return self._seconds - (time.monotonic() - self._begin)

    def _take_down(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._taken = number, now
        elif now - self._taken > ECHO:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)


def ignore_signals(worker: int = 0) -> None:
    """For processes that read samples: they end with the one they read for, which may be saving its work."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
