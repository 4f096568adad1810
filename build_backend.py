"""setuptools' build backend, which in an isolated build requires torch only if none is installed.

The build needs torch's headers. Listing torch among the build requirements would make every `pip install .`
download gigabytes of it, possibly in another version than the installed one. So the installed one is used, and
the build requires one only if there is none; it is then about to be installed as a dependency anyway.
"""

import importlib.util
import os
import re
import site
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

MINIMUM_TORCH = (2, 10)  # the oldest whose stable ABI has everything that is called
TORCH_REQUIREMENT = "torch>=2.10"


def torch_version(torch: Path) -> str:
    """The version of the torch in this folder; "0.0" if there is none."""
    file = torch / "version.py"
    match = re.search(r"__version__ = ['\"](.+?)['\"]", file.read_text()) if file.is_file() else None
    return match[1] if match else "0.0"


def recent_enough(version: str) -> bool:
    return tuple(int(number) for number in version.split(".")[:2]) >= MINIMUM_TORCH


def find_torch() -> Path | None:
    """The folder of the installed torch, found without importing it; None if there is none, or it is too old.

    pip's isolated build hides the packages of the environment it installs into, but runs that environment's
    Python: torch is then where this Python keeps its packages. (Front ends that create a virtual environment for
    isolation, such as `uv` and `build`, hide torch completely: tell them not to isolate.)
    """
    spec = importlib.util.find_spec("torch")
    places = [Path(spec.origin).parent] if spec and spec.origin else []
    for packages in [*site.getsitepackages([sys.prefix, sys.base_prefix]), site.getusersitepackages()]:
        places.append(Path(packages, "torch"))
    return next((place for place in places if recent_enough(torch_version(place))), None)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    requirements: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    compiles = os.environ.get("INTERNET_PURE", "0") != "1"
    return requirements + ([TORCH_REQUIREMENT] if compiles and not find_torch() else [])


get_requires_for_build_editable = get_requires_for_build_wheel
