"""What a dense-motion network sees of each anchor: two Gaussians' difference, and the source moved.

The motion of an anchor is affine in normalised coordinates, and these are affine in pixel indices, of the output in
one convention and of the source in perhaps another. So it is affine from output pixel (j, i) to source pixel t, and
sums of gradients times j and i are turned into the gradient of the anchor at the very end. A program does a block of
pixels for one anchor.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import anchors, bilinear
from internet.kernels.affine_mixture import ANCHORS_PER_PROGRAM, anchor_arguments
from internet.kernels.confidence_warp import channels_lie_last
from internet.kernels.launch import accumulator, compute_type, grid, index_type, strides, tuned
from internet.kernels.pixels import image_and_pixels, normalized, normalized_start, normalized_step
from internet.kernels.registry import alert_not_deterministic, operator
from internet.ops.results import empty, like_or_empty, memory_format_of

SUMS = tl.constexpr(10)
"""Numbers a block of the backward pass leaves: the gradients of an affine map, of kp_source and of kp_driving."""


@triton.jit
def _pixel_axis(size, ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr):
    """One axis: output pixel j sits at z = start + step j, and z is the source's pixel t = scale z + offset."""
    start = normalized_start(size, GRID_ALIGN_CORNERS, tl.float64)
    step = normalized_step(size, GRID_ALIGN_CORNERS, tl.float64)
    scale = bilinear.pixels_per_unit(size, ALIGN_CORNERS, tl.float64)
    return start, step, scale, (tl.cast(size, tl.float64) - 1) * 0.5


@triton.jit
def _pixel_motion(motion, x_axis, y_axis):
    """From the motion in normalised coordinates to that from output pixels to source pixels."""
    xx, xy, yx, yy, x, y = motion
    x_start, x_step, x_scale, x_offset = x_axis
    y_start, y_step, y_scale, y_offset = y_axis
    return (
        x_scale * xx * x_step, x_scale * xy * y_step, y_scale * yx * x_step, y_scale * yy * y_step,
        x_scale * (xx * x_start + xy * y_start + x) + x_offset,
        y_scale * (yx * x_start + yy * y_start + y) + y_offset,
    )  # fmt: skip


@triton.jit
def _pixel_motion_vjp(gradient, x_axis, y_axis):
    """From the gradient of the motion in pixels to that of the normalised motion."""
    xx, xy, yx, yy, x, y = gradient
    x_start, x_step, x_scale, _x_offset = x_axis
    y_start, y_step, y_scale, _y_offset = y_axis
    return (
        x_scale * (x_step * xx + x_start * x), x_scale * (y_step * xy + y_start * x),
        y_scale * (x_step * yx + x_start * y), y_scale * (y_step * yy + y_start * y),
        x_scale * x, y_scale * y,
    )  # fmt: skip


