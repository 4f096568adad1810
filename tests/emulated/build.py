"""Compiles the CUDA sources for the processor: `python -m tests.emulated.build [900|800]`.

The kernels and their glue as they are, against the headers of `include/`, for one of the architectures that the
sources tell apart. Incremental, under build/emulated.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ninja
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ARCHITECTURES = (900, 800)
TORCH = Path(torch.__file__).parent
TORCH_TARGET_VERSION = "0x020a000000000000"  # as setup.py has it
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"


def compiler() -> str | None:
    """As setup.py finds it."""
    return os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)


def _rules(root: Path, architecture: int, sanitize: bool) -> dict[str, str]:
    common = "-std=c++20 -fPIC -fvisibility=hidden -DNDEBUG -g1 -w -MD -MF $out.d -c $in -o $out"
    headers = f"-I{HERE}/include -I{root}/csrc"
    device = f"-D__CUDACC__ -D__CUDA_ARCH__={architecture} -fno-extern-tls-init -include cuda_runtime.h -x c++"
    torch_headers = (
        f"-DUSE_CUDA -DTORCH_STABLE_ONLY -DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION} -isystem {TORCH}/include"
    )
    everywhere = SANITIZERS if sanitize else ""
    # emulator.cpp has what reports it
    alignment = "" if sanitize else "-fsanitize=alignment"
    return {
        "emulator": f"{compiler()} -O2 {everywhere} {common}",
        "kernel": f"{compiler()} -O1 {everywhere} {alignment} {headers} {device} {common}",
        "glue": f"{compiler()} -O0 {everywhere} {headers} {torch_headers} -include on_cpu.h {common}",
        "link": f"{compiler()} -shared {everywhere} $in -o $out -Wl,--no-as-needed -L{TORCH}/lib -ltorch_cpu -lc10",
    }


def _sources(root: Path) -> dict[Path, str]:
    """Every source and its rule."""
    cuda = root / "csrc/cuda"
    glue = [root / "csrc/schema.cpp", *sorted(cuda.rglob("*.cpp"))]
    kernels = sorted(cuda.rglob("*.cu"))
    return {HERE / "emulator.cpp": "emulator"} | dict.fromkeys(glue, "glue") | dict.fromkeys(kernels, "kernel")


def _ninja_file(root: Path, out: Path, architecture: int, sanitize: bool) -> str:
    text = f"builddir = {out}\n"
    for name, command in _rules(root, architecture, sanitize).items():
        depfile = "" if name == "link" else "\n  depfile = $out.d\n  deps = gcc"
        text += f"\nrule {name}\n  command = {command}\n  description = {name} $out{depfile}\n"
    objects = []
    for source, rule in _sources(root).items():
        name = "emulator" if rule == "emulator" else str(source.relative_to(root))
        objects.append(out / f"{name}.o")
        text += f"\nbuild {objects[-1]}: {rule} {source}\n"
    return text + f"\nbuild {out / 'emulated.so'}: link {' '.join(map(str, objects))}\n"


def build(architecture: int = 900, *, root: Path = ROOT, out: Path | None = None, sanitize: bool = False) -> Path:
    """Compile what changed; returns the library.

    Args:
        architecture: what the sources find as __CUDA_ARCH__.
        root: of the tree whose csrc is compiled.
        out: where to; build/emulated/... of this tree if None.
        sanitize: with the address and undefined-behaviour sanitizers, whose libraries are then to be preloaded.

    Raises:
        RuntimeError: it does not compile; the message is the compiler's.
    """
    out = out or ROOT / "build/emulated" / f"{architecture}{'-sanitized' * sanitize}"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "build.ninja"
    text = _ninja_file(root, out, architecture, sanitize)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    jobs = os.environ.get("MAX_JOBS") or str(len(os.sched_getaffinity(0)))
    command = [str(Path(ninja.BIN_DIR) / "ninja"), "-j", jobs, "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the CUDA sources do not compile for the processor:\n{done.stdout}{done.stderr}")
    return out / "emulated.so"


if __name__ == "__main__":
    print(build(*map(int, sys.argv[1:])))
