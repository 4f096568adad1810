"""Run torch.compile in advance, in processes that can be killed; their results are in torch's cache on disk.

A compilation can take any time, and nothing inside its process can reliably stop it. So while the tests run, a few
processes (`python -m benchmarks.gpu.compiling`) compile the eager formulations, one row after the other; before the
first timing they are killed. A row that they finished then compiles in seconds from the cache, also before the first
timing; any other is timed without torch.compile, and the report says so.
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
"""The most processes: each holds a case's tensors on the device."""
TO_LOAD = 3.0
"""Estimated seconds to compile a row from the cache, for planning."""
AT_ONCE = 20.0
"""Limit in seconds of torch.compile for a row in its cache. For graphs with `torch.inverse` the cache has only the
generated code, and the graph is traced and lowered again."""
MANY = 64
"""torch's limit on versions of one function: enough for all rows of an operator."""
DONE, FAILED, NOT_IN_TIME, NOT_ASKED = "compiled", "failed", "not compiled in time", "not asked for"


class Compilations:
    """Rows that are compiled until the block ends.

    Each row has a file: created by the process that takes the row, and filled when it has finished.
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
        """End the processes, and record the state of each row."""
        if self._folder.exists():
            self._states = {name: _state(self._folder / str(index)) for index, name in enumerate(self._names)}
        self._stack.close()

    def wait(self, seconds: float) -> dict[str, int]:
        """Wait until all rows are compiled, at most `seconds`, and stop; returns the number of rows in each state."""
        budget = Budget(seconds)
        for started in self._processes:
            with suppress(subprocess.TimeoutExpired):
                started.wait(budget.left())
        self.stop()
        return {state: [*self._states.values()].count(state) for state in (DONE, FAILED, NOT_IN_TIME)}

    def load(self, device: torch.device, seconds: float) -> None:
        """Compile in this process, at most `seconds`, what the other processes have put into the cache."""
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
        """The state of a row, and its compiled function."""
        name = str(row.workload)
        return self._states.get(name, NOT_ASKED), self._functions.get(name)


def _processes() -> int:
    """All cores but one, which is left to the tests."""
    return max(1, min(PROCESSES, len(os.sched_getaffinity(0)) - 1))


def _state(path: Path) -> str:
    return (path.read_text(encoding="utf-8") if path.exists() else "") or NOT_IN_TIME


def _compile(row: Row, device: torch.device) -> str:
    try:
        return DONE if compiled(row.baseline, speed.case_of(row, device)) else FAILED
    except Exception as error:  # for instance, no memory beside the other processes' tensors
        print(f"{row.workload}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def main(argv: Sequence[str]) -> None:
    """The command line: the folder of the rows' files, the device, the divisor of the shapes, the number of rows."""
    folder, device, shrink, count = Path(argv[0]), torch.device(argv[1]), int(argv[2]), int(argv[3])
    for index, row in enumerate(filter(speed.is_compiled, speed.rows(shrink)[:count])):
        path = folder / str(index)
        with suppress(FileExistsError):  # if another process has taken it
            path.touch(exist_ok=False)
            path.write_text(_compile(row, device), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
