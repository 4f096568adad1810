"""Any failure in a process that reads samples ends the run, and all of its processes, within seconds."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from internet.training import loading
from internet.training.loading import SampleError, read_micro_batches
from internet.training.sampler import BatchShard, EpochStream, StepSampler
from tests.support.training import ROOT, start_training

#: `internet train` whose samples fail from number 9 on, in the way and on the rank given by the environment.
PROGRAM = """
import os, signal, sys
from internet.cli import main
from internet.data.image import MediaError
from internet.data.synthetic_dataset import SyntheticDataset

def local():
    class Local(OSError):
        pass
    return Local("a class that no other process can find")

FAILURES = {
    "media": lambda: MediaError("'walk.mp4' is damaged after frame 30"),
    "memory": MemoryError,
    "local": local,
    "bug": lambda: KeyError("flow"),
    "exit": lambda: SystemExit(3),
}

def fail(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FAILURES[how]()

drawn = SyntheticDataset.__getitem__

def failing(self, index):
    if index >= 9 and os.environ.get("RANK", "0") == os.environ.get("FAILING_RANK", "0"):
        fail(os.environ["HOW"])
    return drawn(self, index)

SyntheticDataset.__getitem__ = failing
sys.exit(main())
"""

DIED = r"samples cannot be read: .*worker .*(exited unexpectedly|killed by signal).*data.memory"

#: The message, and the exit status.
EXPECTED = {
    "media": (2, "samples cannot be read: 'walk.mp4' is damaged after frame 30"),
    "memory": (2, "samples cannot be read: there is not enough memory"),
    "local": (2, "samples cannot be read: a class that no other process can find"),
    "exit": (2, DIED),
    "kill": (2, DIED),
    "bug": (1, "a bug in reading samples:\n(.*\n)*KeyError: 'flow'"),
}


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    return str(tmp_path / "program.py")


def ended(process: Any, seconds: float = 120) -> str:
    """The output of a process, which must end, as must its children, which hold the same pipe."""
    try:
        return str(process.communicate(timeout=seconds)[0])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it hangs; it has said: {process.communicate()[0]}")


@pytest.mark.parametrize(("how", "workers"), [("media", 0), *((how, 2) for how in EXPECTED)])
def test_a_failure_is_told_and_ends_the_run(how: str, workers: int, program: str, tmp_path: Path) -> None:
    words = [f"out={tmp_path / 'run'}", f"data.workers={workers}"]
    process = start_training(*words, program=(program,), HOW=how, PYTHONPATH=str(ROOT))
    said, (status, words_expected) = ended(process), EXPECTED[how]
    assert process.returncode == status, said
    assert re.search(words_expected, said), said
    if how != "bug":
        assert "Traceback" not in said
        assert "internet train: " in said


@pytest.mark.parametrize(("how", "rank"), [("media", 1), ("kill", 0)])
def test_a_failure_in_one_rank_ends_all(how: str, rank: int, program: str, tmp_path: Path) -> None:
    options = ("--standalone", "--nproc-per-node=2", "--monitor-interval=0.1")
    torchrun = ("-m", "torch.distributed.run", *options, program)
    variables = {"HOW": how, "FAILING_RANK": str(rank), "PYTHONPATH": str(ROOT)}
    process = start_training(f"out={tmp_path / 'run'}", "data.workers=1", program=torchrun, **variables)
    said = ended(process)
    assert process.returncode != 0
    assert re.search(EXPECTED[how][1], said), said
    ours = said[: said.index("ChildFailedError")] if "ChildFailedError" in said else said
    assert "internet train: samples cannot be read" in ours
    assert not re.search(r"Traceback(.|\n)*internet/training", ours), ours


# The processes that read


class AwkwardError(ValueError):
    """Can neither be reconstructed from its message nor pickled."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AwkwardError("walk.mp4", "two arguments"), "walk.mp4: two arguments"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file or directory", "walk.mp4"), "No such file or directory: 'walk.mp4'"),
        (MemoryError("512 MiB"), r"there is not enough memory \(512 MiB\)"),
        (torch.OutOfMemoryError("of CUDA"), "of CUDA"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "can't allocate memory"),
        (RuntimeError("unable to write to file </torch_1>: No space left on device (28)"), "No space left on device"),
        (ImportError("no PyAV"), "no PyAV"),
    ],
)
def test_what_a_user_can_do_something_about_is_one_line(error: Exception, reason: str) -> None:
    class Failing(Slow):
        def __getitem__(self, index: int) -> dict[str, Any]:
            raise error

    stream = EpochStream(Failing(), 0, endless=True)
    read = read_micro_batches(stream, StepSampler(BatchShard(1), 0, 9), workers=0, pin=False)
    with pytest.raises(SampleError, match=f"^samples cannot be read: .*{reason}"):
        next(read)