@triton.jit
def _pixel_affines(
    affines,
    kp_source, source_image, source_anchor, source_axis,
    kp_driving, driving_image, driving_anchor, driving_axis,
    jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
    jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
    count, motions, height, width,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The motions (B, K+1, 6) in pixels. The background's is exactly the identity if the conventions are the same."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // motions, place % motions
    exists = place < count
    anchor = anchors.load_anchor(
        kp_source, source_image, source_anchor, source_axis,
        kp_driving, driving_image, driving_anchor, driving_axis,
        jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
        jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
        image, k - 1, exists & (k > 0),
    )  # fmt: skip
    x_axis = _pixel_axis(width, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    y_axis = _pixel_axis(height, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    motion = _pixel_motion(anchors.affine(anchor), x_axis, y_axis)
    stillness = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    if ALIGN_CORNERS != GRID_ALIGN_CORNERS:
        stillness = _pixel_motion(stillness, x_axis, y_axis)
    anchors.store_affine(affines + place * 6, anchors.with_stillness(motion, stillness, k == 0), exists)


@triton.jit
def _anchor_gradients(
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, sums,
    kp_source, source_image, source_anchor, source_axis,
    kp_driving, driving_image, driving_anchor, driving_axis,
    jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
    jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
    count, anchors_per_image, height, width,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the sums (B, K+1, 10) to the gradients of the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // anchors_per_image, place % anchors_per_image
    exists = place < count
    anchor = anchors.load_anchor(
        kp_source, source_image, source_anchor, source_axis,
        kp_driving, driving_image, driving_anchor, driving_axis,
        jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
        jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
        image, k, exists,
    )  # fmt: skip
    from_sums = sums + (place + image + 1) * SUMS
    grad_pixels = anchors.load_affine(from_sums, exists)
    x_axis = _pixel_axis(width, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    y_axis = _pixel_axis(height, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    grad_anchor = anchors.affine_vjp(anchor, _pixel_motion_vjp(grad_pixels, x_axis, y_axis))
    sx, sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy = grad_anchor
    sx += tl.load(from_sums + 6, mask=exists, other=0.0).to(tl.float64)
    sy += tl.load(from_sums + 7, mask=exists, other=0.0).to(tl.float64)
    dx += tl.load(from_sums + 8, mask=exists, other=0.0).to(tl.float64)
    dy += tl.load(from_sums + 9, mask=exists, other=0.0).to(tl.float64)
    total = (sx, sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy)
    anchors.store_anchor_gradient(
        grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, place, total, exists
    )


@triton.jit
def _axes(affines, motion, row, column, height, width, T: tl.constexpr, INDEX: tl.constexpr):
    """Both axes of the samples of one motion."""
    at = affines + motion * 6
    j, i = column.to(T), row.to(T)
    x = tl.load(at) * j + (tl.load(at + 1) * i + tl.load(at + 4))
    y = tl.load(at + 2) * j + (tl.load(at + 3) * i + tl.load(at + 5))
    return bilinear.axis(x, width, False, T, INDEX), bilinear.axis(y, height, False, T, INDEX)


@triton.jit
def _gaussian(kp, image_stride, anchor_stride, axis_stride, image, anchor, x, y, per_twice_variance):
    """The Gaussian of a key point at (x, y), and the differences it is made of."""
    at = kp + image * image_stride + anchor * anchor_stride
    dx = x - tl.load(at)
    dy = y - tl.load(at + axis_stride)
    return tl.exp(-(dx * dx + dy * dy) * per_twice_variance), dx, dy


@triton.jit
def _forward(
    output, output_image, output_channel, output_row, output_column,
    source, source_image, source_channel, source_row, source_column,
    kp_source, kp_source_image, kp_source_anchor, kp_source_axis,
    kp_driving, kp_driving_image, kp_driving_anchor, kp_driving_axis,
    affines, motions, height, width, per_twice_variance: tl.float64, CHANNELS: tl.constexpr,
    GRID_ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    plane, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    to = output + image * output_image + k * (1 + CHANNELS) * output_channel + row * output_row
    to += column * output_column
    heat = tl.zeros([BLOCK], T)
    if k > 0:
        per = tl.full([1], per_twice_variance, T)
        x = normalized(column, width, GRID_ALIGN_CORNERS, T)
        y = normalized(row, height, GRID_ALIGN_CORNERS, T)
        driving, _dx, _dy = _gaussian(
            kp_driving, kp_driving_image, kp_driving_anchor, kp_driving_axis, image, k - 1, x, y, per
        )
        still, _sx, _sy = _gaussian(
            kp_source, kp_source_image, kp_source_anchor, kp_source_axis, image, k - 1, x, y, per
        )
        heat = driving - still
    tl.store(to, heat, mask=inside)
    x_axis, y_axis = _axes(affines, plane, row, column, height, width, T, INDEX)
    places = bilinear.corners(x_axis, y_axis, source_row, source_column, inside)
    source += image * source_image
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        pixels = bilinear.read_corners(source, places, channel * source_channel, exists, T)
        moved = bilinear.blend(pixels, places)
        tl.store(to[:, None] + (1 + channel) * output_channel, moved, mask=inside[:, None] & exists)


_PLANES = [{"warps": 4, "BLOCK": 128, "TILE": 1}, {"warps": 4, "BLOCK": 256, "TILE": 1}]
_CHANNELS_LAST = [{"warps": 4, "BLOCK": 64, "TILE": 4}, {"warps": 4, "BLOCK": 32, "TILE": 16}]
_forward_planes = tuned(_PLANES, ["CHANNELS", "height", "width"])(_forward)
_forward_channels_last = tuned(_CHANNELS_LAST, ["CHANNELS", "height", "width"])(_forward)


@triton.jit
def _backward(
    grad_source, grad_source_image, grad_source_channel, grad_source_row, grad_source_column,
    partials,
    grad, grad_image, grad_channel, grad_row, grad_column,
    source, source_image, source_channel, source_row, source_column,
    kp_source, kp_source_image, kp_source_anchor, kp_source_axis,
    kp_driving, kp_driving_image, kp_driving_anchor, kp_driving_axis,
    affines, motions, height, width, blocks, per_twice_variance: tl.float64, CHANNELS: tl.constexpr,
    GRID_ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The source's gradient, added up with atomics, and this block's sums of the anchor's, to `partials`
    (B, blocks, K+1, 10)."""
    plane, block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    from_grad = grad + image * grad_image + k * (1 + CHANNELS) * grad_channel + row * grad_row + column * grad_column
    x_axis, y_axis = _axes(affines, plane, row, column, height, width, T, INDEX)
    places = bilinear.corners(x_axis, y_axis, source_row, source_column, inside)
    scattered = bilinear.corners(x_axis, y_axis, grad_source_row, grad_source_column, inside)
    source += image * source_image
    nw, ne = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    sw, se = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        at = from_grad[:, None] + (1 + channel) * grad_channel
        gradient = tl.load(at, mask=inside[:, None] & exists, other=0.0).to(T)
        if partials is not None:
            pixels = bilinear.read_corners(source, places, channel * source_channel, exists, T)
            dot_nw, dot_ne, dot_sw, dot_se = bilinear.dots(pixels, gradient)
            nw, ne, sw, se = nw + dot_nw, ne + dot_ne, sw + dot_sw, se + dot_se
        if grad_source is not None:
            to = grad_source + image * grad_source_image
            bilinear.scatter(to, scattered, gradient, channel * grad_source_channel, exists)
    if partials is not None:
        to = partials + ((image * blocks + block) * motions + k) * SUMS
        _value, grad_x, grad_y = bilinear.position_gradient(x_axis, y_axis, (nw, ne, sw, se))
        grad_x, grad_y = bilinear.where_it_moves(x_axis, y_axis, grad_x, grad_y)
        j, i = column.to(T), row.to(T)
        sums = (
            tl.sum(grad_x * j, 0), tl.sum(grad_x * i, 0), tl.sum(grad_y * j, 0), tl.sum(grad_y * i, 0),
            tl.sum(grad_x, 0), tl.sum(grad_y, 0),
        )  # fmt: skip
        anchors.store_affine(to, sums, True)
        if k > 0:
            per = tl.full([1], per_twice_variance, T)
            x = normalized(column, width, GRID_ALIGN_CORNERS, T)
            y = normalized(row, height, GRID_ALIGN_CORNERS, T)
            grad_heat = tl.load(from_grad, mask=inside, other=0.0).to(T) * 2 * per
            still, dx, dy = _gaussian(
                kp_source, kp_source_image, kp_source_anchor, kp_source_axis, image, k - 1, x, y, per
            )
            tl.store(to + 6, -tl.sum(grad_heat * still * dx, 0))
            tl.store(to + 7, -tl.sum(grad_heat * still * dy, 0))
            driving, dx, dy = _gaussian(
                kp_driving, kp_driving_image, kp_driving_anchor, kp_driving_axis, image, k - 1, x, y, per
            )
            tl.store(to + 8, tl.sum(grad_heat * driving * dx, 0))
            tl.store(to + 9, tl.sum(grad_heat * driving * dy, 0))


def _affine_maps(size: tuple[int, int], aligned: tuple[bool, bool], *points: Tensor | None) -> Tensor:
    """(B, K+1, 6); `aligned` is the convention of the source's coordinates and that of the grid's."""
    kp_source = points[0]
    assert kp_source is not None
    batch, count, _ = kp_source.shape
    affines = kp_source.new_empty(batch, count + 1, 6)
    total = batch * (count + 1)
    _pixel_affines[grid(1, total, ANCHORS_PER_PROGRAM)](
        affines, *anchor_arguments(*points), total, count + 1, *size,
        ALIGN_CORNERS=aligned[0], GRID_ALIGN_CORNERS=aligned[1], BLOCK=ANCHORS_PER_PROGRAM,
    )  # fmt: skip
    return affines


@operator
def anchor_features(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
) -> Tensor:
    batch, channels, height, width = source.shape
    motions = kp_source.shape[1] + 1
    shape = (batch, motions * (1 + channels), height, width)
    output = torch.empty(shape, dtype=source.dtype, device=source.device, memory_format=memory_format_of(source))
    if not output.numel():
        return output
    points = (kp_source, kp_driving, jac_source, jac_driving)
    affines = _affine_maps((height, width), (align_corners, grid_align_corners), *points)
    kernel = _forward_channels_last if channels_lie_last(source) else _forward_planes
    kernel[lambda chosen: grid(batch * motions, height * width, chosen["BLOCK"])](
        output, *output.stride(), source, *source.stride(), *anchor_arguments(kp_source, kp_driving),
        affines, motions, height, width, 0.5 / variance, CHANNELS=channels,
        GRID_ALIGN_CORNERS=grid_align_corners, T=compute_type(source), INDEX=index_type(output, source),
    )  # fmt: skip
    return output


@operator
def anchor_features_backward(
    grad_output: Tensor,
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
    need_source: bool,
    need_anchors: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if deterministic and need_source:
        alert_not_deterministic("anchor_features")
    batch, channels, height, width = source.shape
    motions = kp_source.shape[1] + 1
    points = (kp_source, kp_driving, jac_source, jac_driving)
    aligned = (align_corners, grid_align_corners)
    grad_source = accumulator(source, kp_source.dtype) if need_source else None
    grad_points = [empty(kp_source) if p is None else like_or_empty(p, need_anchors) for p in points]
    block, tile = (32, min(16, triton.next_power_of_2(channels))) if channels_lie_last(source) else (128, 1)
    blocks = triton.cdiv(height * width, block)
    partials = kp_source.new_empty(batch, blocks, motions, SUMS.value) if need_anchors else None
    if batch * height * width:
        affines = _affine_maps((height, width), aligned, *points)
        _backward[grid(batch * motions, height * width, block)](
            grad_source, *strides(grad_source, 4), partials, grad_output, *grad_output.stride(),
            source, *source.stride(), *anchor_arguments(kp_source, kp_driving),
            affines, motions, height, width, blocks, 0.5 / variance, CHANNELS=channels,
            GRID_ALIGN_CORNERS=grid_align_corners, T=compute_type(source),
            INDEX=index_type(grad_source, grad_output, source, partials), BLOCK=block, TILE=tile,
        )  # fmt: skip
    else:
        for grad_point in grad_points:
            grad_point.zero_()
    total = batch * (motions - 1) if height * width else 0
    if partials is not None and total:
        grad_jacobians = grad_points[2:] if jac_source is not None else (None, None)
        _anchor_gradients[grid(1, total, ANCHORS_PER_PROGRAM)](
            *grad_points[:2], *grad_jacobians, partials.sum(1), *anchor_arguments(*points),
            total, motions - 1, height, width,
            ALIGN_CORNERS=align_corners, GRID_ALIGN_CORNERS=grid_align_corners, BLOCK=ANCHORS_PER_PROGRAM,
        )  # fmt: skip
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving = grad_points
    grad_data = empty(source) if grad_source is None else grad_source.to(source.dtype)
    return grad_data, grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving
