"""Heat maps and features of anchors in csrc/math: values against the equations, derivatives against differences."""

import itertools
import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
import torch

from internet.ops import reference
from tests.support.scalar_math import differences

# ------------------------------------------------------------------------------------------- soft_argmax.h


def test_heat_weight(m: ModuleType) -> None:
    assert m.heat_weight(0.3, 1.1, 10.0) == pytest.approx(math.exp(-8), rel=1e-14)
    assert m.heat_reference(1.5) == 1.5
    assert m.heat_reference(-math.inf) == 0
    assert m.heat_weight(-math.inf, m.heat_reference(-math.inf), 10.0) == 0


@pytest.mark.parametrize("axes", [2, 3])
def test_heat_logit_gradient(m: ModuleType, axes: int) -> None:
    """Of the pixels of a small image, or volume, against differences of the expectations."""
    temperature = 0.5
    pixels = np.array(list(itertools.product([-0.5, 0.5], repeat=axes)))[:, ::-1]  # x first, and the fastest
    random = np.random.default_rng(0)
    logits, maps = random.normal(size=len(pixels)).tolist(), random.normal(size=(len(pixels), axes**2))

    def heat(at: Sequence[float]) -> np.ndarray:
        weights = np.array([m.heat_weight(logit, max(at), 1 / temperature) for logit in at])
        return weights / weights.sum()

    def results(at: Sequence[float]) -> np.ndarray:
        """The position, the matrix and the covariance, in one row."""
        p = heat(at)
        offset = pixels - p @ pixels
        return np.concatenate([p @ pixels, p @ maps, np.einsum("p,pi,pj->ij", p, offset, offset).flatten()])

    jacobian, gradient = differences(results, logits), getattr(m, f"heat_logit_gradient_{axes}d")
    for grads in np.eye(len(jacobian)):
        got = [
            gradient(results(logits), grads, h, pixel, row, 1 / temperature)
            for h, pixel, row in zip(heat(logits), pixels, maps, strict=True)
        ]
        np.testing.assert_allclose(got, grads @ jacobian, atol=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_moments_of_a_row(m: ModuleType, axes: int) -> None:
    """From three sums over it; a row that comes twice counts twice."""
    random = np.random.default_rng(0)
    weights, x, rest = random.uniform(size=5), random.normal(size=5), random.normal(size=axes - 1)
    offset = np.stack([x, *(np.full(5, other) for other in rest)])
    moments = np.einsum("p,ip,jp->ij", weights, offset, offset)[np.triu_indices(axes)]
    sums = (weights.sum(), weights @ x, weights @ x**2)
    np.testing.assert_allclose(getattr(m, f"heat_moments_{axes}d")(*sums, rest), 2 * moments, rtol=1e-12)


# --------------------------------------------------------------------------------------- anchor_features.h

MOTION = [0.9, 0.2, -0.1, 1.1, 0.05, -0.3]  # xx, xy, yx, yy, x, y
CONVENTIONS = list(itertools.product([False, True], repeat=2))


def test_gaussian_factor(m: ModuleType) -> None:
    assert m.gaussian_factor(0.3, 0.1, 0.01) == pytest.approx(math.exp(-0.04 / 0.02), rel=1e-14)


def test_heat_difference(m: ModuleType) -> None:
    points, x, y, variance = [0.1, -0.2, 0.3, 0.15], 0.25, 0.05, 0.02
    factors = m.gaussian_factor
    source = factors(x, points[0], variance) * factors(y, points[1], variance)
    driving = factors(x, points[2], variance) * factors(y, points[3], variance)
    assert m.heat_difference(x, y, points, variance) == pytest.approx(driving - source, rel=1e-14)
    jacobian = differences(lambda p: [m.heat_difference(x, y, p, variance)], points)
    np.testing.assert_allclose(m.heat_pull(0.7, x, y, points, variance), 0.7 * jacobian[0], atol=1e-8)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    """From output pixel to coordinate, moved, to source pixel: the three steps of the reference in one map."""
    width, height, column, row = 7, 5, 3, 4
    xx, xy, yx, yy, x0, y0 = m.pixel_motion(MOTION, width, height, conventions)
    samples, makes = conventions
    like = torch.zeros((), dtype=torch.float64)
    zx = float(reference.pixel_coordinates(width, makes, like)[column])
    zy = float(reference.pixel_coordinates(height, makes, like)[row])
    moved_x = MOTION[0] * zx + MOTION[1] * zy + MOTION[4]
    moved_y = MOTION[2] * zx + MOTION[3] * zy + MOTION[5]
    assert xx * column + xy * row + x0 == pytest.approx(m.unnormalize(moved_x, width, samples), abs=1e-12)
    assert yx * column + yy * row + y0 == pytest.approx(m.unnormalize(moved_y, height, samples), abs=1e-12)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion_vjp(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    grad = np.array([0.3, -1.0, 0.7, 0.2, 1.5, -0.4])
    jacobian = differences(lambda motion: m.pixel_motion(motion, 7, 5, conventions), MOTION)
    np.testing.assert_allclose(m.pixel_motion_vjp(grad, 7, 5, conventions), grad @ jacobian, atol=1e-8)


@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_stillness(m: ModuleType, conventions: tuple[bool, bool]) -> None:
    still = m.pixel_stillness(7, 5, conventions)
    np.testing.assert_allclose(still, m.pixel_motion([1, 0, 0, 1, 0, 0], 7, 5, conventions), atol=1e-12)
    assert conventions[0] != conventions[1] or list(still) == [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(("x", "y"), [(2.3, 1.6), (-0.4, 1.5), (6.2, 4.7), (9.0, 1.0)])
def test_blend(m: ModuleType, x: float, y: float) -> None:
    """The bilinear formula, a pixel outside counting zero; its slopes are its differences."""
    pixels = [1.0, -2.0, 0.5, 3.0]

    def hat(t: float, size: int) -> tuple[float, float]:
        low = math.floor(t)
        inside = [0 <= i < size for i in (low, low + 1)]
        return (1 - (t - low)) * inside[0], (t - low) * inside[1]

    (west, east), (north, south) = hat(x, 7), hat(y, 5)
    expected = north * (west * pixels[0] + east * pixels[1]) + south * (west * pixels[2] + east * pixels[3])
    value, *slopes = m.blend(pixels, x, y, 7, 5)
    assert value == pytest.approx(expected, abs=1e-14)
    np.testing.assert_allclose(slopes, differences(lambda at: m.blend(pixels, *at, 7, 5)[:1], [x, y])[0], atol=1e-8)
