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
    """For the pixels of a small image, or volume, against differences of the expectations."""
    temperature = 0.5
    pixels = np.array(list(itertools.product([-0.5, 0.5], repeat=axes)))[:, ::-1]  # x first, and varying fastest
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
    """From three sums over it; a row that is added twice counts twice."""
    random = np.random.default_rng(0)
    weights, x, rest = random.uniform(size=5), random.normal(size=5), random.normal(size=axes - 1)
    offset = np.stack([x, *(np.full(5, other) for other in rest)])
    moments = np.einsum("p,ip,jp->ij", weights, offset, offset)[np.triu_indices(axes)]
    sums = (weights.sum(), weights @ x, weights @ x**2)
    np.testing.assert_allclose(getattr(m, f"heat_moments_{axes}d")(*sums, rest), 2 * moments, rtol=1e-12)


# --------------------------------------------------------------------------------------- anchor_features.h

CONVENTIONS = list(itertools.product([False, True], repeat=2))
SIZES = [(7, 5), (7, 5, 3)]  # x first


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def covariance_of(axes: int) -> np.ndarray:
    root = drawn(axes, axes) + np.eye(axes)
    return 0.1 * root @ root.T


def test_gaussian_factor(m: ModuleType) -> None:
    assert m.gaussian_factor(0.3, 0.1, 0.01) == pytest.approx(math.exp(-0.04 / 0.02), rel=1e-14)


@pytest.mark.parametrize("axes", [2, 3])
def test_heat(m: ModuleType, axes: int) -> None:
    """A Gaussian with one variance is the product of its factors; with a covariance it is the textbook formula."""
    z, p = 0.2 * drawn(axes), 0.2 * drawn(axes, 1)[:, 0]
    factors = [m.gaussian_factor(*pair, 0.05) for pair in zip(z, p, strict=True)]
    assert m.isotropic_heat(z, p, 0.05) == pytest.approx([math.prod(factors)] * 2, rel=1e-13)
    covariance = covariance_of(axes)
    expected = math.exp(-0.5 * (z - p) @ np.linalg.inv(covariance) @ (z - p))
    assert m.covariance_heat(z, p, covariance.ravel()) == pytest.approx([expected] * 2, rel=1e-13)


@pytest.mark.parametrize("axes", [2, 3])
def test_heat_vjp(m: ModuleType, axes: int) -> None:
    """With respect to the point and to each entry of the covariance, which need not be symmetric."""
    z, p = 0.2 * drawn(axes), 0.2 * drawn(axes, 1)[:, 0]
    at = [*p, *(covariance_of(axes) + 0.02 * drawn(axes, axes)).ravel()]
    jacobian = differences(lambda at: m.covariance_heat(z, at[:axes], at[axes:]), at)
    got = m.covariance_heat_vjp(0.7, z, at[:axes], at[axes:])
    np.testing.assert_allclose(got, 0.7 * jacobian[0], atol=1e-8)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("thickness", [0.0, 1e-40, -1e-40])
def test_flat_covariance_is_a_ridge(m: ModuleType, axes: int, thickness: float) -> None:
    """Its heat is 1 along its extent and 0 elsewhere; a determinant below zero is due to rounding."""
    covariance = np.diag([0.5, *[thickness] * (axes - 1)]).ravel()
    origin, beside = [0.0] * axes, [0.0] * (axes - 1) + [0.1]
    assert m.covariance_heat([1e-06, *origin[1:]], origin, covariance) == pytest.approx([1, 1])
    along = m.covariance_heat_vjp(1.0, [0.3, *origin[1:]], origin, covariance)
    assert np.isfinite(along).all()
    if axes == 2:
        assert m.covariance_heat(beside, origin, covariance) == pytest.approx([0, 0])


def test_heat_is_at_most_1(m: ModuleType) -> None:
    """For a matrix that is not positive definite and so not a covariance; the gradient is then 0."""
    assert m.covariance_heat([0.5, 0.5], [0.0, 0.0], [-0.1, 0.0, 0.0, -0.1]) == [1, 1]
    assert m.covariance_heat_vjp(1.0, [0.5, 0.5], [0.0, 0.0], [-0.1, 0.0, 0.0, -0.1]) == [0] * 6


def coordinates(size: Sequence[int], align_corners: bool, pixel: Sequence[int]) -> np.ndarray:
    like = torch.zeros((), dtype=torch.float64)
    pairs = zip(size, pixel, strict=True)
    return np.array([reference.pixel_coordinates(n, align_corners, like)[j].item() for n, j in pairs])


@pytest.mark.parametrize("projective", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion(m: ModuleType, conventions: tuple[bool, bool], size: tuple[int, ...], projective: bool) -> None:
    """From output pixel to coordinate, moved, to source pixel: the three steps of the reference in one map.

    A projective motion has one more row, by which the others are divided: in coordinates, and then in pixels.
    """
    axes, pixel = len(size), np.array([3, 4, 1][: len(size)])
    samples, makes = conventions
    rows = axes + projective
    matrix, offset = 0.1 * drawn(rows, axes), drawn(rows, 1)[:, 0]
    in_pixels = np.array(m.pixel_motion([*matrix.ravel(), *offset], size, conventions))
    moved = matrix @ coordinates(size, makes, pixel) + offset
    got = in_pixels[: rows * axes].reshape(rows, axes) @ pixel + in_pixels[rows * axes :]
    if projective:
        moved, got = moved[:-1] / moved[-1], got[:-1] / got[-1]
    expected = [m.unnormalize(z, n, samples) for z, n in zip(moved, size, strict=True)]
    np.testing.assert_allclose(got, expected, atol=1e-11)


@pytest.mark.parametrize("projective", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_motion_vjp(
    m: ModuleType, conventions: tuple[bool, bool], size: tuple[int, ...], projective: bool
) -> None:
    numbers = (len(size) + projective) * (len(size) + 1)
    grad = drawn(numbers, 1)[:, 0]
    jacobian = differences(lambda motion: m.pixel_motion(motion, size, conventions), drawn(numbers))
    np.testing.assert_allclose(m.pixel_motion_vjp(grad, size, conventions), grad @ jacobian, atol=1e-7)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("conventions", CONVENTIONS)
def test_pixel_stillness(m: ModuleType, conventions: tuple[bool, bool], size: tuple[int, ...]) -> None:
    still = m.pixel_stillness(size, conventions)
    identity = [*np.eye(len(size)).ravel(), *np.zeros(len(size))]
    np.testing.assert_allclose(still, m.pixel_motion(identity, size, conventions), atol=1e-12)
    assert conventions[0] != conventions[1] or list(still) == identity


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
