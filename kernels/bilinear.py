"""Linear sampling: from a coordinate to two pixels and their weights, one axis at a time (csrc/math/bilinear.h).

Images have two axes. Volumes have a third, and a sample of a volume consists of two of images, in the slices before
and after it.

An axis is eight numbers for each sample: the two indices, inside the image; their weights, 0 for a pixel outside; the
derivatives of the weights with respect to the coordinate; and whether each pixel is read at all. Pixels outside are not
read, so infinities there have no effect.
"""

import triton
import triton.language as tl


@triton.jit
def pixels_per_unit(size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """Pixels per unit of the normalised coordinate."""
    extent = tl.cast(size, T)
    if ALIGN_CORNERS:
        scale = (extent - 1) * 0.5
    else:
        scale = extent * 0.5
    return scale


@triton.jit
def unnormalize(z, size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """The pixel coordinate of a normalised one; the image's middle is z = 0 in both conventions."""
    return z * pixels_per_unit(size, ALIGN_CORNERS, T) + (tl.cast(size, T) - 1) * 0.5


@triton.jit
def axis(t, size, BORDER: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr):
    """Where a sample at pixel coordinate t reads. NaN and infinite coordinates are out of the frame.

    `BORDER` clamps t, and moves a NaN to the first pixel; a sample that was clamped, or is at the end, has no slope.
    Otherwise pixels outside have weight zero.
    """
    last = tl.cast(size, T) - 1
    if BORDER:
        free = (t > 0) & (t < last)
        bounded = tl.where(t > 0, t, 0.0)
        bounded = tl.where(bounded < last, bounded, last)
    else:
        free = (t > -1) & (t < last + 1)
        bounded = tl.where(t > -1, t, -1.0)
        bounded = tl.where(bounded < last + 1, bounded, last + 1)
    base = tl.floor(bounded)
    fraction = bounded - base
    low_read = (base >= 0) & (base <= last)
    high_read = base < last
    if not BORDER:
        low_read &= free
        high_read &= free
    low = tl.maximum(tl.minimum(base, last), 0).to(INDEX)
    high = tl.minimum(base + 1, last).to(INDEX)
    low_weight = tl.where(low_read, 1 - fraction, 0.0)
    high_weight = tl.where(high_read, fraction, 0.0)
    low_slope = tl.where(low_read & free, -1.0, 0.0).to(T)
    high_slope = tl.where(high_read & free, 1.0, 0.0).to(T)
    return low, high, low_weight, high_weight, low_slope, high_slope, low_read, high_read


@triton.jit
def reads_anything(x, y):
    """Whether any of the four pixels of a sample is read."""
    return (x[6] | x[7]) & (y[6] | y[7])


@triton.jit
def moves(axis):
    """Whether a sample moves with its coordinate: not where that was clamped."""
    return axis[5] > axis[4]


@triton.jit
def where_it_moves(x, y, grad_x, grad_y):
    """The gradient of a position; along axes on which the sample does not move it is 0, not NaN times zero."""
    reads = reads_anything(x, y)
    return tl.where(reads & moves(x), grad_x, 0.0), tl.where(reads & moves(y), grad_y, 0.0)


@triton.jit
def corners(x, y, row_stride, column_stride, mask):
    """Offsets of the four pixels of a sample, whether they are read, and their weights.

    Twelve numbers, four each: north-west, north-east, south-west, south-east.
    """
    west, east, west_weight, east_weight, _a, _b, west_read, east_read = x
    north, south, north_weight, south_weight, _c, _d, north_read, south_read = y
    return (
        north * row_stride + west * column_stride, north * row_stride + east * column_stride,
        south * row_stride + west * column_stride, south * row_stride + east * column_stride,
        mask & north_read & west_read, mask & north_read & east_read,
        mask & south_read & west_read, mask & south_read & east_read,
        north_weight * west_weight, north_weight * east_weight,
        south_weight * west_weight, south_weight * east_weight,
    )  # fmt: skip


@triton.jit
def in_slice(places, index, read, weight, slice_stride):
    """The `corners` of a sample in a slice of a volume, from that end of its third axis: `index`, `read`, `weight`."""
    nw, ne, sw, se, read_nw, read_ne, read_sw, read_se, weight_nw, weight_ne, weight_sw, weight_se = places
    offset = index * slice_stride
    return (
        nw + offset, ne + offset, sw + offset, se + offset,
        read_nw & read, read_ne & read, read_sw & read, read_se & read,
        weight_nw * weight, weight_ne * weight, weight_sw * weight, weight_se * weight,
    )  # fmt: skip


@triton.jit
def read(image, at, mask, channel_offset, channel_mask, T: tl.constexpr):
    """A tile (samples, channels) of pixels."""
    return tl.load(image + at[:, None] + channel_offset, mask=mask[:, None] & channel_mask, other=0.0).to(T)


@triton.jit
def read_corners(image, places, channel_offset, channel_mask, T: tl.constexpr):
    """Four tiles (samples, channels); 0 where nothing is read."""
    nw, ne, sw, se, read_nw, read_ne, read_sw, read_se, _a, _b, _c, _d = places
    return (
        read(image, nw, read_nw, channel_offset, channel_mask, T),
        read(image, ne, read_ne, channel_offset, channel_mask, T),
        read(image, sw, read_sw, channel_offset, channel_mask, T),
        read(image, se, read_se, channel_offset, channel_mask, T),
    )


@triton.jit
def blend(pixels, places):
    """The interpolated values (samples, channels) of four corners."""
    nw, ne, sw, se = pixels
    _a, _b, _c, _d, _e, _f, _g, _h, weight_nw, weight_ne, weight_sw, weight_se = places
    north = nw * weight_nw[:, None] + ne * weight_ne[:, None]
    return north + sw * weight_sw[:, None] + se * weight_se[:, None]


@triton.jit
def scatter(image, places, gradient, channel_offset, channel_mask):
    """The adjoint of `blend`: add the gradient of samples (samples, channels) to their pixels, in no fixed order."""
    nw, ne, sw, se, read_nw, read_ne, read_sw, read_se, weight_nw, weight_ne, weight_sw, weight_se = places
    _add(image, nw, read_nw, weight_nw, gradient, channel_offset, channel_mask)
    _add(image, ne, read_ne, weight_ne, gradient, channel_offset, channel_mask)
    _add(image, sw, read_sw, weight_sw, gradient, channel_offset, channel_mask)
    _add(image, se, read_se, weight_se, gradient, channel_offset, channel_mask)


@triton.jit
def _add(image, at, mask, weight, gradient, channel_offset, channel_mask):
    share = gradient * weight[:, None]
    tl.atomic_add(image + at[:, None] + channel_offset, share, mask=mask[:, None] & channel_mask, sem="relaxed")


@triton.jit
def dots(pixels, gradient):
    """d_k = sum over a tile's channels of g_c p_c, for the four corners."""
    nw, ne, sw, se = pixels
    return (
        tl.sum(nw * gradient, 1), tl.sum(ne * gradient, 1),
        tl.sum(sw * gradient, 1), tl.sum(se * gradient, 1),
    )  # fmt: skip


@triton.jit
def position_gradient(x, y, dots):
    """From the d_k: sum_k w_k d_k, the dot product of gradient and sample; and the gradients of its position."""
    nw, ne, sw, se = dots
    _west, _east, west_weight, east_weight, west_slope, east_slope, _a, _b = x
    _north, _south, north_weight, south_weight, north_slope, south_slope, _c, _d = y
    north = west_weight * nw + east_weight * ne
    south = west_weight * sw + east_weight * se
    west = north_weight * nw + south_weight * sw
    east = north_weight * ne + south_weight * se
    value = north_weight * north + south_weight * south
    return value, west_slope * west + east_slope * east, north_slope * north + south_slope * south


@triton.jit
def volume_position_gradient(x, y, z, dots_before, dots_after):
    """`position_gradient` for a volume, from the d_k of both slices."""
    before, before_x, before_y = position_gradient(x, y, dots_before)
    after, after_x, after_y = position_gradient(x, y, dots_after)
    _before, _after, before_weight, after_weight, before_slope, after_slope, _a, _b = z
    value = before_weight * before + after_weight * after
    grad_x = before_weight * before_x + after_weight * after_x
    grad_y = before_weight * before_y + after_weight * after_y
    return value, grad_x, grad_y, before_slope * before + after_slope * after