def test_samples_that_do_not_go_together_are_a_bug_that_shows_where() -> None:
    class Uneven(Slow):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"frame": torch.zeros(index + 1)}

    stream = EpochStream(Uneven(), 0, endless=True)
    read = read_micro_batches(stream, StepSampler(BatchShard(2), 0, 9), workers=1, pin=False)
    with pytest.raises(RuntimeError, match=r"a bug in reading samples:\n(.*\n)*.*stack expects each tensor"):
        next(read)


class Slow:
    """Samples that contain the id of the process that read them."""

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(0.02)
        return {"pid": torch.tensor(os.getpid())}


@pytest.fixture
def reading() -> Iterator[Any]:
    stream = EpochStream(Slow(), 0, endless=True)
    read = read_micro_batches(stream, StepSampler(BatchShard(1), 0, 1000), workers=2, pin=False)
    yield read
    read.close()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_signals_of_others_leave_them_reading_and_the_end_ends_them(reading: Any) -> None:
    """SIGTERM from a batch system and Ctrl-C in a terminal come from outside and reach all processes of a group."""
    pids = {int(next(reading)["pid"]) for _ in range(8)}
    assert len(pids) == 2
    for pid in pids:
        for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            subprocess.run(["kill", f"-{int(sent)}", str(pid)], check=True)
    time.sleep(0.2)
    assert {int(next(reading)["pid"]) for _ in range(8)} == pids
    reading.close()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_is_killed_is_noticed(reading: Any) -> None:
    pid = int(next(reading)["pid"])

    def read_on() -> None:
        with loading.noticing_lost_workers():
            os.kill(pid, signal.SIGKILL)
            for _ in reading:
                pass

    with pytest.raises(SampleError, match=r"killed by signal|exited unexpectedly"):
        read_on()


def test_other_errors_of_torch_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), loading.noticing_lost_workers():
        raise RuntimeError("shapes do not match")


def test_a_process_that_ends_while_its_samples_are_fetched_is_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory is requested through a socket of that process, before its end is reported."""

    def fetched(loader: Any) -> Iterator[Any]:
        yield {"pid": torch.tensor(1)}
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(loading.DataLoader, "__iter__", fetched)
    monkeypatch.setattr(loading, "SIGNAL_SECONDS", 0.0)
    read = read_micro_batches(
        EpochStream(Slow(), 0, endless=True), StepSampler(BatchShard(1), 0, 9), workers=2, pin=False
    )
    next(read)
    with pytest.raises(SampleError, match=r"a DataLoader worker cannot be reached \(No such file.*data.memory"):
        next(read)


def test_a_parent_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    pids = [int(word) for word in process.stdout.readline().split()]  # type: ignore[union-attr]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30  # torch checks every five seconds whether its parent exists
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.stdout.close()  # type: ignore[union-attr]


ORPHANS = """
from tests.training.test_reading_processes import Slow
from internet.training.loading import read_micro_batches
from internet.training.sampler import BatchShard, EpochStream, StepSampler
stream = EpochStream(Slow(), 0, endless=True)
read = read_micro_batches(stream, StepSampler(BatchShard(1), 0, 1000), workers=2, pin=False)
print(*{int(next(read)["pid"]) for _ in range(8)}, flush=True)
for _ in read:
    pass
"""
