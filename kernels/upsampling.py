"""Progressive 2x upsampling of a map by a factor r = 2^i, and its adjoint in gather form.

Steps of (1/4, 3/4) are Chaikin's corner cutting. After i steps, fine pixel X = p r + s (0 <= s < r) has the weights
(r-1-s)(r-s)/(2 r^2) on coarse pixel p - 1, s(s+1)/(2 r^2) on p + 1, and 1 minus these two on p; the border is
replicated. csrc/math/upsample_motion.h explains why. No intermediate level is ever stored.
"""

import triton
import triton.language as tl


@triton.jit
def taps(fine, size, RATIO: tl.constexpr, T: tl.constexpr):
    """The coarse pixels before, at and after, along one axis, and their weights."""
    here = fine // RATIO
    phase = (fine % RATIO).to(T)
    before_weight = (RATIO - 1 - phase) * (RATIO - phase) * (0.5 / (RATIO * RATIO))
    after_weight = phase * (phase + 1) * (0.5 / (RATIO * RATIO))
    here_weight = 1 - before_weight - after_weight
    return tl.maximum(here - 1, 0), here, tl.minimum(here + 1, size - 1), before_weight, here_weight, after_weight


@triton.jit
def _upsampled_row(row, column_stride, columns, mask, T: tl.constexpr):
    """One row of coarse pixels at fine columns. A pixel of weight 0 is not read: it may be infinite."""
    before, here, after, before_weight, here_weight, after_weight = columns
    value = here_weight * tl.load(row + here * column_stride, mask=mask, other=0.0).to(T)
    read = mask & (before_weight != 0)
    value += before_weight * tl.load(row + before * column_stride, mask=read, other=0.0).to(T)
    read = mask & (after_weight != 0)
    return value + after_weight * tl.load(row + after * column_stride, mask=read, other=0.0).to(T)


@triton.jit
def upsampled(
    coarse, row_stride, column_stride, height, width, row, column, mask, RATIO: tl.constexpr, T: tl.constexpr
):
    """A map of height x width coarse pixels, at fine pixels."""
    if RATIO == 1:
        value = tl.load(coarse + row * row_stride + column * column_stride, mask=mask, other=0.0).to(T)
    else:
        columns = taps(column, width, RATIO, T)
        before, here, after, before_weight, here_weight, after_weight = taps(row, height, RATIO, T)
        value = here_weight * _upsampled_row(coarse + here * row_stride, column_stride, columns, mask, T)
        read = mask & (before_weight != 0)
        value += before_weight * _upsampled_row(coarse + before * row_stride, column_stride, columns, read, T)
        read = mask & (after_weight != 0)
        value += after_weight * _upsampled_row(coarse + after * row_stride, column_stride, columns, read, T)
    return value


@triton.jit
def _adjoint_weight(coarse, fine, size, RATIO: tl.constexpr, T: tl.constexpr):
    """The weight of a coarse pixel in a fine one, including the repeated border."""
    before, here, after, before_weight, here_weight, after_weight = taps(fine, size, RATIO, T)
    weight = tl.where(coarse == here, here_weight, 0.0)
    weight += tl.where(coarse == before, before_weight, 0.0)
    weight += tl.where(coarse == after, after_weight, 0.0)
    return tl.where((fine >= 0) & (fine < size * RATIO), weight, 0.0)


@triton.jit
def gathered(fine, row_stride, height, row, mask, RATIO: tl.constexpr, T: tl.constexpr):
    """The adjoint of `upsampled` along one axis: the sum, for a coarse row, over a column of fine pixels at `fine`."""
    total = tl.zeros(row.shape, T)
    for i in range(3 * RATIO - 2):
        fine_row = (row - 1) * RATIO + 1 + i
        weight = _adjoint_weight(row, fine_row, height, RATIO, T)
        total += weight * tl.load(fine + fine_row * row_stride, mask=mask & (weight != 0), other=0.0).to(T)
    return total
