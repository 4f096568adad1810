"""Eqs. 2-4: r = (bilinear(output; x + u, y + v) - target) m, loss = penalty(r), summed or pixel by pixel."""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import bilinear
from internet.kernels.confidence_warp import channels_lie_last
from internet.kernels.launch import PIXELS, accumulator, compute_type, grid, index_type
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.strided import at, strided
from internet.kernels.upsample_motion import gather
from internet.kernels.upsampling import upsampled
from internet.ops.reference import CHARBONNIER_EPSILON, motion_dtype
from internet.ops.results import dense_like, empty, like_or_empty

SQUARED_EPSILON = tl.constexpr(CHARBONNIER_EPSILON**2)


@triton.jit
def _smooth(residual):
    """The Charbonnier penalty, a differentiable |r|."""
    return tl.sqrt(residual * residual + tl.full(residual.shape, SQUARED_EPSILON, residual.dtype))


@triton.jit
def _penalty(residual, NORM: tl.constexpr):
    if NORM == "l1":
        value = tl.abs(residual)
    elif NORM == "l2":
        value = residual * residual
    else:
        value = _smooth(residual)
    return value


@triton.jit
def _penalty_slope(residual, NORM: tl.constexpr):
    """d penalty / d r. At the kink of |r| at 0 the subgradient is 0; NaN stays NaN."""
    if NORM == "l1":
        slope = tl.where(residual < 0, -1.0, tl.where(residual > 0, 1.0, residual))
    elif NORM == "l2":
        slope = 2 * residual
    else:
        slope = residual / _smooth(residual)
    return slope


@triton.jit
def _sample(
    flow, confidence, height, width, mask_height, mask_width, image, row, column, inside,
    RATIO: tl.constexpr, PADDING: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Both axes of the samples, their mask, and which count."""
    displacement = at(flow, (image, 0, row, column))
    x = column.to(T) + tl.load(displacement, mask=inside, other=0.0).to(T)
    y = row.to(T) + tl.load(displacement + flow.strides[1], mask=inside, other=0.0).to(T)
    counts = inside
    if PADDING == "valid":
        counts = counts & (x >= 0) & (x <= tl.cast(width, T) - 1) & (y >= 0) & (y <= tl.cast(height, T) - 1)
    x_axis = bilinear.axis(x, width, PADDING == "border", T, INDEX)
    y_axis = bilinear.axis(y, height, PADDING == "border", T, INDEX)
    if confidence is not None:
        row_stride, column_stride = confidence.strides[2], confidence.strides[3]
        plane = at(confidence, (image,))
        mask = upsampled(plane, row_stride, column_stride, mask_height, mask_width, row, column, inside, RATIO, T)
    else:
        mask = tl.full(row.shape, 1.0, T)
    return x_axis, y_axis, mask, counts


@triton.jit
def _forward(
    losses, partials,
    output, target, flow, confidence, height, width, mask_height, mask_width,
    CHANNELS: tl.constexpr, NORM: tl.constexpr, RATIO: tl.constexpr, PADDING: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Stores each pixel's loss in `losses` (B, H, W), or each block's in `partials`."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate, counts = _sample(
        flow, confidence, height, width, mask_height, mask_width, image, row, column, inside, RATIO, PADDING, T, INDEX
    )
    places = bilinear.corners(x, y, output.strides[2], output.strides[3], counts)
    frame, wanted_at = at(output, (image,)), at(target, (image, 0, row, column))[:, None]
    total = tl.zeros([BLOCK], T)
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        pixels = bilinear.read_corners(frame, places, channel * output.strides[1], exists, T)
        wanted = tl.load(wanted_at + channel * target.strides[1], mask=inside[:, None] & exists, other=0.0).to(T)
        residual = (bilinear.blend(pixels, places) - wanted) * gate[:, None]
        total += tl.sum(tl.where(counts[:, None] & exists, _penalty(residual, NORM), 0.0), 1)
    if losses is not None:
        tl.store(losses + (image * height + row) * width + column, total, mask=inside)
    else:
        tl.store(partials + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def _backward(
    grad_output, grad_target, grad_flow, grad_mask, grad_loss,
    output, target, flow, confidence, height, width, mask_height, mask_width,
    CHANNELS: tl.constexpr, NORM: tl.constexpr, RATIO: tl.constexpr, PADDING: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """With d = sample - target and r = d m, the gradients are g penalty'(r) m for the sample, its negative for the
    target, and g penalty'(r) d for the mask. `grad_mask` is the gradient of the upsampled mask, (B, H, W)."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate, counts = _sample(
        flow, confidence, height, width, mask_height, mask_width, image, row, column, inside, RATIO, PADDING, T, INDEX
    )
    places = bilinear.corners(x, y, output.strides[2], output.strides[3], counts)
    frame, wanted_at = at(output, (image,)), at(target, (image, 0, row, column))[:, None]
    if grad_target is not None:
        grad_target_at = at(grad_target, (image, 0, row, column))[:, None]
    if grad_output is not None:
        grad_frame = at(grad_output, (image,))
        scattered = bilinear.corners(x, y, grad_output.strides[2], grad_output.strides[3], counts)
    incoming = tl.load(at(grad_loss, (image, 0, row, column)), mask=counts, other=0.0).to(T)[:, None]
    nw, ne = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    sw, se = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    of_mask = tl.zeros([BLOCK], T)
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        pixels = bilinear.read_corners(frame, places, channel * output.strides[1], exists, T)
        wanted = tl.load(wanted_at + channel * target.strides[1], mask=inside[:, None] & exists, other=0.0).to(T)
        difference = bilinear.blend(pixels, places) - wanted
        slope = incoming * _penalty_slope(difference * gate[:, None], NORM)
        gradient = tl.where(counts[:, None] & exists, slope * gate[:, None], 0.0)
        if grad_target is not None:
            to = grad_target_at + channel * grad_target.strides[1]
            tl.store(to, -gradient, mask=inside[:, None] & exists)
        if grad_flow is not None:
            dot_nw, dot_ne, dot_sw, dot_se = bilinear.dots(pixels, gradient)
            nw, ne, sw, se = nw + dot_nw, ne + dot_ne, sw + dot_sw, se + dot_se
            of_mask += tl.sum(tl.where(counts[:, None] & exists, slope * difference, 0.0), 1)
        if grad_output is not None:
            bilinear.scatter(grad_frame, scattered, gradient, channel * grad_output.strides[1], exists)
    if grad_flow is not None:
        _value, grad_x, grad_y = bilinear.position_gradient(x, y, (nw, ne, sw, se))
        grad_x, grad_y = bilinear.where_it_moves(x, y, grad_x, grad_y)
        plane = image * height * width
        pixel = row * width + column
        tl.store(grad_flow + 2 * plane + pixel, grad_x, mask=inside)
        tl.store(grad_flow + 2 * plane + pixel + tl.cast(height, INDEX) * width, grad_y, mask=inside)
        if grad_mask is not None:
            tl.store(grad_mask + plane + pixel, of_mask, mask=inside)


