"""The GPU report keeps its time limit: calls are interrupted, processes are ended, and everything is reported."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import compiling, limits, page, speed, worker
from benchmarks.gpu import report as gpu_report
from benchmarks.gpu.limits import Budget, OutOfTime
from benchmarks.gpu.store import Store
from benchmarks.gpu.worker import Part

CPU = torch.device("cpu")
HEADER: dict[str, Any] = {
    "device": "A GPU", "internet": "1", "torch": "2", "backends": ["cuda"], "copy_bandwidth": 1e9, "measurement": True,
}  # fmt: skip


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def is_running(pid: int) -> bool:
    """Whether a process still exists after the time in which a killed one ends."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.01)
    return True


def test_a_budget_never_runs_below_zero() -> None:
    clock = Clock()
    budget = Budget(10, clock)
    clock.now = 4
    assert budget.left() == 6
    clock.now = 11
    assert budget.left() == 0


def hang() -> None:
    """Like a call that treats every exception as an error, and continues."""
    for _ in range(3):
        with suppress(Exception):
            time.sleep(30)


def cut_short(seconds: float) -> None:
    with pytest.raises(OutOfTime), limits.alarm(seconds):
        hang()


def test_an_alarm_cuts_a_call_short() -> None:
    began = time.monotonic()
    cut_short(0.05)
    assert time.monotonic() - began < 20


def test_alarms_nest() -> None:
    def nested() -> None:
        cut_short(0.05)  # the inner alarm's own time
        cut_short(100)  # no more than the outer alarm's remaining time
        hang()

    with pytest.raises(OutOfTime, match="longer than 0 s"), limits.alarm(0.2):
        nested()
    with limits.alarm(100):
        cut_short(0.05)
    time.sleep(0.01)  # no alarm goes off afterwards


def test_a_command_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    assert limits.run([sys.executable, "-c", script], tmp_path / "log", 1.0) == "out of time"
    assert not is_running(int((tmp_path / "log").read_text().split()[0]))
    assert limits.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", 30) == "exit status 3"


def test_every_part_asks_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    asked: list[float] = []

    def part(name: str, takes: float, share: float = 1.0) -> Part:
        def measure(seconds: float) -> dict[str, Any]:
            asked.append(seconds)
            clock.now += takes
            if name == "breaks":
                raise RuntimeError("out of memory")
            return {"operator": name, "shape": "B=1", "layout": "contiguous", "dtype": "float32", "passes": {}}

        return Part("speed", name, measure, share)

    store = Store(tmp_path / "new", **HEADER)
    todo = [part("a", 10, share=0.5), part("breaks", 15), part("b", 14), part("c", 5), part("d", 5)]
    store.plan(map(str, todo))
    worker.work(todo, store, Budget(40, clock))
    assert asked == [20, 30, 15]
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert [row["operator"] for row in report["sections"]["speed"]] == ["a", "b"]
    assert report["pending"] == []
    text = (tmp_path / "new" / "report.md").read_text()
    assert "- no time was left (2): `speed c`, `speed d`" in text
    assert "- FAILED speed: RuntimeError: out of memory" in text


def test_a_part_that_hangs_is_cut_short_and_the_rest_goes_on(tmp_path: Path) -> None:
    def hangs(_: float) -> dict[str, Any]:
        time.sleep(30)
        return {}

    todo = [Part("power", "hangs", hangs, share=0.001), Part("power", "goes on", lambda _: {"reason": "none"})]
    store = Store(tmp_path / "new", **HEADER)
    store.plan(map(str, todo))
    worker.work(todo, store, Budget(2000, Clock()))
    assert store.report["left_out"] == [{"what": "power hangs", "why": "cut short: took longer than 2 s"}]
    assert store.report["sections"]["power"] == [{"reason": "none"}]


