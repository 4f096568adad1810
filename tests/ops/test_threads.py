"""When CPU operators wake torch's other threads, and that they never wait for threads that do not exist."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compare import require
from tests.support.evaluate import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list threads")

SMALL = {
    "affine_mixture": 64,
    "upsample_motion": 64,
    "confidence_warp": 8,
    "pyramid_warp": 4,
    "volume_warp": 8,
    "masked_backwarp_loss": 64,
    "flow_confidence": 64,
    "soft_argmax": 64,
    "anchor_features": 16,
}
"""Sizes at which a call takes less than 50 microseconds in one thread of a fast machine."""

LARGE = {
    "affine_mixture": 128,
    "upsample_motion": 128,
    "confidence_warp": 64,
    "pyramid_warp": 32,
    "volume_warp": 32,
    "masked_backwarp_loss": 256,
    "flow_confidence": 256,
    "soft_argmax": 128,
    "anchor_features": 64,
}
"""Sizes at which it takes more than 100."""

PRELUDE = """
import os, sys
import torch
from torch.utils.data import DataLoader, Dataset
from internet import ops
from internet.comparison import inputs, workloads

THREADS = 4

def prepare(operator, size):
    function = getattr(ops, operator)
    passes = getattr(workloads, operator)(1, size).case(torch.device("cpu"), function).passes(function)
    return lambda: [results() for results in passes.values()]

def run(operator, size):
    return prepare(operator, size)()

def as_bytes(tensor):
    return tensor.detach().numpy().tobytes()

def threads_started_by(call):
    torch.set_num_threads(THREADS)  # which starts some of torch's threads
    before = len(os.listdir("/proc/self/task"))
    call()
    return len(os.listdir("/proc/self/task")) - before
"""


def in_a_process(code: str, **environment: str) -> str:
    """The output of a fresh process, in which none of torch's threads exists before it is woken."""
    command = [sys.executable, "-c", PRELUDE + code]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "INTERNET_BACKEND": "cpu", **environment}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_small_calls_wake_no_thread() -> None:
    require("cpu", "affine_mixture")
    code = f"""
calls = {{operator: prepare(operator, size) for operator, size in {SMALL}.items()}}
print([operator for operator, call in calls.items() if threads_started_by(call)])
"""
    assert in_a_process(code) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("operator", LARGE)
def test_large_calls_do(operator: str) -> None:
    require("cpu", operator)
    code = f"print(threads_started_by(prepare({operator!r}, {LARGE[operator]})))"
    assert in_a_process(code) == "3"


def test_threads_that_share_one_core_do_not_wait_for_each_other() -> None:
    """OpenMP's threads spin while they wait: each would occupy the core of the one it waits for."""
    require("cpu", "affine_mixture")
    code = f"""
call = prepare("affine_mixture", {LARGE["affine_mixture"]})
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
print(threads_started_by(call))
"""
    assert in_a_process(code) == "0"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_threads_that_openmp_binds_to_cores_of_their_own_share_a_call() -> None:
    require("cpu", "affine_mixture")
    code = f"""
call = prepare("affine_mixture", {LARGE["affine_mixture"]})
print(len(os.sched_getaffinity(0)), threads_started_by(call))
"""
    assert in_a_process(code, OMP_PROC_BIND="true") == "1 3"


def test_a_forked_process_does_not_wait_for_its_parents_threads() -> None:
    require("cpu", "affine_mixture")
    code = f"""
import signal
torch.set_num_threads(THREADS)
calls = [prepare(operator, size) for operator, size in {LARGE}.items()]
expected = [call() for call in calls]
child = os.fork()
if child == 0:
    signal.alarm(120)  # it kills
    found, wanted = ([as_bytes(t) for t in inputs.tensors(r)] for r in ([call() for call in calls], expected))
    os._exit(17 if found == wanted else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert in_a_process(code) == "17"


def test_workers_of_a_data_loader_use_threads_of_their_own() -> None:
    require("cpu", "masked_backwarp_loss")
    code = f"""
torch.set_num_threads(THREADS)
call = prepare("masked_backwarp_loss", {LARGE["masked_backwarp_loss"]})

class Losses(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, _):
        return call()[0]

expected = call()[0]
loader = DataLoader(
    Losses(), batch_size=None, num_workers=2, timeout=120, multiprocessing_context="fork",
    worker_init_fn=lambda _: torch.set_num_threads(THREADS),
)
print(all(torch.equal(loss, expected) for loss in loader))
"""
    assert in_a_process(code) == "True"
