"""The benchmark of small shapes: its chain of operators, and its tables. Nothing here asserts a time."""

import pytest
import torch

from benchmarks.lib import markdown
from benchmarks.ops import small_shapes
from internet import ops
from internet.comparison import eager
from internet.comparison.inputs import tensors
from internet.utils.library import INSTRUCTION_SETS, cpu_isa
from tests.support.compare import require


def test_the_chain_is_what_eager_computes() -> None:
    case = small_shapes.dense_motion(2, 8, dtype=torch.float64).case(small_shapes.CPU, small_shapes.chain(ops))
    for name in ("forward", "forward+backward"):
        got, expected = (tensors(case.passes(small_shapes.chain(module))[name]()) for module in (ops, eager))
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


def test_the_tables_have_a_column_for_each_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    require("cpu", "affine_mixture")
    rows = {"small": list(small_shapes.small(0, 16)), "odd": list(small_shapes.odd_rows(0, 10))}
    asked = []
    monkeypatch.setattr(small_shapes, "_measure", lambda isa, *_: asked.append(isa) or rows)
    text = small_shapes.render(0)
    best = INSTRUCTION_SETS.index(cpu_isa() or "baseline")
    assert asked == [isa for isa in ("avx512", "avx2", "baseline") if isa in {INSTRUCTION_SETS[best], "avx2"}]
    found = markdown.cells(text)
    widths = {len(row) for row in found}
    assert widths == {3 + len(asked)}
    assert len(found) == 2 * (len(small_shapes.OPERATORS) + 1) + 4 * len(small_shapes.OPERATORS) + 2
    assert {row[0].strip("`") for row in found} == {
        *(make(1, 8).operator for make in small_shapes.OPERATORS),
        small_shapes.CHAIN,
        "flow_confidence",
    }
