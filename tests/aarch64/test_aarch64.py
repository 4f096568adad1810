"""The CPU operators on aarch64: the same results as the library that is installed here, for any number of threads.

The calls are those that the operators' samples lead to, of all dtypes and layouts, forward and backward.
"""

import functools
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import internet
from tests.aarch64 import exchange
from tests.aarch64.build import EMULATOR, build
from tests.support import samples
from tests.support.calls import calls_of
from tests.support.compare import assert_all_close, assert_identical, require, tensors_of
from tests.support.samples import DTYPES, OPERATORS, Sample

pytestmark = pytest.mark.aarch64

program = functools.cache(build)

Made = tuple[Any, tuple[Any, ...]]
"""An operator and its arguments."""


def on_aarch64(calls: list[exchange.Call], folder: Path, threads: int = 1) -> list[Tensor]:
    """The results of calls, all in one list."""
    given, written = folder / "calls", folder / "results"
    given.write_bytes(exchange.written(calls))
    command = [EMULATOR, program(), given, written, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return exchange.read(written.read_bytes())


def calls(several: list[Sample]) -> list[Made]:
    """Forward and backward."""
    with internet.ops.backend("cpu"):
        return [call for sample in several for call in calls_of(sample, "cpu")]


def named(made: list[Made]) -> list[exchange.Call]:
    """Calls with the operators' names instead of the functions that call them here."""
    return [(function.__name__.removesuffix(".default"), arguments) for function, arguments in made]


def check(operator: str, made: list[Made], expected: list[list[Tensor]], folder: Path) -> None:
    """The results on aarch64 are the expected ones, as closely as their dtypes allow."""
    found = iter(on_aarch64(named(made), folder))
    for wanted in expected:
        got = list(itertools.islice(found, len(wanted)))
        assert_all_close(got, wanted, [tensor.dtype for tensor in got], f"{operator}: result")
    assert not list(found)


@pytest.mark.parametrize("operator", OPERATORS)
def test_results_are_those_of_this_machine_in_float64(operator: str, tmp_path: Path) -> None:
    require("cpu", operator)
    made = calls([sample for dtype in DTYPES for sample in samples.samples(operator, dtype)])
    wide = [(function, pytree.tree_map_only(Tensor, Tensor.double, arguments)) for function, arguments in made]
    check(operator, made, [tensors_of(function(*arguments)) for function, arguments in wide], tmp_path)


@pytest.mark.parametrize("operator", OPERATORS)
def test_results_of_wild_samples_are_those_of_this_machine(operator: str, tmp_path: Path) -> None:
    require("cpu", operator)
    several = calls(samples.samples(operator, torch.float32, wild=True))
    made = [call for call in several if call[0].__name__ == f"{operator}.default"]  # the forward calls
    check(operator, made, [tensors_of(function(*arguments)) for function, arguments in made], tmp_path)


@pytest.mark.parametrize("operator", OPERATORS)
def test_any_number_of_threads(operator: str, tmp_path: Path) -> None:
    require("cpu", operator)
    layouts = itertools.product((torch.float32, torch.bfloat16), ("contiguous", "channels_last"))
    several = [s for dtype, layout in layouts for s in samples.large_samples(operator, dtype, layout)]
    made = named(calls(several))
    expected = on_aarch64(made, tmp_path)
    for threads in (2, 3, 8):
        found = on_aarch64(made, tmp_path, threads)
        assert_identical(found, expected, f"{operator}, {threads} threads: result")
