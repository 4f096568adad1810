"""One bilinear interpolation to any size, and its adjoint, with the weights of csrc/math/interpolate.h.

A fine pixel lies at a fraction of integers between two coarse ones. It is divided with a remainder, so that no rounding
decides which pixels are read.
"""

import triton
import triton.language as tl


@triton.jit
def _unit(fine_size, ALIGN_CORNERS: tl.constexpr):
    """A coarse pixel's width, in the unit of `_coordinate`."""
    if ALIGN_CORNERS:
        unit = tl.maximum(fine_size - 1, 1)
    else:
        unit = 2 * fine_size
    return unit


@triton.jit
def _coordinate(fine, size, fine_size, ALIGN_CORNERS: tl.constexpr):
    """Where a fine pixel lies among `size` coarse ones."""
    if ALIGN_CORNERS:
        t = fine * (size - 1)
    else:
        t = (2 * fine + 1) * size - fine_size
    return tl.minimum(tl.maximum(t, 0), (size - 1) * _unit(fine_size, ALIGN_CORNERS))


@triton.jit
def _taps(fine, size, fine_size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """The two coarse pixels, and how far the fine one lies towards the second, which is not read if that is 0."""
    unit = _unit(fine_size, ALIGN_CORNERS)
    t = _coordinate(fine, size, fine_size, ALIGN_CORNERS)
    low = t // unit
    rest = t - low * unit
    return low, tl.where(rest > 0, low + 1, low), rest.to(T) / tl.cast(unit, T)


@triton.jit
def _interpolated_row(row, column_stride, columns, mask, T: tl.constexpr):
    low, high, fraction = columns
    before = tl.load(row + low * column_stride, mask=mask, other=0.0).to(T)
    after = tl.load(row + high * column_stride, mask=mask & (fraction != 0), other=0.0).to(T)
    return before * (1 - fraction) + after * fraction


@triton.jit
def interpolated(
    coarse, row_stride, column_stride, size, fine_size, row, column, mask,
    ALIGN_CORNERS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """A map at fine pixels; sizes are (height, width)."""
    columns = _taps(column, size[1], fine_size[1], ALIGN_CORNERS, T)
    low, high, fraction = _taps(row, size[0], fine_size[0], ALIGN_CORNERS, T)
    before = _interpolated_row(coarse + low * row_stride, column_stride, columns, mask, T)
    read = mask & (fraction != 0)
    after = _interpolated_row(coarse + high * row_stride, column_stride, columns, read, T)
    return before * (1 - fraction) + after * fraction


@triton.jit
def _first_at(p, size, fine_size, ALIGN_CORNERS: tl.constexpr):
    """The first fine pixel at or after coarse pixel p."""
    if ALIGN_CORNERS:
        start, step = p * _unit(fine_size, ALIGN_CORNERS), tl.maximum(size - 1, 1)
    else:
        start, step = (2 * p + 1) * fine_size - size, 2 * size
    first = tl.where(p < size, (start + step - 1) // step, fine_size)
    return tl.where(p > 0, first, 0)


@triton.jit
def interpolation_gathered(
    fine, row_stride, size, fine_size, row, mask, READERS: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr
):
    """The adjoint along one axis: the sum, for a coarse row, over those fine pixels of a column at `fine` that read it,
    at most READERS of them."""
    unit = _unit(fine_size, ALIGN_CORNERS)
    first = _first_at(row - 1, size, fine_size, ALIGN_CORNERS)
    end = _first_at(row + 1, size, fine_size, ALIGN_CORNERS)
    total = tl.zeros(row.shape, T)
    for i in range(READERS):
        distance = tl.abs(_coordinate(first + i, size, fine_size, ALIGN_CORNERS) - row * unit)
        weight = tl.where(distance < unit, (unit - distance).to(T) / tl.cast(unit, T), 0.0)
        read = mask & (first + i < end) & (weight != 0)
        total += weight * tl.load(fine + (first + i) * row_stride, mask=read, other=0.0).to(T)
    return total


def most_readers(size: int, fine_size: int, align_corners: bool) -> int:
    """An upper bound on the fine pixels that read one coarse pixel along an axis."""
    if size == 1:
        return fine_size
    step = (fine_size - 1) / (size - 1) if align_corners else fine_size / size
    return min(fine_size, int(2 * step) + 2)
