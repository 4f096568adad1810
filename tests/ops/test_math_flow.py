"""Functions for optical flow in csrc/math: values against the equations, derivatives against differences."""

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from tests.support.scalar_math import FAR, differences, hat

# --------------------------------------------------------------------------------- masked_backwarp_loss.h

PENALTIES: dict[str, Callable[[float], float]] = {
    "l1": abs,
    "l2": lambda r: r * r,
    "charbonnier": lambda r: math.sqrt(r * r + 1e-6),
}


@pytest.mark.parametrize("norm", PENALTIES)
@pytest.mark.parametrize("residual", [-2.0, -1e-3, 1e-3, 0.4, 100.0])
def test_penalty(m: ModuleType, norm: str, residual: float) -> None:
    value, slope = (getattr(m, f"{name}_{norm}") for name in ("penalty", "penalty_slope"))
    assert value(residual) == pytest.approx(PENALTIES[norm](residual), rel=1e-14)
    expected = differences(lambda r: [value(r[0])], [residual], step=1e-7)[0, 0]
    assert slope(residual) == pytest.approx(expected, rel=1e-5)
    assert slope(0.0) == 0
    assert math.isnan(value(math.nan))
    assert math.isnan(slope(math.nan))


@pytest.mark.parametrize("norm", PENALTIES)
def test_residual_gradient(m: ModuleType, norm: str) -> None:
    difference, mask, grad = 0.7, 0.4, -1.3
    jacobian = differences(lambda a: [getattr(m, f"penalty_{norm}")(a[0] * a[1])], [difference, mask])[0]
    got = getattr(m, f"residual_gradient_{norm}")(difference, mask, grad)
    assert got == pytest.approx((grad * jacobian).tolist(), abs=1e-8)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("t", [-7.0, -1.0, -0.6, 0.0, 0.3, 2.7, 4.0, 4.3, 5.0, 9.0, *FAR, math.nan])
def test_position(m: ModuleType, t: float, border: bool) -> None:
    """The fraction gives the hat weights of an image with a pixel of zeros around it; nothing farther is read."""
    base, fraction = m.position(t, 5, border)
    assert base == int(base)
    assert (0 if border else -1) <= base <= 4
    assert 0 <= fraction <= 1
    weights = np.zeros(7)  # pixels -1 .. 5
    weights[int(base) + 1] += 1 - fraction
    weights[int(base) + 2] += fraction
    clamped = min(max(0.0 if math.isnan(t) else t, 0), 4) if border else t
    np.testing.assert_allclose(weights[1:6], [0 if math.isnan(clamped) else hat(clamped, j) for j in range(5)])


@pytest.mark.parametrize("t", [-1.0, -0.5, 0.0, 0.5, 4.0, 4.5, 5.0, *FAR, math.nan])
def test_inside_frame(m: ModuleType, t: float) -> None:
    assert m.inside_frame(t, 5, False) == (-1 < t < 5)
    assert m.inside_frame(t, 5, True) == (0 <= t <= 4)
    assert m.moves_within(t, 5) == (0 < t < 4)


def test_interpolation_and_its_slopes(m: ModuleType) -> None:
    pixels, at = [1.0, -2.0, 3.0, 0.25], [0.3, 0.8]
    weights = [0.7 * 0.2, 0.3 * 0.2, 0.7 * 0.8, 0.3 * 0.8]
    value, slope_x, slope_y = m.interpolate(pixels, *at)
    assert value == pytest.approx(np.dot(weights, pixels))
    slopes = differences(lambda a: [m.interpolate(pixels, *a)[0]], at)[0]
    assert [slope_x, slope_y] == pytest.approx(slopes.tolist(), abs=1e-8)
    assert m.share(2.0, 0.3) == pytest.approx([1.4, 0.6])


# --------------------------------------------------------------------------------------- flow_confidence.h


def test_flows_cancel(m: ModuleType) -> None:
    w, back = [1.0, -2.0], [-0.8, 1.5]
    mismatch, bound = 0.2**2 + 0.5**2, 0.1 * (1 + 4 + 0.64 + 2.25)
    assert m.flows_cancel(w, back, 0.1, mismatch - bound + 1e-9)
    assert not m.flows_cancel(w, back, 0.1, mismatch - bound - 1e-9)
    assert m.flows_cancel([0.0, 0.0], [0.0, 0.0], 0.0, 0.0)
    for strange in (math.nan, math.inf, -math.inf):
        assert not m.flows_cancel(w, [strange, 0.0], 0.1, 1e9)
        assert not m.flows_cancel([0.0, strange], back, 0.1, 1e9)


def test_flow_is_smooth(m: ModuleType) -> None:
    w, right, below = [1.0, -2.0], [1.5, -2.0], [1.0, -1.0]
    gradient, bound = 0.25 + 1.0, 0.01 * 5
    assert m.flow_is_smooth(w, right, below, 0.01, gradient - bound + 1e-9)
    assert not m.flow_is_smooth(w, right, below, 0.01, gradient - bound - 1e-9)
    assert not m.flow_is_smooth(w, [math.nan, 0.0], below, 0.01, 1e9)
