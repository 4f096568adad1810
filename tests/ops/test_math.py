"""The scalar arithmetic of csrc/math in double: values against the equations, derivatives against differences."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch

from internet.ops import reference
from tests.support.scalar_math import differences

# ------------------------------------------------------------------------------------------------ value.h


def test_exp_below_88(either: ModuleType) -> None:
    x = -np.concatenate([np.linspace(0, 3, 1001), np.geomspace(1e-300, 707, 1001)])
    np.testing.assert_allclose(either.exp_below_88(x), np.exp(x), rtol=4e-16)
    near = -np.concatenate([np.linspace(0, 3, 1001), np.geomspace(1e-30, 20, 1001)]).astype(np.float32)
    far = -np.linspace(20, 86, 1001, dtype=np.float32)
    for x, tolerance in ((near, 2.2e-7), (far, 4.5e-7)):
        exact = np.exp(x.astype(np.float64))
        np.testing.assert_allclose(either.exp_below_88_float(x), exact, rtol=tolerance)


def test_exp_below_88_above_zero(either: ModuleType) -> None:
    """What the softmax without a subtraction takes."""
    x = np.linspace(0, 88, 1001)
    np.testing.assert_allclose(either.exp_below_88(x), np.exp(x), rtol=4e-16)
    x = x.astype(np.float32)
    np.testing.assert_allclose(either.exp_below_88_float(x), np.exp(x.astype(np.float64)), rtol=4.5e-7)


def test_exp_below_88_at_its_ends(either: ModuleType) -> None:
    assert either.exp_below_88(0.0) == 1
    assert either.exp_below_88(-0.0) == 1
    assert either.exp_below_88(-709.0) == 0
    assert either.exp_below_88(-math.inf) == 0
    assert either.exp_below_88_float(-88.0) == 0
    assert either.exp_below_88_float(-math.inf) == 0
    assert either.exp_below_88_float(-1e30) == 0
    assert math.isnan(either.exp_below_88(math.nan))
    assert math.isnan(either.exp_below_88_float(math.nan))


def test_all_lanes(either: ModuleType) -> None:
    assert either.all_of_eight([-1] * 8)
    for lane in range(8):
        assert not either.all_of_eight([0 if i == lane else -1 for i in range(8)])


def test_vectors_compute_what_single_numbers_do(either: ModuleType) -> None:
    eighths = np.arange(8) * math.log(2) / 8  # of an octave: every entry of a table of them
    for x in ([0, -0.3, -1, -17.5, -86, -88, -math.inf, math.nan], eighths):
        x = np.array(x, dtype=np.float32)
        np.testing.assert_array_equal(np.float32(either.exp_below_88_eight(x)), either.exp_below_88_float(x))
    x = np.array([0, -0.3, 0.3, -1, 1, 2.999, -2.001, 1e6], dtype=np.float32)
    np.testing.assert_array_equal(np.float32(either.floor_eight(x)), np.floor(x))
    np.testing.assert_array_equal(np.float32(either.absolute_eight(x)), np.abs(x))
    np.testing.assert_array_equal(np.float32(either.square_root_eight(np.abs(x))), np.sqrt(np.abs(x)))


def test_bounds_take_the_place_of_nan(m: ModuleType) -> None:
    assert m.at_least(math.nan, 2.0) == m.at_most(math.nan, 2.0) == 2.0
    assert (m.at_least(1.0, 2.0), m.at_least(3.0, 2.0)) == (2.0, 3.0)
    assert (m.at_most(1.0, 2.0), m.at_most(3.0, 2.0)) == (1.0, 2.0)
    assert (m.larger(1.0, 2.0), m.larger(3.0, 2.0)) == (2.0, 3.0)
    assert m.larger(math.nan, 2.0) == 2.0
    assert math.isnan(m.larger(2.0, math.nan))


# ---------------------------------------------------------------------- anchor_affine.h, affine_mixture.h

ANCHOR = [0.1, -0.2, 0.3, 0.4, 1.1, 0.2, -0.3, 0.9, 0.8, -0.1, 0.25, 1.2]
COLLAPSED = [*ANCHOR[:8], 1e-4, 0.0, 0.2, 1e-3]


@pytest.mark.parametrize("det", [1.0, 1e-6, 9e-7, 0.0, -0.0, -9e-7, -1e-6, -3.0])
def test_kept_determinant(m: ModuleType, det: float) -> None:
    expected = det if abs(det) >= 1e-6 else (-1e-6 if det < 0 else 1e-6)
    assert m.kept_determinant(det) == expected


@pytest.mark.parametrize("row", [ANCHOR, COLLAPSED], ids=["regular", "collapsed"])
def test_anchor_affine(m: ModuleType, row: list[float]) -> None:
    parts = [torch.tensor(row, dtype=torch.float64)[a:b] for a, b in ((0, 2), (2, 4), (4, 8), (8, 12))]
    matrix, offset = reference.anchor_affines(
        parts[0].view(1, 1, 2), parts[1].view(1, 1, 2), parts[2].view(1, 1, 2, 2), parts[3].view(1, 1, 2, 2)
    )
    assert m.anchor_affine(row) == pytest.approx([*matrix.flatten().tolist(), *offset.flatten().tolist()], rel=1e-12)


@pytest.mark.parametrize("row", [ANCHOR, COLLAPSED], ids=["regular", "collapsed"])
def test_anchor_affine_vjp(m: ModuleType, row: list[float]) -> None:
    jacobian = differences(m.anchor_affine, row, step=1e-7)
    for i, direction in enumerate(np.eye(6)):
        got = m.anchor_affine_vjp(row, direction)
        np.testing.assert_allclose(got, jacobian[i], rtol=1e-6, atol=1e-6 * max(1, np.abs(jacobian).max()))


def test_row_motion(m: ModuleType) -> None:
    affine, x, y = m.anchor_affine(ANCHOR), 0.3, -0.7
    x_slope, x_offset, y_slope, y_offset = m.row_motion(affine, y)
    assert x_slope * x + x_offset == pytest.approx(affine[0] * x + affine[1] * y + affine[4])
    assert y_slope * x + y_offset == pytest.approx(affine[2] * x + affine[3] * y + affine[5])


MOTIONS = [[1.1, 0.2, -0.1, 0.4], [0.7, -0.3, 0.2, 0.1], [0.9, 0.5, 0.0, -0.6]]
LOGITS = [0.3, -0.2, 1.1, -0.9]


@pytest.mark.parametrize("threshold", [None, 0.0, 0.12, 0.2])
def test_compose(m: ModuleType, threshold: float | None) -> None:
    x, y = 0.25, -0.5
    compose, vjp = (
        (m.compose, m.compose_vjp) if threshold is None else (m.compose_thresholded, m.compose_vjp_thresholded)
    )
    cut = threshold or 0.0
    weights = np.exp(LOGITS) / np.exp(LOGITS).sum()
    kept = np.maximum(weights - cut, 0)
    points = np.array([[x, y], *([a * x + b, c * x + d] for a, b, c, d in MOTIONS)])
    np.testing.assert_allclose(compose(LOGITS, MOTIONS, x, y, cut), kept @ points / kept.sum(), rtol=1e-14)
    assert (kept == 0).sum() == {None: 0, 0.0: 0, 0.12: 1, 0.2: 2}[threshold], "the threshold cuts nothing"

    jacobian = differences(lambda logits: compose(logits, MOTIONS, x, y, cut), LOGITS)
    for gx, gy in ((1.0, 0.0), (0.0, 1.0), (0.3, -2.0)):
        by_logit, by_motion = vjp(LOGITS, MOTIONS, x, y, cut, gx, gy)
        np.testing.assert_allclose(by_logit, np.array([gx, gy]) @ jacobian, atol=1e-9)
        np.testing.assert_allclose(by_motion, kept / kept.sum(), atol=1e-15)


@pytest.mark.parametrize("shift", [0.0, 39.0, -39.0, 45.0, -45.0, 1e3, -1e3, 1e6])
def test_compose_logits(m: ModuleType, shift: float) -> None:
    """Two pixels in one pass, however far from zero the logits of one of them lie, or one of its logits."""
    x, step, y = 0.25, 0.5, -0.5
    logits = np.array([LOGITS, LOGITS[::-1]])
    logits[1] += shift
    logits[0, 1] = -math.inf if shift else -100.0
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    fields, kept = m.compose_two(logits, MOTIONS, x, step, y)
    for i, at in enumerate((x, x + step)):
        points = np.array([[at, y], *([a * at + b, c * at + d] for a, b, c, d in MOTIONS)])
        np.testing.assert_allclose(fields[2 * i : 2 * i + 2], weights[i] @ points, rtol=1e-12)
        np.testing.assert_allclose(np.array(kept[i]) / sum(kept[i]), weights[i], rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("logits", [[math.nan, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, math.nan], [-math.inf] * 4])
def test_no_softmax_is_no_number(m: ModuleType, logits: list[float]) -> None:
    fields, _ = m.compose_two([LOGITS, logits], MOTIONS, 0.25, 0.5, -0.5)
    assert [math.isnan(value) for value in fields] == [False, False, True, True]


@pytest.mark.parametrize("place", range(4))
def test_a_threshold_does_not_cut_nan_off(m: ModuleType, place: int) -> None:
    """A maximum with zero would: the weights of such logits are NaN, all of them."""
    logits = [math.nan if k == place else logit for k, logit in enumerate(LOGITS)]
    assert all(math.isnan(value) for value in m.compose_thresholded(logits, MOTIONS, 0.25, -0.5, 0.12))
    grad_logits, weights = m.compose_vjp_thresholded(logits, MOTIONS, 0.25, -0.5, 0.12, 1.0, 0.0)
    assert all(math.isnan(value) for value in (*grad_logits, *weights))
