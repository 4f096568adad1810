"""Sampling and upsampling in csrc/math: values against the equations, derivatives against differences."""

import itertools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from internet.ops import reference
from tests.support.scalar_math import FAR, differences, hat

# --------------------------------------------------------------------------------------------- bilinear.h


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 512])
def test_pixel_coordinates(m: ModuleType, size: int, align_corners: bool) -> None:
    expected = reference.pixel_coordinates(size, align_corners, torch.zeros(0).double()).tolist()
    start, step = m.normalized_start(size, align_corners), m.normalized_step(size, align_corners)
    assert [start + step * j for j in range(size)] == pytest.approx(expected, abs=1e-14)
    assert [m.unnormalize(z, size, align_corners) for z in expected] == pytest.approx(range(size), abs=1e-10)
    slope = m.unnormalize(0.75, size, align_corners) - m.unnormalize(-0.25, size, align_corners)
    assert m.pixels_per_unit(size, align_corners) == pytest.approx(slope)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("border", [False, True])
def test_axis(m: ModuleType, size: int, border: bool) -> None:
    """Weights are those of the hat function at the pixels inside; slopes are their derivatives."""
    for t in [j + f for j in range(-3, size + 3) for f in (0.0, 0.25, 0.8)] + [*FAR, math.nan]:
        a = m.axis(t, size, border)
        assert 0 <= a.low <= size - 1
        assert 0 <= a.high <= size - 1
        clamped = min(max(0.0 if math.isnan(t) else t, 0), size - 1) if border else t
        weights = np.zeros(size)
        weights[int(a.low)] += a.low_weight
        weights[int(a.high)] += a.high_weight
        expected = [0.0 if math.isnan(clamped) else hat(clamped, pixel) for pixel in range(size)]
        np.testing.assert_allclose(weights, expected, atol=1e-14)
        if not math.isfinite(t) or t == math.floor(t):
            continue  # at a pixel the hat has a kink

        def weights_at(arguments: Sequence[float], size: int = size) -> list[float]:
            b = m.axis(arguments[0], size, border)
            return [b.low_weight, b.high_weight]

        slopes = differences(weights_at, [t])[:, 0]
        np.testing.assert_allclose([a.low_slope, a.high_slope], slopes, atol=1e-8)


def test_axis_does_not_move_where_the_frame_ends(m: ModuleType) -> None:
    """Like torch's grid_sample: clamped at the outermost pixels with border; otherwise zero a pixel beyond them."""
    for t, border, moves in [(0.0, True, False), (4.0, True, False), (0.1, True, True), (3.9, True, True)]:
        assert (m.axis(t, 5, border).high_slope != 0) == moves
    for t, moves in [(-1.0, False), (5.0, False), (-0.9, True), (4.9, True)]:
        a = m.axis(t, 5, False)
        assert ((a.low_slope, a.high_slope) != (0, 0)) == moves


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("t", [*FAR, math.nan])
def test_axis_far_away_does_not_move(m: ModuleType, t: float, border: bool) -> None:
    a = m.axis(t, 5, border)
    assert (a.low_slope, a.high_slope) == (0, 0)
    assert a.low_weight + a.high_weight == (1 if border else 0)


# -------------------------------------------------------------------------------------- upsample_motion.h


def upsampled(size: int, ratio: int) -> np.ndarray:
    """Matrix (fine, coarse) of the progressive steps of the reference."""
    fine = torch.eye(size, dtype=torch.float64)[:, None, :, None]  # one image (size, 1) per coarse pixel
    for _ in range(int(math.log2(ratio))):
        fine = reference.upsample_2x(fine)
    return fine[:, 0, :, 0].T.numpy()


