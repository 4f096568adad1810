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
    """The range of the softmax without a subtraction."""
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

# Both key points, then both Jacobians, row by row.
ANCHOR = [0.1, -0.2, 0.3, 0.4, 1.1, 0.2, -0.3, 0.9, 0.8, -0.1, 0.25, 1.2]
COLLAPSED = [*ANCHOR[:8], 1e-4, 0.0, 0.2, 1e-3]
ANCHOR_3D = [
    *(0.1, -0.2, 0.4, 0.3, 0.4, -0.5),
    *(1.1, 0.2, -0.1, -0.3, 0.9, 0.15, 0.05, -0.2, 1.2),
    *(0.8, -0.1, 0.3, 0.25, 1.2, -0.15, -0.35, 0.1, 0.9),
]
COLLAPSED_3D = [*ANCHOR_3D[:15], 1e-4, 0.0, 0.0, 0.2, 1e-3, 0.0, 0.4, -0.3, 0.7]
ANCHORS = pytest.mark.parametrize(
    "row",
    [ANCHOR, COLLAPSED, ANCHOR_3D, COLLAPSED_3D],
    ids=["regular", "collapsed", "regular, 3-D", "collapsed, 3-D"],
)


@pytest.mark.parametrize("det", [1.0, 1e-6, 9e-7, 0.0, -0.0, -9e-7, -1e-6, -3.0])
def test_kept_determinant(m: ModuleType, det: float) -> None:
    expected = det if abs(det) >= 1e-6 else (-1e-6 if det < 0 else 1e-6)
    assert m.kept_determinant(det) == expected


