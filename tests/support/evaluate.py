"""Every sample on one backend, results and gradients, for comparing one process with another.

    python -m tests.support.evaluate RESULTS.pt

in an environment that differs: another instruction set, poisoned memory.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import internet
from internet.utils import library
from tests.support import samples
from tests.support.compare import differentiate, evaluate
from tests.support.samples import DIFFERENTIABLE, DTYPES, OPERATORS, Sample

ROOT = Path(__file__).parents[2]


def compiled_operators(backend: str = "cpu") -> list[str]:
    """The operators that this backend implements."""
    status = internet.ops.backends()[backend]
    return [name for name in OPERATORS if status.ready and name not in status.fallbacks]


def each_sample() -> list[tuple[str, Sample]]:
    """The tame samples of the compiled operators in all dtypes, by descriptive names."""
    named = []
    for operator in compiled_operators():
        for dtype in DTYPES:
            named += [(f"{sample}, {dtype}", sample) for sample in samples.samples(operator, dtype)]
    return named


def each_large_sample() -> list[tuple[str, Sample]]:
    """The large samples, in the layouts that have separate loops, by descriptive names."""
    named = []
    for operator in compiled_operators():
        for layout, dtype in itertools.product(("contiguous", "channels_last"), (torch.float32, torch.bfloat16)):
            large = samples.large_samples(operator, dtype, layout)
            named += [(f"{sample}, {dtype}, {layout}", sample) for sample in large]
    return named


def everything() -> dict[str, list[Tensor]]:
    """The results of each sample and its gradients with respect to every tensor, by name, on the backend "cpu"."""
    found = {}
    for name, sample in each_sample() + each_large_sample():
        gradients = differentiate(sample, "cpu") if sample.operator in DIFFERENTIABLE else []
        found[name] = [*evaluate(sample, "cpu"), *gradients]
    return found


def environment_of(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment variables with changes."""
    return {**os.environ, **changes}


def in_another_process(results: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The output of `main` in a fresh process with these additional environment variables."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.evaluate", str(results)]
    changed = environment_of(environment)
    done = subprocess.run(command, cwd=ROOT, env=changed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    loaded: dict[str, Any] = torch.load(results, weights_only=True)
    return loaded


def main(results: str) -> None:
    """Write all results, the instruction set and a piece of fresh memory."""
    torch.set_num_threads(1)
    fresh = {str(dtype): torch.empty(1000, dtype=dtype) for dtype in DTYPES}
    torch.save({"isa": library.cpu_isa(), "fresh": fresh, "found": everything()}, results)


if __name__ == "__main__":
    main(sys.argv[1])