HANGING_WORKER = """
import signal, sys, time
from pathlib import Path
from benchmarks.gpu.store import Store
signal.signal(signal.SIGTERM, signal.SIG_IGN)
store = Store(Path(sys.argv[1]), **{header!r})
store.plan(["tests", "speed x", "speed y"])
store.done("tests")
Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""


def test_a_measuring_process_that_does_not_listen_is_ended_and_its_page_written(tmp_path: Path) -> None:
    script = HANGING_WORKER.replace("{header!r}", repr(HEADER))
    began = time.monotonic()
    ended = gpu_report.supervise([sys.executable, "-c", script, str(tmp_path)], Budget(3))
    assert (tmp_path / "ready").exists()
    assert time.monotonic() - began < 30
    text = gpu_report.write_pages(tmp_path, ended, began)
    assert (tmp_path / "report.md").read_text() == text
    assert "stopped early: ended at its time limit" in text
    assert "- was running at the end (1): `speed x`" in text
    assert "- not begun (1): `speed y`" in text


def test_a_measuring_process_that_dies_at_once_leaves_a_page_too(tmp_path: Path) -> None:
    ended = gpu_report.supervise([sys.executable, "-c", "import os; os.abort()"], Budget(30))
    assert "wrote nothing: exit status -6" in gpu_report.write_pages(tmp_path / "new", ended, time.monotonic())
    assert (tmp_path / "new" / "report.md").exists()


def test_compilations_that_hang_are_ended_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiling process here is a script that finishes one row, starts another, and hangs."""
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\nprintf compiled > "$3/0"\n: > "$3/1"\necho $$ > "$0.pid"\nexec sleep 60\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(compiling, "PROCESSES", 1)
    rows = speed.rows(32)
    with compiling.Compilations(rows, CPU, 32, tmp_path / "log") as compilations:
        counts = compilations.wait(2)
        assert not is_running(int((tmp_path / "python.pid").read_text()))
    asked = sum(speed.is_compiled(row) for row in rows)
    assert counts == {"compiled": 1, "failed": 0, "not compiled in time": asked - 1}
    assert [compilations.of(row)[0] for row in rows[:3]] == ["compiled", *["not compiled in time"] * 2]
    assert {compilations.of(row)[0] for row in rows if not speed.is_compiled(row)} == {"not asked for"}


@pytest.mark.parametrize(
    ("compiled", "state"), [(lambda *_: len, "compiled"), (lambda *_: None, "failed"), (1, "failed")]
)
def test_a_compiling_process_takes_the_rows_that_nobody_has(
    compiled: Callable[..., Any], state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "compiled", compiled)
    (tmp_path / "0").touch()
    compiling.main([str(tmp_path), "cpu", "32", "3"])
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {"0": "", "1": state, "2": state}


def test_what_is_compiled_is_loaded_and_what_takes_too_long_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = speed.rows(32)[:3]
    monkeypatch.setattr(compiling, "AT_ONCE", 0.5)
    monkeypatch.setattr(compiling, "compiled", lambda function, *_, **__: next(answers)(function))
    answers = iter([lambda function: function, lambda _: time.sleep(30)])
    compilations = compiling.Compilations(rows, CPU, 32, tmp_path / "log")
    compilations._states = dict(zip(compilations._states, ["compiled", "compiled", "failed"], strict=True))
    compilations.load(CPU, 60)
    assert [compilations.of(row) for row in rows] == [
        ("compiled", rows[0].baseline),
        ("not compiled in time", None),
        ("failed", None),
    ]
    entry = speed.measure(rows[1], CPU, 0.0, compilations.of(rows[1])[1]) | {"compile": compilations.of(rows[1])[0]}
    assert "compile" not in entry["passes"]["forward"]["samples"]
    report = {**HEADER, "seconds": 1.0, "finished": True, "sections": {"speed": [entry]}}
    assert f"- torch.compile not compiled in time (1): `{rows[1].workload.operator} B=16" in page.render(report)


def test_waiting_ends_with_the_file_or_the_time(tmp_path: Path) -> None:
    began = time.monotonic()
    worker.wait_for(tmp_path / "never", Budget(0.2))
    (tmp_path / "go").touch()
    worker.wait_for(tmp_path / "go", Budget(60))
    assert time.monotonic() - began < 30
