"""What `anchor_features` reads at a pixel for one anchor: the source at its motion, and two Gaussians.

On n axes, x first, a map is n(n+1) numbers: a matrix, row by row, and an offset. A projective one has one more row.
"""

import triton
import triton.language as tl

from internet.kernels import bilinear
from internet.kernels.pixels import normalized
from internet.kernels.strided import at


@triton.jit
def coordinate(map_at, row: tl.constexpr, rows: tl.constexpr, index, T: tl.constexpr):
    """Coordinate `row` of a map with `rows` of them, at pixels index = (column, row) or (column, row, slice)."""
    axes: tl.constexpr = len(index)
    moved = tl.load(map_at + rows * axes + row)
    for axis in tl.static_range(axes - 1, -1, -1):
        moved = tl.load(map_at + row * axes + axis) * index[axis].to(T) + moved
    return moved


@triton.jit
def _position(maps, image, k, motions, row: tl.constexpr, index, T: tl.constexpr):
    """One coordinate of the position at which motion k reads the source, in pixels."""
    axes: tl.constexpr = len(index)
    moved = coordinate(maps.affines + (image * motions + k) * (axes * (axes + 1)), row, axes, index, T)
    if maps.backgrounds is not None:
        if k == 0:
            map_at = maps.backgrounds + image * ((axes + 1) * (axes + 1))
            moved = coordinate(map_at, row, axes + 1, index, T) / coordinate(map_at, axes, axes + 1, index, T)
    return moved


@triton.jit
def sample_axes(maps, image, k, motions, index, size, T: tl.constexpr, INDEX: tl.constexpr):
    """The axes of the samples of one motion, x first."""
    axes = ()
    for axis in tl.static_range(len(index)):
        moved = _position(maps, image, k, motions, axis, index, T)
        axes += (bilinear.axis(moved, size[axis], False, T, INDEX),)
    return axes


@triton.jit
def pixel_index(line, column, size):
    """The indices of pixels on lines of an image, or of a volume, whose lines are counted through its slices."""
    if len(size) == 3:
        index = column, line % size[1], line // size[1]
    else:
        index = column, line
    return index


@triton.jit
def address(view, image, channel, index):
    """The addresses of pixels in one channel; later channels follow at its stride."""
    if len(index) == 3:
        found = at(view, (image, channel, index[2], index[1], index[0]))
    else:
        found = at(view, (image, channel, index[1], index[0]))
    return found


@triton.jit
def places_of(axes, view, inside):
    """The `corners` of the samples in an image of `view`; for a volume, in the slices before and after them."""
    if len(axes) == 3:
        places = bilinear.corners(axes[0], axes[1], view.strides[3], view.strides[4], inside)
        before, after, before_weight, after_weight, _a, _b, before_read, after_read = axes[2]
        result = (
            bilinear.in_slice(places, before, before_read, before_weight, view.strides[2]),
            bilinear.in_slice(places, after, after_read, after_weight, view.strides[2]),
        )
    else:
        result = (bilinear.corners(axes[0], axes[1], view.strides[2], view.strides[3], inside),)
    return result


@triton.jit
def distances(kp, image, anchor, index, size, ALIGNED: tl.constexpr, T: tl.constexpr):
    """The distances of pixels from a key point, along each axis."""
    found = ()
    for axis in tl.static_range(len(index)):
        found += (normalized(index[axis], size[axis], ALIGNED, T) - tl.load(at(kp, (image, anchor, axis))),)
    return found


@triton.jit
def exponent_at(distances, exponents, gaussian, per_twice_variance):
    """The exponent of a Gaussian with a single variance, or of Gaussian number `gaussian` (the driving one is first)
    with the coefficients `exponents` (B, K, 2, n(n+1)/2) of products of distances (0, 0), (0, 1), ..., (1, 1), ..."""
    axes: tl.constexpr = len(distances)
    total = tl.zeros_like(distances[0])
    if exponents is not None:
        coefficients = exponents + gaussian * (axes * (axes + 1) // 2)
        for i in tl.static_range(axes):
            for j in tl.static_range(i, axes):
                coefficient = tl.load(coefficients + i * axes - i * (i - 1) // 2 + j - i)
                total += coefficient * distances[i] * distances[j]
    else:
        for i in tl.static_range(axes):
            total -= distances[i] * distances[i]
        total *= per_twice_variance
    return total


@triton.jit
def gaussian_value(distances, exponents, gaussian, per_twice_variance):
    """The Gaussian, clamped to at most 1 in case its covariance is not positive definite."""
    exponent = exponent_at(distances, exponents, gaussian, per_twice_variance)
    return tl.exp(tl.where(exponent > 0, 0.0, exponent))