@pytest.mark.parametrize("ratio", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_upsampling_in_closed_form(m: ModuleType, size: int, ratio: int) -> None:
    matrix = upsampled(size, ratio)
    weights = [[m.upsample_weight(ratio, size, p, x) for p in range(size)] for x in range(size * ratio)]
    np.testing.assert_allclose(weights, matrix, atol=1e-15)
    values = np.random.default_rng(0).normal(size=size)
    for x, expected in enumerate(matrix @ values):
        p = x // ratio
        neighbours = (values[max(p - 1, 0)], values[p], values[min(p + 1, size - 1)])
        assert m.upsample(ratio, x % ratio, *neighbours) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("ratio", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_upsampling_is_folded_phase_by_phase(m: ModuleType, size: int, ratio: int) -> None:
    """The weights of a coarse pixel in the blocks of fine pixels before, of and after it."""
    for p, phase in np.ndindex(size, ratio):
        blocks = [block for block in (p - 1, p, p + 1) if 0 <= block < size]
        expected = {block: m.upsample_weight(ratio, size, p, block * ratio + phase) for block in blocks}
        folded = dict(zip((p - 1, p, p + 1), m.fold_taps(ratio, phase, p, size), strict=True))
        assert folded == pytest.approx({p - 1: 0, p + 1: 0} | expected, abs=1e-15)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_taps_of_weight_zero_are_not_read(m: ModuleType, ratio: int) -> None:
    for phase in range(ratio):
        before, here, after = m.upsample_taps(ratio, phase)
        assert before + here + after == pytest.approx(1)
        assert math.isfinite(m.upsample(ratio, phase, math.inf, 1.0, 1.0)) == (before == 0)
        assert math.isfinite(m.upsample(ratio, phase, 1.0, 1.0, math.inf)) == (after == 0)


# ------------------------------------------------------------------------------------------ interpolate.h


def interpolated(size: int, fine_size: int, align_corners: bool) -> np.ndarray:
    """Matrix (fine, coarse) of torch's interpolation along one axis."""
    pixels = torch.eye(size, dtype=torch.float64)[:, None, :, None]
    options: dict[str, Any] = {"mode": "bilinear", "align_corners": align_corners}
    return F.interpolate(pixels, (fine_size, 1), **options)[:, 0, :, 0].T.numpy()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("fine_size", [1, 2, 3, 7, 12, 40])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 31])
def test_interpolation_is_torchs(m: ModuleType, size: int, fine_size: int, align_corners: bool) -> None:
    """Forward, tap by tap, and the adjoint's gather give the same matrix."""
    axis, matrix = (size, fine_size, align_corners), interpolated(size, fine_size, align_corners)
    taps, gathered = np.zeros_like(matrix), np.zeros_like(matrix)
    for x in range(fine_size):
        low, high, fraction = m.interpolation_taps(*axis, x)
        assert (low, high, fraction) == m.interpolation_taps_in_32_bits(*axis, x)
        assert 0 <= low <= high < size
        assert (high == low + 1) == (fraction > 0)
        taps[x, low] += 1 - fraction
        taps[x, high] += fraction
    for p in range(size):
        first, end = m.interpolation_readers(*axis, p)
        for x in range(first, end):
            gathered[x, p] = m.interpolation_weight(*axis, p, x)
    np.testing.assert_allclose(taps, matrix, atol=1e-14)
    np.testing.assert_allclose(gathered, matrix, atol=1e-14)


def test_interpolation_knows_whole_pixels_of_large_maps(m: ModuleType) -> None:
    """In integers: where a fine pixel lies on a coarse one no neighbour is read, for any size."""
    for x in (0, 1, 12345, 99999):
        assert m.interpolation_taps(100_000, 300_000, False, 3 * x + 1) == (x, x, 0.0)
        assert m.interpolation_taps(100_001, 200_001, True, 2 * x) == (x, x, 0.0)


def test_an_interpolated_pixel_of_weight_zero_is_not_read(m: ModuleType) -> None:
    assert m.interpolate(1.0, math.inf, 0.0) == 1.0
    assert m.interpolate(1.0, 3.0, 0.25) == 1.5


# -------------------------------------------------------------------------------------- confidence_warp.h


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize(("x", "y"), [(0.3, 0.6), (1.7, 0.2), (-0.4, 1.2), (2.3, -0.7), (-1.5, 0.5), (9.0, 9.0)])
def test_gated_sample_and_its_gradient(m: ModuleType, x: float, y: float, border: bool) -> None:
    """out = M sum_k w_k phi(k) in normalised coordinates, with the pixels as the dot products of one channel."""
    width, height, confidence = 3, 2, 0.7
    image = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]])
    x_scale, y_scale = m.pixels_per_unit(width, False), m.pixels_per_unit(height, False)

    def corners(arguments: Sequence[float]) -> tuple[Any, Any, list[float]]:
        ax, ay = (
            m.axis(m.unnormalize(arguments[0], width, False), width, border),
            m.axis(m.unnormalize(arguments[1], height, False), height, border),
        )
        pixels = [image[int(j), int(i)] for j, i in itertools.product((ay.low, ay.high), (ax.low, ax.high))]
        return ax, ay, pixels

    def out(arguments: Sequence[float]) -> list[float]:
        ax, ay, pixels = corners(arguments)
        return [arguments[2] * float(np.dot(m.corner_weights(ax, ay), pixels))]

    at = [(2 * x + 1) / width - 1, (2 * y + 1) / height - 1, confidence]
    cx, cy = (min(max(x, 0), width - 1), min(max(y, 0), height - 1)) if border else (x, y)
    hats = np.array([[hat(cy, j) * hat(cx, i) for i in range(width)] for j in range(height)])
    assert out(at)[0] == pytest.approx(confidence * (hats * image).sum())

    ax, ay, pixels = corners(at)
    assert m.reads_image(ax, ay) == (hats.sum() > 0)
    got = m.motion_gradient(ax, ay, confidence, pixels, x_scale, y_scale)
    np.testing.assert_allclose(got, differences(out, at)[0], atol=1e-8)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize(("x", "y"), [(0.3, 0.6), (-0.4, 1.2), (-1.5, 0.5), (0.5, 2.5), (math.nan, 0.5), (9.0, -9.0)])
