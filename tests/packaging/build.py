"""Build the package as pip does, in a copy of the source tree."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from internet import __version__

ROOT = Path(__file__).resolve().parents[2]
NAME = f"internet_ops-{__version__}"


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a command; an assertion error with its messages if it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def call_backend(hook: str, tree: Path, out: Path, **variables: str) -> Path:
    """Like pip in a tree: call a hook of the build backend in a fresh process."""
    code = f"import sys, build_backend; print(build_backend.{hook}(sys.argv[1]))"
    return out / run(sys.executable, "-c", code, out, cwd=tree, env={**os.environ, **variables}).splitlines()[-1]
