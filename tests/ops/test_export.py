"""`torch.export`, strict and not: the operator is one node of the graph, and the program computes the same."""

from typing import Any

import pytest
import torch
from torch.export import Dim

import internet
from tests.support import samples
from tests.support.compare import assert_identical, tensors_of
from tests.support.samples import OPERATORS, Sample


class Call(torch.nn.Module):
    """A sample's operator with its options, as a module of its tensors."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.operator = getattr(internet.ops, sample.operator)
        self.options = sample.kwargs

    def forward(self, *args: Any) -> Any:
        return self.operator(*args, **self.options)


def is_compiled(operator: str) -> bool:
    status = internet.ops.backends()["cpu"]
    return status.ready and operator not in status.fallbacks


@pytest.mark.parametrize("strict", [False, True], ids=["not strict", "strict"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_export(operator: str, strict: bool) -> None:
    sample = samples.build(operator, torch.float32)
    program = torch.export.export(Call(sample), sample.args, strict=strict)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert (f"internet.{operator}.default" in targets) == is_compiled(operator)
    assert_identical(tensors_of(program.module()(*sample.args)), tensors_of(sample()), str(sample))


@pytest.mark.parametrize("operator", ["affine_mixture", "confidence_warp"])
def test_export_of_any_batch(operator: str) -> None:
    sample, other = (samples.build(operator, torch.float32, batch=batch) for batch in (2, 3))
    batch = Dim("batch")
    shapes = {"args": tuple({0: batch} for _ in sample.args)}
    program = torch.export.export(Call(sample), sample.args, dynamic_shapes=shapes)
    assert_identical(tensors_of(program.module()(*other.args)), tensors_of(other()), str(other))
