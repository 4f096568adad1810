"""Compiles the CPU operators for aarch64, without torch: `python -m tests.aarch64.build`. Under build/aarch64."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import ninja

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = Path("build/aarch64")
COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64"

# As in setup.py, except for the options that hide symbols.
HOST = "-std=c++20 -DNDEBUG -Icsrc -Wall -Wextra -Werror"
KERNEL = "-O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi"


def _ninja_file() -> str:
    to_object = "-MD -MF $out.d -c $in -o $out"
    rules = {
        "glue": f"{COMPILER} {HOST} -O1 -I{HERE.relative_to(ROOT)}/include {to_object}",
        "kernel": f"{COMPILER} {HOST} {KERNEL} -DINTERNET_ISA=baseline {to_object}",
        "link": f"{COMPILER} -static -pthread $in -o $out",
    }
    text = f"builddir = {OUT}\n"
    for name, command in rules.items():
        depfile = "" if name == "link" else "\n  depfile = $out.d\n  deps = gcc"
        text += f"\nrule {name}\n  command = {command}\n  description = {name} $out{depfile}\n"
    objects = []
    for source in [*sorted((ROOT / "csrc/cpu").rglob("*.cpp")), HERE / "program.cpp"]:
        rule = "kernel" if source.name.endswith(".kernel.cpp") else "glue"
        objects.append(f"{OUT}/{source.relative_to(ROOT)}.o")
        text += f"\nbuild {objects[-1]}: {rule} {source.relative_to(ROOT)}\n"
    return text + f"\nbuild {OUT}/program: link {' '.join(objects)}\n"


def build() -> Path:
    """Compile what changed; returns the program.

    Raises:
        RuntimeError: the compiler or qemu is not installed, or the sources do not compile.
    """
    missing = [program for program in (COMPILER, EMULATOR) if shutil.which(program) is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; apt-get install g++-aarch64-linux-gnu qemu-user")
    out = ROOT / OUT
    out.mkdir(parents=True, exist_ok=True)
    path = out / "build.ninja"
    with (out / "lock").open("w") as lock:  # several test processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.write_text(_ninja_file(), encoding="utf-8")
        command = [str(Path(ninja.BIN_DIR) / "ninja"), "-f", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the CPU operators do not compile for aarch64:\n{(done.stdout + done.stderr)[:5000]}")
    return out / "program"


if __name__ == "__main__":
    print(build())
