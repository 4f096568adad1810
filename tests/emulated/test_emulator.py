"""The emulator notices what is undefined on a GPU: kernels with one fault each (faults.cu)."""

import ctypes
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.emulated.build import CHECKS, EMULATOR, HERE, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++")

LARGE = 11
"""Stands for another kernel instead of a fault of `kernel`: one with too much static shared memory."""

GOOD = [float((63 - i) + (63 - (i ^ 1))) for i in range(64)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    flags = "-std=c++20 -O1 -fPIC -shared -w -D__CUDACC__ -D__CUDA_ARCH__=900 -fno-extern-tls-init"
    command = [*str(compiler()).split(), *flags.split(), CHECKS, f"-I{HERE}/include", "-include", "cuda_runtime.h"]
    sources = ["-x", "c++", str(HERE / "faults.cu"), *(str(HERE / f"{name}.cpp") for name in EMULATOR)]
    subprocess.run([*command, *sources, "-o", str(path)], check=True)
    loaded = ctypes.CDLL(str(path))
    loaded.launch.restype = ctypes.c_char_p
    loaded.launch.argtypes = [*[ctypes.c_int] * 3, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    return loaded


def launch(
    library: ctypes.CDLL,
    fault: int = 0,
    *,
    blocks: int = 1,
    threads: int = 64,
    shared: int = 16,
    allowed: int = 0,
    on_stream: bool = True,
) -> tuple[str, list[float]]:
    """The result of the launch, and what the threads wrote."""
    out = (ctypes.c_float * 68)()
    said = library.launch(fault, blocks, threads, shared, allowed, on_stream, out)
    return said.decode(), list(out)[:64]


def test_a_kernel_without_fault_computes(library: ctypes.CDLL) -> None:
    for _ in range(20):  # in a different order every time
        assert launch(library, blocks=3) == ("", GOOD)


def test_a_missing_barrier_shows(library: ctypes.CDLL) -> None:
    """Some thread reads a value, NaN, that another thread has not written yet."""
    said, found = launch(library, 1)
    assert said == ""
    assert any(value != value for value in found)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (2, r"deadlock, of 64 threads 32 have returned, 32 wait at the barrier of faults\.cu:\d+"),
        (3, r"deadlock, of 64 threads 32 wait at the barrier of faults\.cu:\d+, 32 wait at the barrier of faults"),
        (4, r"deadlock, of 64 threads 2 have returned, 62 wait for lanes of their warps at faults\.cu:\d+"),
        (5, r"deadlock, of 64 threads 2 wait for lanes of their warps at faults\.cu:\d+, 62 wait for lanes"),
        (6, r"the mask does not name the lane itself"),
        (7, r"misaligned access to "),
        (13, r"faults\.cu:\d+: element 64 of .*float \[64\]"),
        (8, r"byte \d+ of the dynamic shared memory was written, of 16 asked for"),
    ],
)
def test_a_fault_ends_the_kernel(library: ctypes.CDLL, fault: int, message: str) -> None:
    said, _ = launch(library, fault)
    assert re.search(message, said), said
    assert "block (0, 0, 0)" in said
    assert launch(library) == ("", GOOD), "the next launch is not touched by it"


def test_shared_memory_holds_nothing_of_the_block_before(library: ctypes.CDLL) -> None:
    said, found = launch(library, 10)
    assert said == ""
    assert all(value != value for value in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": 1025}, "too many threads in a block: (1025, 1, 1)"),
        ({"threads": 0}, "an empty block"),
        ({"blocks": 0}, "an empty grid"),
        ({"blocks": 65536}, "too many blocks: (1, 65536, 1)"),
        ({"threads": 65}, "too many threads in a block: (65, 1, 1), where __launch_bounds__ has 64"),
        ({"shared": 48897}, "48897 bytes of shared memory, where 48896 are allowed beside 256 static ones"),
        ({"allowed": 232193}, "232193 bytes of shared memory, of which there are 232192"),
        ({"fault": LARGE}, "49156 bytes of static shared memory, where 49152 are allowed"),
        ({"on_stream": False}, "not torch's current stream"),
    ],
)
def test_a_launch_that_a_gpu_refuses_is_refused(library: ctypes.CDLL, arguments: dict[str, Any], message: str) -> None:
    said, _ = launch(library, **arguments)
    assert message in said


def test_more_shared_memory_is_there_for_who_asks(library: ctypes.CDLL) -> None:
    assert launch(library, shared=100_000, allowed=100_000) == ("", GOOD)


def test_the_order_follows_from_the_seed(library: ctypes.CDLL) -> None:
    """A kernel without its barrier gives the same result for the same seed, and another one for another seed."""
    code = (
        "import ctypes; out = (ctypes.c_float * 68)(); library = ctypes.CDLL({path!r}); "
        "library.launch(1, 1, 64, ctypes.c_size_t(16), 0, 1, out); print(list(out))"
    )
    command = [sys.executable, "-c", code.format(path=library._name)]
    first, again, other = (
        subprocess.run(command, env={"INTERNET_EMULATED_SEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "1", "2")
    )
    assert first == again != other
