"""Compiles the CUDA sources for the processor: `python -m tests.emulated.build`.

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
TORCH_TARGET_VERSION = "0x020a000000000000"


def compiler() -> str | None:
    """As setup.py finds it."""
    return os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)


def ninja_file(root: Path, out: Path, architecture: int, sanitize: bool) -> str:
    """The rules and edges."""
    include, library = (Path(torch.__file__).parent / name for name in ("include", "lib"))
    common = "-std=c++20 -fPIC -fvisibility=hidden -DNDEBUG -g1 -w" + (" -fsanitize=address,undefined" if sanitize else "")
    emulated = f"-I{HERE}/include -I{root}/csrc"
    check = "" if sanitize else "-fsanitize=alignment"
    torch_flags = f"-DUSE_CUDA -DTORCH_STABLE_ONLY -DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION} -isystem {include}"
    tail = "-MD -MF $out.d -c $in -o $out"
    depfile = "\n  depfile = $out.d\n  deps = gcc"
    rules = {
        "emulator": f"{compiler()} {common} -O2 {tail}",
        "kernel": f"{compiler()} {common} -O1 -D__CUDACC__ -D__CUDA_ARCH__={architecture} -fno-extern-tls-init {emulated} -include cuda_runtime.h {check} -x c++ {tail}",
        "glue": f"{compiler()} {common} -O0 {emulated} {torch_flags} -include on_cpu.h {tail}",
        "link": f"{compiler()} -shared{' -fsanitize=address,undefined' if sanitize else ''} $in -o $out -Wl,-z,defs,--no-as-needed -L{library} -ltorch_cpu -lc10",
    }
    text = f"builddir = {out}\n"
    for name, command in rules.items():
        text += f"\nrule {name}\n  command = {command}\n  description = {name} $out{depfile if name != 'link' else ''}\n"
    sources = [HERE / "emulator.cpp", root / "csrc/schema.cpp", *sorted((root / "csrc/cuda").rglob("*.cpp"))]
    kinds = ["emulator"] + ["glue"] * (len(sources) - 1)
    for kernel in sorted((root / "csrc/cuda").rglob("*.cu")):
        sources.append(kernel)
        kinds.append("kernel")
    objects = []
    for kind, source in zip(kinds, sources, strict=True):
        objects.append(out / f"{source.relative_to(ROOT if source.is_relative_to(HERE) else root)}.o")
        text += f"\nbuild {objects[-1]}: {kind} {source}\n"
    return text + f"\nbuild {out / 'emulated.so'}: link {' '.join(map(str, objects))}\n"


def build(architecture: int = 900, *, root: Path = ROOT, out: Path | None = None, sanitize: bool = False) -> Path:
    """Compile what changed; returns the library.

    Args:
        architecture: what the sources find as __CUDA_ARCH__.
        root: of the tree whose csrc is compiled.
        out: where to, build/emulated of this tree if None.
        sanitize: with the address and undefined-behaviour sanitizers, whose library is to be preloaded then.

    Raises:
        RuntimeError: it does not compile; the message is the compiler's.
    """
    out = out or ROOT / "build/emulated" / f"{architecture}{'-sanitized' * sanitize}"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "build.ninja"
    text = ninja_file(root, out, architecture, sanitize)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    jobs = os.environ.get("MAX_JOBS") or str(len(os.sched_getaffinity(0)))
    command = [str(Path(ninja.BIN_DIR) / "ninja"), "-j", jobs, "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the CUDA sources do not compile for the processor:\n{done.stdout}{done.stderr}")
    return out / "emulated.so"


if __name__ == "__main__":
    print(build(*map(int, sys.argv[1:])))
