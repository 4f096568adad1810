"""Builds the two compiled libraries of `internet`: `_C` (schemas, CPU kernels) and `_C_cuda`.

Why not `torch.utils.cpp_extension`? It compiles CUDA only if torch was built with CUDA, and it builds for
one Python and one torch. Here one wheel serves Python >= 3.10 and torch >= 2.10, with and without CUDA:
the code uses the limited Python API and torch's stable ABI, so torch is needed for its *headers* only.

    INTERNET_CUDA=auto|0|1          auto (default): CUDA when nvcc is found; 1: fail when it is not
    TORCH_CUDA_ARCH_LIST            default "8.0;9.0+PTX"; a wheel for the public: "8.0;9.0;10.0;12.0+PTX"
    CXX, CXXFLAGS, CUDA_HOME        the usual meanings
    MAX_JOBS                        compilations at a time, default: the number of CPUs

A GPU runs machine code of its own major version: 8.0 serves all of Ampere and Ada, 9.0 Hopper. Blackwell, 10.0 and
12.0, can run the default build too, but the driver has to compile it once on each machine. Avoiding that is worth
two more architectures in a wheel that many people install, but not in one built for the machine at hand.

`ninja` does the work, so only what changed is compiled again; everything it writes is under build/ninja.
"""

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

from build_backend import TORCH_REQUIREMENT, find_torch, torch_version

BUILD = Path("build/ninja")
TORCH_TARGET_VERSION = "0x020a000000000000"  # 2.10: torch's headers then hide whatever is newer

# Kernels are compiled once per instruction set and the best one is chosen when the library is loaded. The
# psABI levels can be tested reliably; names such as `haswell` are detected wrongly in virtual machines.
INSTRUCTION_SETS = {"baseline": ""}
if platform.machine().lower() in ("x86_64", "amd64"):
    INSTRUCTION_SETS["avx2"] = "-march=x86-64-v3"
    INSTRUCTION_SETS["avx512"] = "-march=x86-64-v4 -mprefer-vector-width=512"

WARNINGS = "-Wall -Wextra -Werror"
HOST = f"-std=c++20 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -DNDEBUG -Icsrc {WARNINGS}"
# FMA is allowed everywhere; errno and floating-point traps are not maintained; no other part of fast-math is on.
KERNEL = "-O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi"
NVCC_HOST = "-std=c++20 -DNDEBUG -Icsrc --Werror all-warnings -Xcompiler -fPIC,-fvisibility=hidden"
DEVICE = "-O3 -Xptxas -v"


def say(what: str, decision: str) -> None:
    print(f"internet: {what:<17}{decision}", flush=True)


def find_ninja() -> str:
    if importlib.util.find_spec("ninja"):
        import ninja  # its scripts folder is not on PATH when the environment is not activated

        return str(Path(ninja.BIN_DIR) / "ninja")
    return shutil.which("ninja") or sys.exit("internet: ninja is missing: pip install ninja")


def find_compiler() -> str:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)
    return compiler or sys.exit("internet: no C++ compiler: install g++ >= 11 or clang++ >= 14, or set CXX")


def find_nvcc() -> tuple[str | None, str]:
    """nvcc and its release, or None and why there is none."""
    wish = os.environ.get("INTERNET_CUDA", "auto")
    if wish not in ("auto", "0", "1"):
        sys.exit(f"internet: INTERNET_CUDA is {wish!r}; it can be auto, 0 or 1")
    if wish == "0":
        return None, "switched off by INTERNET_CUDA=0"
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=str(Path(home, "bin")) if home else None)
    nvcc = nvcc or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        reason = "nvcc not found (looked in CUDA_HOME, PATH and /usr/local/cuda)"
        return (None, reason) if wish == "auto" else sys.exit(f"internet: INTERNET_CUDA=1, but {reason}")
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", text)
    return nvcc, release[1] if release else "of unknown release"


