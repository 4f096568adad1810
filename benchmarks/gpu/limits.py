"""Time limits: a budget for a run, an alarm for a call, and the end of a process and all its children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

AGAIN = 5.0
"""Seconds after which an alarm whose exception was swallowed is raised again."""
UNTIL_DEAD = 2.0
"""Seconds to wait for a killed process to end."""
TO_SUM_UP = 4.0
"""Seconds for an interrupted command to print what it has, such as pytest's failures."""


class Budget:
    """Seconds that a run may take."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds until the end; zero past it."""
        return max(0.0, self._end - self._clock())


class OutOfTime(BaseException):
    """A call took longer than its limit. Like KeyboardInterrupt, it is not caught by `except Exception`."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after `seconds`, or when the alarm of an outer block does. Main thread only.

    Python raises it between two of its instructions; a call that never returns from C has to be stopped by `end`.
    """

    def ring(*_: object) -> None:
        raise OutOfTime(f"took longer than {seconds:.0f} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    around, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, max(min(seconds, around or seconds), 1e-3), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if around:
            signal.setitimer(signal.ITIMER_REAL, max(around - (time.monotonic() - began), 1e-3), AGAIN)


@contextmanager
def process(command: Sequence[str], grace: float = 0.0, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session; at the end of the block it is ended, with all processes that it started."""
    started = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield started
    finally:
        end(started, grace)


def end(started: subprocess.Popen[bytes], grace: float = 0.0) -> None:
    """End a session: with SIGTERM and `grace` seconds, if any, then by killing it."""
    if grace and started.poll() is None:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a process that hangs in a driver cannot be killed
        started.wait(UNTIL_DEAD)


def run(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a command, at most `seconds`; returns "finished", "out of time" or its exit status."""
    with log.open("wb") as file, process(command, stdout=file, stderr=file, env=environment) as started:
        try:
            status = started.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                started.wait(TO_SUM_UP)
            return "out of time"
    return "finished" if status == 0 else f"exit status {status}"


@contextmanager
def leaving_when_asked() -> Iterator[None]:
    """A block in which SIGTERM unwinds the stack, so that every `process` block ends its process."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
