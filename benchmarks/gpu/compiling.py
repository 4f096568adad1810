"""torch.compile beforehand, in processes that can be ended: what they compiled is in torch's cache on disk.

A compilation takes as long as it takes, and nothing inside its process can be relied on to cut it short. So while
the tests run, a few processes (`python -m benchmarks.gpu.compiling`) compile the eager formulations, one row
after the other; before the first timing they are ended. A row that they finished then compiles in seconds from the
cache, also before the first timing; one that they did not is timed without torch.compile, and the report says so.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import torch

from benchmarks.gpu import speed
from benchmarks.gpu.limits import Budget, OutOfTime, alarm, process
from benchmarks.lib.comparison import Row, compiled
from internet.comparison.case import Function

PROCESSES = 6
"""At most: each holds a case's tensors on the device."""
TO_LOAD = 3.0
"""Seconds that a row takes to be compiled from the cache, for planning."""
AT_ONCE = 20.0
"""Seconds that torch.compile may take for what it has in its cache. It has the generated code of every graph, but of
one with `torch.inverse` not the graph, which it works through again."""
MANY = 64
"""Versions of one function, for all rows of an operator."""
DONE, FAILED, NOT_IN_TIME, NOT_ASKED = "compiled", "failed", "not compiled in time", "not asked for"


class Compilations:
    """Rows being compiled, until the block ends.

    Each row has a file: made by the process that takes the row, filled when that is done with it.
    """

    def __init__(self, rows: Sequence[Row], device: torch.device, shrink: int, log: Path) -> None:
        self._rows = [row for row in rows if speed.is_compiled(row)]
        self._names = [str(row.workload) for row in self._rows]
        self._states = dict.fromkeys(self._names, NOT_IN_TIME)
        self._functions: dict[str, Function | None] = {}
        self._arguments = [device.type, str(shrink), str(len(rows))]
        self._log = log

    def __enter__(self) -> "Compilations":
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            log = stack.enter_context(self._log.open("wb"))
            command = [sys.executable, "-m", "benchmarks.gpu.compiling", str(self._folder), *self._arguments]
            self._processes = [
                stack.enter_context(process(command, stdout=log, stderr=log)) for _ in range(_processes())
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes, and keep what is known of each row."""
        if self._folder.exists():
            self._states = {name: _state(self._folder / str(index)) for index, name in enumerate(self._names)}
        self._stack.close()

    def wait(self, seconds: float) -> dict[str, int]:
        """Until all rows are compiled, or so long, and stop; returns how many rows are in which state."""
        budget = Budget(seconds)
        for started in self._processes:
            with suppress(subprocess.TimeoutExpired):
                started.wait(budget.left())
        self.stop()
        return {state: [*self._states.values()].count(state) for state in (DONE, FAILED, NOT_IN_TIME)}

    def load(self, device: torch.device, seconds: float) -> None:
        """Compile in this process, for so long at most, what the others have compiled, which is in the cache now."""
        budget = Budget(seconds)
        torch._dynamo.reset()
        torch._dynamo.config.recompile_limit = MANY
        for row in self._rows:
            with suppress(OutOfTime), alarm(min(AT_ONCE, budget.left())):
                if self._states[str(row.workload)] == DONE:
                    case = speed.case_of(row, device)
                    self._functions[str(row.workload)] = compiled(row.baseline, case, forget=False)
        for name in set(self._states) - set(self._functions):
            self._states[name] = NOT_IN_TIME if self._states[name] == DONE else self._states[name]

    def of(self, row: Row) -> tuple[str, Function | None]:
        """What has become of a row, and what was compiled for it."""
        name = str(row.workload)
        return self._states.get(name, NOT_ASKED), self._functions.get(name)


def _processes() -> int:
    """One core is left to the tests."""
    return max(1, min(PROCESSES, len(os.sched_getaffinity(0)) - 1))


def _state(path: Path) -> str:
    return (path.read_text(encoding="utf-8") if path.exists() else "") or NOT_IN_TIME


def _compile(row: Row, device: torch.device) -> str:
    try:
        return DONE if compiled(row.baseline, speed.case_of(row, device)) else FAILED
    except Exception as error:  # its tensors may not fit beside those of the other processes
        print(f"{row.workload}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def main(argv: Sequence[str]) -> None:
    """The command line: the folder of the rows' files, the device, what divides the shapes, and how many rows."""
    folder, device, shrink, count = Path(argv[0]), torch.device(argv[1]), int(argv[2]), int(argv[3])
    for index, row in enumerate(filter(speed.is_compiled, speed.rows(shrink)[:count])):
        path = folder / str(index)
        with suppress(FileExistsError):  # another process has it then
            path.touch(exist_ok=False)
            path.write_text(_compile(row, device), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
