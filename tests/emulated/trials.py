"""Runs tests in forks of the process that has collected them, so that a trial costs no more than its tests.

`Trials` is a plugin for pytest: once the tests are collected, it runs them all without a break, and learns how long
each takes and which breaks it reaches. Then each break is tried by the tests that reach it, one after the other until
one fails: the quick ones first, and those that noticed other breaks.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

NOTHING = "nothing"
UNREACHED = "nothing, and no test reaches it"


class Switch(Protocol):
    """What makes a break active, and knows which ones were reached: breaks.py."""

    def activate(self, number: int) -> None: ...
    def reached(self) -> set[int]: ...


@dataclass(frozen=True)
class Passed:
    """What a test that passed took of the processor, and the breaks that it reached."""

    seconds: float
    reached: frozenset[int]


def time_limit(seconds: float) -> float:
    """For a test that takes so many seconds of the processor when nothing is broken: some breaks never end."""
    return 2 + 10 * seconds


class Trials:
    """Tries breaks by number, and reports each with the test that noticed it.

    Args:
        switch: returns the library's switch, once the tests are collected.
        numbers: of the breaks, in the order of their trials.
        report: is called with each number and what noticed it, or with -1 and the test that fails without a break.
        log: the file for what tests print.
    """

    def __init__(
        self,
        switch: Callable[[], Switch],
        numbers: Iterable[int],
        report: Callable[[int, str], None],
        log: Path,
    ) -> None:
        self._make_switch = switch
        self._numbers = numbers
        self._report = report
        self._log = log

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        self._switch = self._make_switch()
        known, noticed = self.run(session.items, -1)
        if noticed:
            self._report(-1, noticed)
            return True
        telling: Counter[str] = Counter()
        for number in self._numbers:
            reaching = [item for item in session.items if number in known[item.nodeid].reached]
            reaching.sort(key=lambda item: known[item.nodeid].seconds / (1 + telling[item.nodeid]))
            limits = {item.nodeid: time_limit(known[item.nodeid].seconds) for item in reaching}
            _, noticed = self.run(reaching, number, limits)
            telling[noticed] += 1
            self._report(number, noticed or (NOTHING if reaching else UNREACHED))
        return True

    def run(
        self, items: Sequence[pytest.Item], number: int, limits: dict[str, float] | None = None
    ) -> tuple[dict[str, Passed], str]:
        """What is known of the tests that passed in a fork with this break, and which one did not, if any."""
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self._be_tested(items, number, limits or {}, theirs)
            finally:
                os._exit(1)
        os.close(theirs)
        with os.fdopen(ours) as lines:
            told = [json.loads(line) for line in lines]
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        passed = {item.nodeid: Passed(one[0], frozenset(one[1])) for item, one in zip(items, told, strict=False)}
        return passed, "" if status == 0 else items[len(told)].nodeid

    def _be_tested(self, items: Sequence[pytest.Item], number: int, limits: dict[str, float], tell: int) -> None:
        """In the fork: run the tests until one fails, and tell of each that passes. Does not return."""
        output = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        self._switch.activate(number)
        for item in items:
            signal.setitimer(signal.ITIMER_PROF, limits.get(item.nodeid, 0))  # whose signal ends the process
            started = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if item.session.testsfailed:
                os._exit(1)
            told: Any = [time.process_time() - started, sorted(self._switch.reached())]
            os.write(tell, f"{json.dumps(told)}\n".encode())
        sys.stdout.flush()
        os._exit(0)
