"""Compiles the CUDA sources for the processor: `python -m tests.emulated.build`.

The kernels and their glue as they are, against the headers of `include/`. Incremental, under build/emulated.
`--sanitize`: with the address and undefined-behaviour sanitizers, as `make test-sanitized` runs them.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import ninja
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ARCHITECTURES = (900,)  # no source tells it from others: test_emulated.py
EMULATOR = ("emulator", "kernel_needs")
TORCH = Path(torch.__file__).parent
TORCH_TARGET_VERSION = "0x020a000000000000"  # as setup.py has it
CHECKS = "-fsanitize=alignment,bounds-strict"
"""What the compiler checks before each access; what reports it is in emulator.cpp."""
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"


def compiler() -> str | None:
    """g++, or CXX if that is g++: how other compilers access `extern __shared__` is unknown."""
    wish = os.environ.get("CXX", "")
    return wish if re.search(r"\bg\+\+", wish) else shutil.which("g++")


def _rules(root: Path, sanitize: bool) -> dict[str, str]:
    everywhere = SANITIZERS if sanitize else ""
    checks = "" if sanitize else CHECKS
    common = f"-std=c++20 -fPIC -fvisibility=hidden -DNDEBUG -g1 -w {everywhere} -MD -MF $out.d -c $in -o $out"
    headers = f"-I{HERE}/include -I{root}/csrc"
    device = "-D__CUDACC__ -D__CUDA_ARCH__=$architecture -fno-extern-tls-init -include cuda_runtime.h -x c++"
    stable = f"-DUSE_CUDA -DTORCH_STABLE_ONLY -DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION} -isystem {TORCH}/include"
    libraries = f"-L{TORCH}/lib -ltorch_cpu -lc10"
    return {
        "emulator": f"{compiler()} -O2 {common}",
        "glue": f"{compiler()} -O0 {headers} {stable} -include on_cpu.h {common}",
        "kernel": f"{compiler()} -O1 {checks} {headers} {device} {common}",
        "link": f"{compiler()} -shared {everywhere} $in -o $out -Wl,--no-as-needed {libraries}",
    }


def _ninja_file(root: Path, out: Path, sanitize: bool) -> str:
    """One library for each architecture; only the kernels differ."""
    text = f"builddir = {out}\n"
    for name, command in _rules(root, sanitize).items():
        depfile = "" if name == "link" else "\n  depfile = $out.d\n  deps = gcc"
        text += f"\nrule {name}\n  command = {command}\n  description = {name} $out{depfile}\n"

    def edge(rule: str, output: Path, inputs: Iterable[Path], **variables: object) -> Path:
        nonlocal text
        text += f"\nbuild {output}: {rule} {' '.join(map(str, inputs))}\n"
        text += "".join(f"  {name} = {value}\n" for name, value in variables.items())
        return output

    cuda = root / "csrc/cuda"
    shared = [edge("emulator", out / f"{name}.o", [HERE / f"{name}.cpp"]) for name in EMULATOR]
    for source in [root / "csrc/schema.cpp", *sorted(cuda.rglob("*.cpp"))]:
        shared.append(edge("glue", out / f"{source.relative_to(root)}.o", [source]))
    for number in ARCHITECTURES:
        kernels = [
            edge("kernel", out / f"{source.relative_to(root)}.{number}.o", [source], architecture=number)
            for source in sorted(cuda.rglob("*.cu"))
        ]
        edge("link", out / f"emulated.{number}.so", shared + kernels)
    return text


def build(architecture: int = 900, *, root: Path = ROOT, out: Path | None = None, sanitize: bool = False) -> Path:
    """Compile what changed; returns the library.

    Args:
        architecture: the value of __CUDA_ARCH__.
        root: of the tree whose csrc is compiled.
        out: the output folder; build/emulated of this tree if None.
        sanitize: with the address and undefined-behaviour sanitizers, whose libraries must then be preloaded.

    Raises:
        RuntimeError: it does not compile; the message is the compiler's.
    """
    out = out or ROOT / f"build/emulated{'-sanitized' * sanitize}"
    out.mkdir(parents=True, exist_ok=True)
    path, library = out / "build.ninja", out / f"emulated.{architecture}.so"
    with (out / "lock").open("w") as lock:  # several test processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = _ninja_file(root, out, sanitize)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        jobs = os.environ.get("MAX_JOBS") or str(len(os.sched_getaffinity(0)))
        command = [str(Path(ninja.BIN_DIR) / "ninja"), "-k", "0", "-j", jobs, "-f", str(path), str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the CUDA sources do not compile for the processor:\n{done.stdout + done.stderr}")
    return library


if __name__ == "__main__":
    sanitize = "--sanitize" in sys.argv
    for wanted in [int(word) for word in sys.argv[1:] if word.isdigit()] or ARCHITECTURES:
        print(build(wanted, sanitize=sanitize))
