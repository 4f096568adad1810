"""Variants of the operators against each other, and their motion fields."""

import pytest
import torch

from benchmarks.lib import markdown
from benchmarks.ops import overhead, variants
from internet.comparison.inputs import MOTIONS, Maker
from internet.geometry import identity_grid


def _maker(motion: str) -> Maker:
    return Maker(torch.float64, "contiguous", torch.device("cpu"), motion)


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if motion not in ("smooth", "random")])
def test_optical_flow_leads_where_the_field_looks(motion: str) -> None:
    field, flow = _maker(motion).motion_field(2, 8), _maker(motion).optical_flow(2, 8)
    still = identity_grid((8, 8), align_corners=False, like=field)
    torch.testing.assert_close(still + flow.permute(0, 2, 3, 1) * 2 / 8, field.expand_as(flow.permute(0, 2, 3, 1)))


def test_fields_are_what_they_are_called() -> None:
    still = identity_grid((8, 8), align_corners=False, like=torch.empty(0, dtype=torch.float64)).expand(1, -1, -1, -1)
    fields = {motion: _maker(motion).motion_field(1, 8) for motion in MOTIONS}
    torch.testing.assert_close(fields["identity"], still)
    assert (fields["constant"] - still).std() < 1e-6 < (fields["constant"] - still).abs().min()
    assert fields["one pixel"].unique().numel() == 1
    assert fields["random"].abs().max() <= 1
    assert fields["outside"].min() > 1
    assert 0 < (fields["smooth"] - still).abs().max() < 1


def test_every_table_has_a_row_for_every_workload_and_pass(capsys: pytest.CaptureFixture[str]) -> None:
    variants.main(["--device", "cpu", "--shrink", "32", "--seconds", "0"])
    rows = markdown.cells(capsys.readouterr().out)
    halves, motions, options = rows[:12], rows[12:24], rows[24:]
    assert [row[:3] for row in halves] == [row[:3] for row in motions]
    assert {len(row) for row in halves} == {3 + 4}
    assert {len(row) for row in motions} == {3 + len(MOTIONS) - 1}
    assert len(options) == 12
    assert {len(row) for row in options} == {3 + 2}


def test_the_overhead_of_every_operator_is_told() -> None:
    rows = markdown.cells(overhead.table(seconds=0))
    assert rows[0][0] == "`torch.relu`"
    assert len(rows) == 1 + len(overhead.WITH_GRADIENT)
    assert all(float(cell.removesuffix(" µs")) > 0 for row in rows for cell in row[1:])
