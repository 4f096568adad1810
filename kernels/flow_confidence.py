"""Where optical flow is reliable (Sundaram, Brox and Keutzer, ECCV 2010): two tests for each pixel.

A comparison with NaN is false, so a pixel where any value is NaN is not reliable; nor is an infinite flow.
"""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import bilinear
from internet.kernels.launch import PIXELS, compute_type, grid, index_type
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import operator
from internet.kernels.strided import at, strided


@triton.jit
def _vector(flow, axis_stride, mask, T: tl.constexpr):
    x = tl.load(flow, mask=mask, other=0.0).to(T)
    return x, tl.load(flow + axis_stride, mask=mask, other=0.0).to(T)


@triton.jit
def _returned(plane, places, T: tl.constexpr):
    """One component of the backward flow at the end point of the forward flow; 0 out of the frame."""
    pixels = bilinear.read_corners(plane, places, tl.zeros([1, 1], tl.int32), tl.full([1, 1], True, tl.int1), T)
    return tl.sum(bilinear.blend(pixels, places), 1)


@triton.jit
def _forward(
    mask, forward, backward, height, width,
    consistency_scale: tl.float64, consistency_offset: tl.float64,
    boundary_scale: tl.float64, boundary_offset: tl.float64,
    WITH_BOUNDARY: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    _image_stride, axis_stride, row_stride, column_stride = forward.strides
    here = at(forward, (image,)) + row * row_stride + column * column_stride
    u, v = _vector(here, axis_stride, inside, T)
    x, y = column.to(T) + u, row.to(T) + v
    last_x, last_y = tl.cast(width, T) - 1, tl.cast(height, T) - 1
    reliable = (x >= 0) & (x <= last_x) & (y >= 0) & (y <= last_y)
    x_axis = bilinear.axis(x, width, False, T, INDEX)
    y_axis = bilinear.axis(y, height, False, T, INDEX)
    places = bilinear.corners(x_axis, y_axis, backward.strides[2], backward.strides[3], inside)
    returned_u = _returned(at(backward, (image, 0)), places, T)
    returned_v = _returned(at(backward, (image, 1)), places, T)

    magnitude = u * u + v * v
    mismatch = (u + returned_u) * (u + returned_u) + (v + returned_v) * (v + returned_v)
    scale, offset = tl.full([1], consistency_scale, T), tl.full([1], consistency_offset, T)
    bound = scale * (magnitude + (returned_u * returned_u + returned_v * returned_v)) + offset
    reliable &= (mismatch <= bound) & (mismatch < float("inf"))
    if WITH_BOUNDARY:
        right_u, right_v = _vector(here + column_stride, axis_stride, inside & (column + 1 < width), T)
        below_u, below_v = _vector(here + row_stride, axis_stride, inside & (row + 1 < height), T)
        along_x = (right_u - u) * (right_u - u) + (right_v - v) * (right_v - v)
        along_y = (below_u - u) * (below_u - u) + (below_v - v) * (below_v - v)
        gradient = tl.where(column + 1 < width, along_x, 0.0) + tl.where(row + 1 < height, along_y, 0.0)
        scale, offset = tl.full([1], boundary_scale, T), tl.full([1], boundary_offset, T)
        reliable &= gradient <= scale * magnitude + offset
    tl.store(mask + (image * height + row) * width + column, reliable.to(T), mask=inside)


@operator
def flow_confidence(
    flow_forward: Tensor,
    flow_backward: Tensor,
    consistency_scale: float,
    consistency_offset: float,
    with_boundary: bool,
    boundary_scale: float,
    boundary_offset: float,
) -> Tensor:
    batch, _, height, width = flow_forward.shape
    mask = flow_forward.new_empty(batch, 1, height, width)
    if mask.numel():
        _forward[grid(batch, height * width, PIXELS)](
            mask, strided(flow_forward), strided(flow_backward), height, width,
            consistency_scale, consistency_offset, boundary_scale, boundary_offset,
            WITH_BOUNDARY=with_boundary, T=compute_type(flow_forward),
            INDEX=index_type(flow_forward, flow_backward), BLOCK=PIXELS,
        )  # fmt: skip
    return mask
