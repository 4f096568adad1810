"""Nothing may run longer than it is given: a clock for all, an alarm for a call, an end for a process and its kin."""

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
"""Seconds after which an alarm that was swallowed goes off once more."""
UNTIL_DEAD = 2.0
"""Seconds in which a killed process is gone, if it can go."""
TO_SUM_UP = 4.0
"""Seconds that an interrupted command has to tell what it knows, as pytest does of the failures until then."""


class Budget:
    """Seconds that a run may take."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds until the end; zero past it."""
        return max(0.0, self._end - self._clock())


class OutOfTime(BaseException):
    """A call took longer than it was given. Like KeyboardInterrupt, no `except Exception` catches it."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so long, or when an alarm around it does. Main thread only.

    Python raises it between two of its instructions: a call that never comes back from C is for `end` to stop.
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
    """A process in a session of its own, which ends with the block, and with it all that it started."""
    started = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield started
    finally:
        end(started, grace)


def end(started: subprocess.Popen[bytes], grace: float = 0.0) -> None:
    """End a session: asked to first, if there is grace, and then made to."""
    if grace and started.poll() is None:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a process that hangs in a driver does not even die
        started.wait(UNTIL_DEAD)


def run(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a command for so long at most; how it ended: "finished", "out of time" or its exit status."""
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
    """Meanwhile SIGTERM unwinds the stack, so that every `process` block ends what it started."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
