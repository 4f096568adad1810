"""A process whose tensors lie between inaccessible pages, in memory filled with NaN: see guarded_memory.cpp."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".cpp")
COMPILER = next(filter(shutil.which, ("g++", "clang++", "c++")), None)


def guard(folder: Path, fence: str, alignment: int = 1) -> dict[str, str]:
    """The environment variables that guard a process; compiles the library that they name into a folder.

    Args:
        folder: of this run.
        fence: "after" or "before", the side of each tensor on which the very next byte is fenced.
        alignment: of every tensor, a power of two: GPU kernels rely on it for memory that they allocate.
    """
    library = folder / "guarded_memory.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", SOURCE, "-o", library, "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(library),
        "FENCE": fence,
        "FENCE_ALIGNMENT": str(alignment),
        "INTERNET_OUTPUT_POOL_MB": "0",  # all results in memory from torch's allocator
        "MALLOC_PERTURB_": "128",
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",  # MALLOC_PERTURB_ forgets that cache
    }
