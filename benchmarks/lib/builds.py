"""Two builds of this library, timed in turn: `python -m benchmarks compare --against CHECKOUT`.

They cannot be in one process, as each would register the same operators. So both run in processes of their own
(`benchmarks/lib/build_process.py`), each of which takes a sample whenever it is asked to and otherwise waits.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from internet.comparison.case import Case
from internet.comparison.timing import SHORTEST_SAMPLE

SERVER = Path(__file__).with_name("build_process.py")
HERE = Path(__file__).resolve().parents[2]
Clock = Callable[[], float]
"""Takes a sample: the seconds of a call."""


class BuildError(RuntimeError):
    """A build cannot be measured."""


class Build:
    """The CPU operators of a checkout that is built in place, in a process of their own.

    Args:
        checkout: its folder.

    Raises:
        BuildError: there is no `internet` in it, or it does not run.
    """

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout.resolve()
        if not (self._checkout / "internet").is_dir():
            raise BuildError(f"{checkout}: expected a checkout of this library, with a folder internet/")
        # not the file itself, whose folder would come before the checkout on sys.path
        code = f"import runpy; runpy.run_path({str(SERVER)!r}, run_name='__main__')"
        command = [sys.executable, "-W", "ignore", "-c", code]
        self._process = subprocess.Popen(
            command, cwd=self._checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        with contextlib.ExitStack() as unless_it_works:
            unless_it_works.callback(self.close)
            imported, reason = self._answer().values()
            if reason:
                raise BuildError(f"{checkout}: its CPU kernels do not run: {reason}")
            for file in imported:
                if not Path(file).is_relative_to(self._checkout):
                    raise BuildError(f"{checkout} is not built in place: its process imported {file}")
            unless_it_works.pop_all()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # of a request that it has not read
            self._process.communicate()

    def clock(self, case: Case, operator: str, name: str) -> Clock | None:
        """The clock of a case's pass there; None, with a message, if that build has no such operator or arguments."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "case.pt")
            torch.save([case.inputs, case.leaves, case.wanted, case.grad_outputs], file)
            request = {"load": str(file), "operator": operator, "backward": name != "forward"}
            answer = self._ask(threads=torch.get_num_threads(), **request)
        if "error" in answer:
            print(f"  {self._checkout}: {operator}: {answer['error']}", file=sys.stderr)
            return None
        repeats = max(1, round(SHORTEST_SAMPLE / answer["seconds"]))
        return lambda: float(self._ask(repeats=repeats)["seconds"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a process that has ended does not answer either
            self._process.stdin.write(json.dumps(request) + "\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BuildError(f"{self._checkout}: its process ended with status {self._process.wait()}")
        answered: dict[str, Any] = json.loads(line)
        return answered


class Builds:
    """This build and another."""

    def __init__(self, this: Build, other: Build) -> None:
        self._builds = {"this": this, "other": other}

    def clocks(self, case: Case, operator: str, name: str) -> dict[str, Clock]:
        """The clocks of a case's pass on both builds, or none, if one of them cannot run it."""
        found = {key: build.clock(case, operator, name) for key, build in self._builds.items()}
        return {key: clock for key, clock in found.items() if clock and all(found.values())}


@contextlib.contextmanager
def against(checkout: Path | None) -> Iterator[Builds | None]:
    """This checkout's build and another's, whose processes end with the context; None for no other."""
    if checkout is None:
        yield None
        return
    with contextlib.closing(Build(checkout)) as other, contextlib.closing(Build(HERE)) as this:
        yield Builds(this, other)
