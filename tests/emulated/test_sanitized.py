"""The emulated CUDA kernels under the address and undefined-behaviour sanitizers: `make test-sanitized`.

It takes minutes, most of them to compile, and is not part of `make test`, which only guards tensors: it checks neither
the stack nor what C++ allocates, nor undefined arithmetic.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import emulated
from tests.emulated.build import EMULATOR, HERE, SANITIZERS, build, compiler
from tests.support.evaluate import ROOT, environment_of

pytestmark = [
    pytest.mark.sanitized,
    pytest.mark.skipif(compiler() is None, reason="no g++"),
    pytest.mark.skipif(bool(emulated.ASKED), reason="this process has the emulation"),
]


def library_path(name: str) -> str:
    """Where the compiler has one of its libraries."""
    command = [*str(compiler()).split(), f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def sanitized(**changes: str) -> dict[str, str]:
    """The environment of a process whose libraries were compiled with the sanitizers."""
    # The sanitizer looks for what throws exceptions when it is loaded, and Python does not bring it along.
    preloaded = f"{library_path('libasan.so')} {library_path('libstdc++.so.6')}"
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "PYTHONMALLOC": "malloc"}
    return environment_of({"LD_PRELOAD": preloaded, **options, **changes})


def test_an_access_out_of_bounds_is_told(tmp_path: Path) -> None:
    flags = f"-std=c++20 -O1 -fPIC -shared -w -D__CUDACC__ -D__CUDA_ARCH__=900 {SANITIZERS} -fno-extern-tls-init"
    sources = [HERE / "faults.cu", *(HERE / f"{name}.cpp" for name in EMULATOR)]
    command = [*str(compiler()).split(), *flags.split(), f"-I{HERE}/include", "-include", "cuda_runtime.h", "-x", "c++"]
    subprocess.run([*command, *sources, "-o", tmp_path / "faults.so"], check=True)
    code = (
        "import ctypes; out = (ctypes.c_float * 68)(); "
        f"library = ctypes.CDLL({str(tmp_path / 'faults.so')!r}); "
        "library.launch({fault}, 1, 64, ctypes.c_size_t(16), 0, 1, out); print('ended')"
    )
    sound, broken = (
        subprocess.run(
            [sys.executable, "-c", code.format(fault=fault)], env=sanitized(), capture_output=True, text=True, cwd=ROOT
        )
        for fault in (0, 12)
    )
    assert sound.stdout == "ended\n", sound.stderr
    assert broken.returncode
    assert "heap-buffer-overflow" in broken.stderr


@pytest.mark.parametrize(
    "selection",
    [
        ("tests/ops/test_values.py", "-k", "cuda"),
        ("tests/ops/test_gradients.py", "-k", "cuda"),
        ("tests/emulated/test_fuzz.py",),
        ("tests/ops/test_cuda.py", "-k", "in_chunks or (gradients_are and (float32 or bfloat16))"),
    ],
    ids=lambda selection: selection[0],
)
def test_nothing_is_out_of_bounds_or_undefined(selection: tuple[str, ...]) -> None:
    library = build(900, sanitize=True)
    environment = sanitized(**{emulated.VARIABLE: "900", emulated.LIBRARY_VARIABLE: str(library)})
    command = [sys.executable, "-m", "pytest", "-qxs", "-p", "no:cacheprovider", *selection]  # -s: what they print
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    assert " passed" in done.stdout