def affines(row: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix and offset of an anchor's map, from the reference."""
    axes = 2 if len(row) == 12 else 3
    points, matrices = torch.tensor(row, dtype=torch.float64).split([2 * axes, 2 * axes**2])
    matrix, offset = reference.anchor_affines(
        *points.view(2, 1, 1, axes).unbind(), *matrices.view(2, 1, 1, axes, axes).unbind()
    )
    return matrix[0, 0], offset[0, 0]


@ANCHORS
def test_anchor_affine(m: ModuleType, row: list[float]) -> None:
    expected = torch.cat([part.flatten() for part in affines(row)])
    assert m.anchor_affine(row) == pytest.approx(expected.tolist(), rel=1e-12)


@ANCHORS
def test_anchor_affine_vjp(m: ModuleType, row: list[float]) -> None:
    jacobian = differences(m.anchor_affine, row, step=1e-7)
    for i, direction in enumerate(np.eye(len(jacobian))):
        got = m.anchor_affine_vjp(row, direction)
        np.testing.assert_allclose(got, jacobian[i], rtol=1e-6, atol=1e-6 * max(1, np.abs(jacobian).max()))


POINTS = pytest.mark.parametrize("z", [[0.3, -0.7], [0.3, -0.7, 0.55]], ids=["image", "volume"])


@POINTS
def test_motion_along_a_row(m: ModuleType, z: list[float]) -> None:
    row = ANCHOR if len(z) == 2 else ANCHOR_3D
    matrix, offset = affines(row)
    moved = matrix @ torch.tensor(z, dtype=torch.float64) + offset
    assert m.moved(m.anchor_affine(row), z) == pytest.approx(moved.tolist(), rel=1e-13)


@POINTS
def test_gradient_of_a_map(m: ModuleType, z: list[float]) -> None:
    affine = m.anchor_affine(ANCHOR if len(z) == 2 else ANCHOR_3D)
    jacobian = differences(lambda t: m.moved(t, z), affine)
    for i, direction in enumerate(np.eye(len(z))):
        np.testing.assert_allclose(m.affine_pull(direction, z), jacobian[i], atol=1e-9)


@POINTS
def test_background_motion(m: ModuleType, z: list[float]) -> None:
    """The quotient of homogeneous coordinates, and its gradient; with a zero denominator it is not finite."""
    axes = len(z)
    matrix = np.eye(axes + 1) + np.random.default_rng(axes).uniform(-0.2, 0.2, (axes + 1, axes + 1))
    row = [*matrix[:, :-1].flatten(), *matrix[:, -1]]
    homogeneous = matrix @ [*z, 1.0]
    np.testing.assert_allclose(m.projected(row, z), homogeneous[:-1] / homogeneous[-1], rtol=1e-13)
    jacobian = differences(lambda p: m.projected(p, z), row)
    for i, direction in enumerate(np.eye(axes)):
        np.testing.assert_allclose(m.projected_vjp(row, z, direction), jacobian[i], atol=1e-8)
    matrix[-1] = 0
    row = [*matrix[:, :-1].flatten(), *matrix[:, -1]]
    assert not np.isfinite(m.projected(row, z)).any()


# Along a row: the slopes, then the offsets.
MOTIONS = [[1.1, -0.1, 0.2, 0.4], [0.7, 0.2, -0.3, 0.1], [0.9, 0.0, 0.5, -0.6]]
MOTIONS_3D = [
    [1.1, -0.1, 0.3, 0.2, 0.4, -0.2],
    [0.7, 0.2, -0.4, -0.3, 0.1, 0.6],
    [0.9, 0.0, 0.1, 0.5, -0.6, 0.3],
]
STILL, STILL_3D = [0.2, -0.45], [0.2, -0.45, 0.7]
LOGITS = [0.3, -0.2, 1.1, -0.9]


MIXTURES = pytest.mark.parametrize(
    ("motions", "still"), [(MOTIONS, STILL), (MOTIONS_3D, STILL_3D)], ids=["image", "volume"]
)


def points_at(x: float, motions: list[list[float]], still: list[float]) -> np.ndarray:
    """The points (K+1, axes) that are mixed."""
    slopes, offsets = np.split(np.array(motions), 2, axis=1)
    return np.concatenate([[still], slopes * x + offsets])


@MIXTURES
@pytest.mark.parametrize("threshold", [None, 0.0, 0.12, 0.2])
def test_compose(m: ModuleType, threshold: float | None, motions: list[list[float]], still: list[float]) -> None:
    x = 0.25
    compose, vjp = (
        (m.compose, m.compose_vjp) if threshold is None else (m.compose_thresholded, m.compose_vjp_thresholded)
    )
    cut = threshold or 0.0
    weights = np.exp(LOGITS) / np.exp(LOGITS).sum()
    kept = np.maximum(weights - cut, 0)
    expected = kept @ points_at(x, motions, still) / kept.sum()
    np.testing.assert_allclose(compose(LOGITS, motions, still, x, cut), expected, rtol=1e-14)
    assert (kept == 0).sum() == {None: 0, 0.0: 0, 0.12: 1, 0.2: 2}[threshold], "the threshold cuts nothing"

    jacobian = differences(lambda logits: compose(logits, motions, still, x, cut), LOGITS)
    for grad in (*np.eye(len(still)), np.array([0.3, -2.0, 0.8])[: len(still)]):
        by_logit, by_motion = vjp(LOGITS, motions, still, x, cut, grad)
        np.testing.assert_allclose(by_logit, grad @ jacobian, atol=1e-9)
        np.testing.assert_allclose(by_motion, kept / kept.sum(), atol=1e-15)


@MIXTURES
@pytest.mark.parametrize("shift", [0.0, 39.0, -39.0, 45.0, -45.0, 1e3, -1e3, 1e6])
def test_compose_logits(m: ModuleType, shift: float, motions: list[list[float]], still: list[float]) -> None:
    """Two pixels in one pass, however far from zero all logits of one of them are, or a single logit."""
    x, step = 0.25, 0.5
    stills = [still, [-z for z in still]]
    logits = np.array([LOGITS, LOGITS[::-1]])
    logits[1] += shift
    logits[0, 1] = -math.inf if shift else -100.0
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    fields, kept = m.compose_two(logits, motions, stills, x, step)
    for i, field in enumerate(np.split(np.array(fields), 2)):
        points = points_at(x + i * step, motions, stills[i])
        np.testing.assert_allclose(field, weights[i] @ points, rtol=1e-12)
        np.testing.assert_allclose(np.array(kept[i]) / sum(kept[i]), weights[i], rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("logits", [[math.nan, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, math.nan], [-math.inf] * 4])
def test_no_softmax_is_no_number(m: ModuleType, logits: list[float]) -> None:
    fields, _ = m.compose_two([LOGITS, logits], MOTIONS, [STILL, STILL], 0.25, 0.5)
    assert [math.isnan(value) for value in fields] == [False, False, True, True]


@pytest.mark.parametrize("place", range(4))
def test_a_threshold_does_not_cut_nan_off(m: ModuleType, place: int) -> None:
    """A maximum with zero would hide it: with such logits all weights are NaN."""
    logits = [math.nan if k == place else logit for k, logit in enumerate(LOGITS)]
    assert all(math.isnan(value) for value in m.compose_thresholded(logits, MOTIONS, STILL, 0.25, 0.12))
    grad_logits, weights = m.compose_vjp_thresholded(logits, MOTIONS, STILL, 0.25, 0.12, [1.0, 0.0])
    assert all(math.isnan(value) for value in (*grad_logits, *weights))
