"""Requests to stop: a signal, or the end of the time allowed."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: A second signal within this many seconds is the same request: torchrun repeats the terminal's signal.
ECHO = 1.0


class StopRequest:
    """A context in which SIGTERM and SIGINT request a stop; a second signal acts as usual.

    Args:
        minutes: the time limit, after which the run stops too.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.signal: int | None = None
        self._seconds = float("inf") if minutes is None else 60 * minutes
        self._begin = self._received = time.monotonic()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._record) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def seconds_left(self) -> float:
        """The time left; infinite if there is no limit."""
        return self._seconds - (time.monotonic() - self._begin)

    def _record(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._received = number, now
        elif now - self._received > ECHO:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