def _tile(output: Tensor) -> tuple[int, int]:
    """Pixels and channels of a tile."""
    channels = triton.next_power_of_2(max(output.shape[1], 1))
    if channels_lie_last(output):
        return max(16, min(PIXELS, 512 // channels)), min(channels, 32)
    return PIXELS, 1


def _arguments(output: Tensor, target: Tensor, flow: Tensor, confidence: Tensor | None) -> tuple[object, ...]:
    """The arguments that both kernels read, and the sizes of the frame and the mask."""
    mask_size = (0, 0) if confidence is None else confidence.shape[2:]
    return (*map(strided, (output, target, flow, confidence)), *output.shape[2:], *mask_size)


def _ratio(output: Tensor, confidence: Tensor | None) -> int:
    return 1 if confidence is None else output.shape[2] // max(confidence.shape[2], 1)


@operator
def masked_backwarp_loss(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
) -> Tensor:
    batch, channels, height, width = output.shape
    block, tile = _tile(output)
    dtype = motion_dtype(output.dtype)
    programs = grid(batch, height * width, block)
    per_pixel = reduction == "none"
    losses = output.new_empty((batch, 1, height, width) if per_pixel else programs, dtype=dtype)
    if batch * height * width:
        _forward[programs](
            losses if per_pixel else None, None if per_pixel else losses,
            *_arguments(output, target, flow, confidence), CHANNELS=channels, NORM=norm,
            RATIO=_ratio(output, confidence), PADDING=padding_mode, T=compute_type(output),
            INDEX=index_type(output, target, flow), BLOCK=block, TILE=tile,
        )  # fmt: skip
    if per_pixel:
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / output.numel()


@operator
def masked_backwarp_loss_backward(
    grad_loss: Tensor,
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
    need_output: bool,
    need_target: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if deterministic and need_output:
        alert_not_deterministic("masked_backwarp_loss")
    batch, channels, height, width = output.shape
    grad_output = accumulator(output, flow.dtype) if need_output else None
    grad_target = dense_like(target) if need_target else None
    grad_flow = like_or_empty(flow, need_motion)
    grad_mask = None if confidence is None else like_or_empty(confidence, need_motion)
    ratio = _ratio(output, confidence)
    fine_mask = grad_mask if need_motion else None
    if ratio > 1 and fine_mask is not None:
        fine_mask = flow.new_empty(batch, 1, height, width)
    per_pixel = (grad_loss / output.numel() if reduction == "mean" else grad_loss).expand(batch, 1, height, width)
    if batch * height * width:
        block, tile = _tile(output)
        _backward[grid(batch, height * width, block)](
            strided(grad_output), strided(grad_target), grad_flow if need_motion else None, fine_mask,
            strided(per_pixel),
            *_arguments(output, target, flow, confidence), CHANNELS=channels, NORM=norm,
            RATIO=ratio, PADDING=padding_mode, T=compute_type(output),
            INDEX=index_type(grad_output, grad_target, output, target, flow), BLOCK=block, TILE=tile,
        )  # fmt: skip
    if ratio > 1 and fine_mask is not None and grad_mask is not None:
        gather(fine_mask, grad_mask)
    return (
        empty(output) if grad_output is None else grad_output.to(output.dtype),
        empty(target) if grad_target is None else grad_target,
        grad_flow,
        empty(flow) if grad_mask is None else grad_mask,
    )