def test_what_does_not_move_has_no_gradient(m: ModuleType, x: float, y: float, border: bool) -> None:
    """Not even with NaN as confidence or dot product, which any coordinate that moves the sample would pass on."""
    width, height = 3, 2
    ax, ay = m.axis(x, width, border), m.axis(y, height, border)
    inside_x, inside_y = (0 < x < width - 1, 0 < y < height - 1) if border else (-1 < x < width, -1 < y < height)
    moves = (inside_x, inside_y) if border else (inside_x and inside_y,) * 2
    for confidence, dots in [(math.nan, [1.0, -2.0, 3.0, 0.5]), (0.7, [math.nan] * 4)]:
        got = m.motion_gradient(ax, ay, confidence, dots, 1.5, 1.0)
        assert [math.isnan(gradient) for gradient in got[:2]] == list(moves)
        assert [gradient == 0 for gradient in got[:2]] == [not one for one in moves]


# ------------------------------------------------------------------------------------- three axes: volumes

VOLUME = np.random.default_rng(0).normal(size=(3, 2, 4))
POSITIONS = [(0.3, 0.6, 1.4), (1.7, 0.2, 0.1), (-0.4, 1.2, 2.5), (2.3, -0.7, -0.2), (-1.5, 0.5, 0.5), (9.0, 9.0, 9.0)]


def volume_axes(m: ModuleType, coordinates: Sequence[float], border: bool) -> list[Any]:
    """Of normalised coordinates, x first."""
    return [
        m.axis(m.unnormalize(z, size, False), size, border)
        for z, size in zip(coordinates, VOLUME.shape[::-1], strict=True)
    ]


def eight_pixels(axes: list[Any]) -> list[float]:
    x, y, z = ((int(axis.low), int(axis.high)) for axis in axes)
    return [VOLUME[at] for at in itertools.product(z, y, x)]


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("at", POSITIONS)
def test_sample_of_a_volume_and_its_gradient(m: ModuleType, at: tuple[float, float, float], border: bool) -> None:
    """out = M sum_k w_k phi(k), k over eight pixels, and the same by interpolating along the axes in turn."""
    sizes, confidence = VOLUME.shape[::-1], 0.7
    scales = [m.pixels_per_unit(size, False) for size in sizes]

    def out(arguments: Sequence[float]) -> list[float]:
        axes = volume_axes(m, arguments[:3], border)
        return [arguments[3] * m.weighted_sum_3d(m.corner_weights_3d(axes), eight_pixels(axes))]

    coordinates = [(2 * t + 1) / size - 1 for t, size in zip(at, sizes, strict=True)]
    clamped = [min(max(t, 0), size - 1) if border else t for t, size in zip(at, sizes, strict=True)]
    hats = [np.array([hat(t, pixel) for pixel in range(size)]) for t, size in zip(clamped, sizes, strict=True)]
    expected = np.einsum("zyx,x,y,z->", VOLUME, *hats)
    assert out([*coordinates, confidence])[0] == pytest.approx(confidence * expected)

    axes = volume_axes(m, coordinates, border)
    pixels = eight_pixels(axes)
    assert m.blend_3d(axes, pixels) == pytest.approx(expected)
    assert m.reads_image_3d(axes) == all(along.sum() > 0 for along in hats)
    got = m.motion_gradient_3d(axes, confidence, pixels, scales)
    np.testing.assert_allclose(got, differences(out, [*coordinates, confidence])[0], atol=1e-8)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("at", [*POSITIONS, (math.nan, 0.5, 0.5), (0.5, math.nan, -3.0), (0.5, 0.5, math.inf)])
def test_a_volume_where_it_does_not_move_has_no_gradient(
    m: ModuleType, at: tuple[float, float, float], border: bool
) -> None:
    sizes = VOLUME.shape[::-1]
    axes = [m.axis(t, size, border) for t, size in zip(at, sizes, strict=True)]
    inside = [0 < t < size - 1 if border else -1 < t < size for t, size in zip(at, sizes, strict=True)]
    moves = inside if border else [all(inside)] * 3
    for confidence, dots in [(math.nan, list(range(8))), (0.7, [math.nan] * 8)]:
        got = m.motion_gradient_3d(axes, confidence, dots, [1.5, 1.0, 0.5])
        assert [math.isnan(gradient) for gradient in got[:3]] == moves
        assert [gradient == 0 for gradient in got[:3]] == [not one for one in moves]
