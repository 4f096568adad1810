"""Fused against eager: both do the same work, and replaced operators are restored."""

import time

import pytest
import torch

from internet import ops
from internet.comparison import eager, timing
from internet.comparison.frames import OperatorClock, measure_frames
from internet.comparison.operators import measure, paper
from internet.comparison.replacement import replaced_operators
from internet.model import INTERnet, INTERnetConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here asks how long a call takes."""
    monkeypatch.setattr(timing, "FEWEST_ROUNDS", 1)


def test_the_operators_of_the_paper_s_model():
    names = [workload.operator for workload in paper()]
    assert names == ["affine_mixture", "pyramid_warp", "masked_backwarp_loss", "anchor_features", "soft_argmax"]


@pytest.mark.parametrize("workload", paper(32), ids=str)
def test_both_sides_compute_the_same(workload):
    found = measure(workload, CPU, seconds=0)
    assert found.disagreement < 1e-3
    assert min(*found.forward, *found.both) > 0
    assert found.both_ratio == found.both[1] / found.both[0]


def test_replaced_operators_come_back_after_an_error():
    ours = ops.affine_mixture

    def fail() -> None:
        with replaced_operators({"affine_mixture": eager.affine_mixture}):
            assert ops.affine_mixture is eager.affine_mixture
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert ops.affine_mixture is ours


def test_a_clock_counts_what_is_spent_in_operators():
    def slow(*_: object) -> None:
        time.sleep(0.02)

    clock = OperatorClock(CPU)
    with replaced_operators({"upsample_motion": slow}), clock.running():
        time.sleep(0.02)
        ops.upsample_motion(torch.zeros(1, 2, 2, 2))
        assert clock.seconds >= 0.02
    counted = clock.seconds
    ops.upsample_motion(torch.zeros(1, 2, 2, 2))
    assert clock.seconds == counted


def test_frames_of_a_model():
    source, driving = torch.rand(2, 1, 3, 64, 64)
    found = measure_frames(INTERnet(INTERnetConfig.preset("tiny")).eval(), source, driving, seconds=0)
    assert 0 < found.share < 1
    assert 0 < found.eager_share < 1
    assert found.ratio == found.eager_seconds / found.seconds