def gencode(arch_list: str) -> str:
    """nvcc's flags for a list in torch's notation, such as "8.0;9.0+PTX"."""
    flags = []
    for arch in re.split(r"[;,\s]+", arch_list.strip()):
        match = re.fullmatch(r"(\d+)\.(\d[af]?)(\+PTX)?", arch)
        if not match:
            sys.exit(f"internet: TORCH_CUDA_ARCH_LIST: {arch!r} is not of the form 8.0 or 9.0+PTX")
        number = match[1] + match[2]
        flags += [f"-gencode=arch=compute_{number},code=sm_{number}"]
        flags += [f"-gencode=arch=compute_{number},code=compute_{number}"] if match[3] else []
    return " ".join(flags)


def sources(*patterns: str) -> list[str]:
    return sorted(str(path) for pattern in patterns for path in Path().glob(pattern))


ARCHITECTURES = os.environ.get("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
GENCODE = gencode(ARCHITECTURES)
NVCC, CUDA = find_nvcc()
CUDA_SOURCES = sources("csrc/cuda/**/*.cu", "csrc/cuda/**/*.cpp")
if NVCC and not CUDA_SOURCES:
    NVCC, CUDA = None, "there are no CUDA sources"


class NinjaFile:
    """The rules and edges of build/ninja/build.ninja."""

    def __init__(self, torch: Path, compiler: str) -> None:
        include = torch / "include"
        hide = f"-ffile-prefix-map={include}=torch"  # error messages quote headers: no path of this machine
        stable = f"-O2 -DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION} -DTORCH_STABLE_ONLY -isystem {include}"
        python = f"-DPy_LIMITED_API=0x030A0000 -I{BUILD} -isystem {sysconfig.get_path('include')}"
        cxx = f"{compiler} {HOST} {os.environ.get('CXXFLAGS', '')}"
        to_object = " -MD -MF $out.d -c $in -o $out"
        self.text = f"ninja_required_version = 1.5\nbuilddir = {BUILD}\n"
        self.rule("module", f"{cxx} {python} $flags{to_object}")
        self.rule("glue", f"{cxx} {stable} {hide}{to_object}")
        self.rule("kernel", f"{cxx} {KERNEL} $flags{to_object}")
        # A library refers to the torch library it needs by soname only, and torch is loaded before it is. So an
        # empty stub with that name satisfies the linker, and CUDA can be built with CPU-only torch, too.
        self.rule("stub", f"{compiler} -shared -nostdlib -Wl,-soname,lib$name.so -x c /dev/null -o $out")
        link = f"-s,--version-script=csrc/exports.map,--no-as-needed,-L{BUILD},-l$torch -o $out"
        self.rule("link", f"{compiler} -shared $in -Wl,{link}")
        if NVCC:
            run = f"{NVCC} -ccbin {compiler}"
            # ptxas reports registers and spills: stored next to the object file, for the tests
            log = "> $out.log 2>&1 || (cat $out.log; exit 1)"
            self.rule("device", f"{run} {NVCC_HOST} {DEVICE} {GENCODE}{to_object} {log}")
            # nvcc, because it knows where its toolkit's headers are
            quiet = "-Xcompiler " + ",".join([*WARNINGS.split(), hide, "-fvisibility-inlines-hidden"])
            self.rule("cuda_glue", f"{run} {NVCC_HOST} {quiet} {stable} -DUSE_CUDA{to_object}")
            self.rule("cuda_link", f"{run} -shared -nodlink -cudart static $in -Xlinker {link}")

    def rule(self, name: str, command: str) -> None:
        depfile = "" if "$out.d" not in command else "\n  depfile = $out.d\n  deps = gcc"
        self.text += f"\nrule {name}\n  command = {command}\n  description = {name} $out{depfile}\n"

    def edge(self, rule: str, output: Path, inputs: list, **variables: str) -> str:
        self.text += f"\nbuild {output}: {rule} {' '.join(map(str, inputs))}\n"
        self.text += "".join(f"  {name} = {value}\n" for name, value in variables.items())
        return str(output)

    def object(self, rule: str, source: str, variant: str = "", flags: str = "") -> str:
        return self.edge(rule, BUILD / f"{source}{variant}.o", [source], flags=flags)

    def library(self, name: str, sources: list[str]) -> Path:
        cuda = name == "_C_cuda"
        objects = [self.object("module", "csrc/module.cpp", "." + name, f"-DINTERNET_MODULE={name}")]
        for source in sources:
            if source.endswith(".kernel.cpp"):
                for isa, flags in INSTRUCTION_SETS.items():
                    objects += [self.object("kernel", source, "." + isa, f"-DINTERNET_ISA={isa} {flags}")]
            elif source.endswith(".cu"):
                objects += [self.object("device", source)]
            elif source != "csrc/module.cpp":
                objects += [self.object("cuda_glue" if cuda else "glue", source)]
        torch = "torch_cuda" if cuda else "torch_cpu"
        stub = self.edge("stub", BUILD / f"lib{torch}.so", [], name=torch)
        output = BUILD / f"{name}.abi3.so"
        implicit = ["|", stub, "csrc/exports.map"]
        self.edge("cuda_link" if cuda else "link", output, objects + implicit, torch=torch)
        return output


def write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


class Ninja(build_ext):
    """Replaces setuptools' one-file-at-a-time compilation; setuptools still decides where the result goes."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".abi3.so"

    def build_extensions(self) -> None:
        torch = find_torch() or sys.exit(
            f"internet: {TORCH_REQUIREMENT} is not installed, and the build needs its headers. Do\n"
            f"    pip install '{TORCH_REQUIREMENT}' ninja setuptools && pip install --no-build-isolation ."
        )
        compiler = find_compiler()
        version = subprocess.run([*compiler.split(), "--version"], capture_output=True, text=True).stdout
        ninja_file = NinjaFile(torch, compiler)
        libraries = [ninja_file.library(ext.name.split(".")[-1], ext.sources) for ext in self.extensions]
        facts = {
            "schema": hashlib.sha256(Path("csrc/schema.cpp").read_bytes()).hexdigest()[:8],
            "compiler": version.splitlines()[0] if version else compiler,
            "torch headers": torch_version(torch),
            "instruction sets": " ".join(INSTRUCTION_SETS),
            "CUDA": f"nvcc {CUDA}" if NVCC else f"no: {CUDA}",
            "CUDA arch list": ARCHITECTURES if NVCC else "none",
        }
        for what, decision in facts.items():
            say(what, decision)
        quoted = json.dumps(json.dumps(facts))  # JSON, as a C string
        write_if_changed(BUILD / "build_info.h", f"#define INTERNET_BUILD_INFO {quoted}\n")
        write_if_changed(BUILD / "build.ninja", ninja_file.text)
        jobs = os.environ.get("MAX_JOBS") or str(len(os.sched_getaffinity(0)))
        if subprocess.call([find_ninja(), "-j", jobs, "-f", str(BUILD / "build.ninja")]):
            sys.exit("internet: the compilation failed; the first error is above")
        for ext, library in zip(self.extensions, libraries, strict=True):
            target = Path(self.get_ext_fullpath(ext.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(library), str(target))


class FreshPython(build_py):
    """Cleans build/lib first: setuptools would ship modules that an earlier build left there and that are deleted."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


def extension(name: str, files: list[str]) -> Extension:
    return Extension(f"internet.{name}", ["csrc/module.cpp", *files], py_limited_api=True)


PURE = os.environ.get("INTERNET_PURE", "0")
if PURE not in ("0", "1"):
    sys.exit(f"internet: INTERNET_PURE is {PURE!r}; it can be 0 or 1")

extensions = [extension("_C", sources("csrc/schema.cpp", "csrc/cpu/**/*.cpp"))]
extensions += [extension("_C_cuda", CUDA_SOURCES)] if NVCC else []
if PURE == "1":  # reference and Triton only: for any platform, without a compiler
    extensions = []
packages, package_dir = find_packages(include=["internet", "internet.*"]), {}
if Path("kernels").is_dir():  # Triton, next to csrc/ because it is the same layer
    packages += ["internet.kernels"]
    package_dir["internet.kernels"] = "kernels"

setup(
    packages=packages,
    package_dir=package_dir,
    ext_modules=extensions,
    cmdclass={"build_ext": Ninja, "build_py": FreshPython},
    # The wheel is tagged for this machine's Linux; `make wheel` uses auditwheel to find the oldest it runs on.
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if extensions else {},
)
