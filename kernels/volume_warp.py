"""Volumes warped and gated: out_c = M sum_k w_k V_c(k), k over the eight voxels around a sample (x, y, z).

The formulas are those of confidence_warp.py with a third axis. A program computes a block of samples, a tile (samples,
channels) at a time: first the four voxels of one slice, then those of the other.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import bilinear
from internet.kernels.confidence_warp import channels_lie_last
from internet.kernels.launch import accumulator, compute_type, grid, index_type, tuned
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.strided import at, strided
from internet.ops.results import empty, like_or_empty, memory_format_of


@triton.jit
def _axis(field, slice, row, column, image, inside, size, coordinate: tl.constexpr,
          BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr):  # fmt: skip
    """One axis of the samples."""
    z = tl.load(at(field, (image, slice, row, column, coordinate)), mask=inside, other=0.0)
    return bilinear.axis(bilinear.unnormalize(z, size, ALIGN_CORNERS, T), size, BORDER, T, INDEX)


@triton.jit
def _motion(
    field, confidence, image, slice, row, column, inside, depth, height, width,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """The three axes of the samples, and their confidence; `depth`, `height` and `width` are the volume's."""
    x = _axis(field, slice, row, column, image, inside, width, 0, BORDER, ALIGN_CORNERS, T, INDEX)
    y = _axis(field, slice, row, column, image, inside, height, 1, BORDER, ALIGN_CORNERS, T, INDEX)
    z = _axis(field, slice, row, column, image, inside, depth, 2, BORDER, ALIGN_CORNERS, T, INDEX)
    if confidence is not None:
        gate = tl.load(at(confidence, (image, 0, slice, row, column)), mask=inside, other=0.0)
    else:
        gate = tl.full(column.shape, 1.0, T)
    return x, y, z, gate


@triton.jit
def _places(x, y, z, strides, inside):
    """The corners of the samples in the slice before them and in the slice after them."""
    _image, _channel, slice_stride, row_stride, column_stride = strides
    before, after, before_weight, after_weight, _a, _b, before_read, after_read = z
    places = bilinear.corners(x, y, row_stride, column_stride, inside)
    return (
        bilinear.in_slice(places, before, before_read, before_weight, slice_stride),
        bilinear.in_slice(places, after, after_read, after_weight, slice_stride),
    )


@triton.jit
def _reads_anything(x, y, z):
    return bilinear.reads_anything(x, y) & (z[6] | z[7])


def _shapes(channels_last: bool) -> list[dict[str, int]]:
    """The tile sizes to choose from."""
    if channels_last:
        return [{"warps": 4, "BLOCK": 16, "TILE": 32}, {"warps": 4, "BLOCK": 32, "TILE": 32}]
    return [{"warps": 4, "BLOCK": 128, "TILE": 1}, {"warps": 4, "BLOCK": 256, "TILE": 1}]


@triton.jit
def _forward(
    output, volume, field, confidence, channels, depth, height, width, out_depth, out_height, out_width,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The grid's second axis runs over groups of channels."""
    image, _block, line, column, inside = image_and_pixels(out_depth * out_height, out_width, BLOCK, INDEX)
    slice, row = line // out_height, line % out_height
    x, y, z, gate = _motion(
        field, confidence, image, slice, row, column, inside, depth, height, width, BORDER, ALIGN_CORNERS, T, INDEX
    )
    before, after = _places(x, y, z, volume.strides, inside)
    reads = _reads_anything(x, y, z)[:, None]
    source = at(volume, (image,))
    to = at(output, (image, 0, slice, row, column))[:, None]
    first = tl.program_id(1).to(INDEX) * GROUP
    for start in range(0, GROUP, TILE):
        channel = (first + start + tl.arange(0, TILE))[None, :]
        exists = channel < channels
        offset = channel * volume.strides[1]
        sampled = bilinear.blend(bilinear.read_corners(source, before, offset, exists, T), before)
        sampled += bilinear.blend(bilinear.read_corners(source, after, offset, exists, T), after)
        # a sample that reads nothing is 0, even if its confidence is NaN
        warped = tl.where(reads, sampled * gate[:, None], 0.0)
        tl.store(to + channel * output.strides[1], warped, mask=inside[:, None] & exists)


_KEY = ["channels", "depth", "height", "width", "out_depth", "out_height", "out_width"]
_forward_planes = tuned(_shapes(False), _KEY)(_forward)
_forward_channels_last = tuned(_shapes(True), _KEY)(_forward)


@triton.jit
def _backward(
    grad_volume, grad_field, grad_confidence, grad, volume, field, confidence,
    depth, height, width, out_depth, out_height, out_width, CHANNELS: tl.constexpr,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Gradients of the volume, added up with atomics, and of the motion, contiguous."""
    image, _block, line, column, inside = image_and_pixels(out_depth * out_height, out_width, BLOCK, INDEX)
    slice, row = line // out_height, line % out_height
    x, y, z, gate = _motion(
        field, confidence, image, slice, row, column, inside, depth, height, width, BORDER, ALIGN_CORNERS, T, INDEX
    )
    before, after = _places(x, y, z, volume.strides, inside)
    source = at(volume, (image,))
    incoming = at(grad, (image, 0, slice, row, column))[:, None]
    zero = tl.zeros([BLOCK], T)
    nw, ne, sw, se = zero, zero, zero, zero
    after_nw, after_ne, after_sw, after_se = zero, zero, zero, zero
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        gradient = tl.load(incoming + channel * grad.strides[1], mask=inside[:, None] & exists, other=0.0).to(T)
        if grad_field is not None:
            offset = channel * volume.strides[1]
            a, b, c, d = bilinear.dots(bilinear.read_corners(source, before, offset, exists, T), gradient)
            nw, ne, sw, se = nw + a, ne + b, sw + c, se + d
            a, b, c, d = bilinear.dots(bilinear.read_corners(source, after, offset, exists, T), gradient)
            after_nw, after_ne, after_sw, after_se = after_nw + a, after_ne + b, after_sw + c, after_se + d
        if grad_volume is not None:
            target = at(grad_volume, (image,))
            to_before, to_after = _places(x, y, z, grad_volume.strides, inside)
            offset = channel * grad_volume.strides[1]
            bilinear.scatter(target, to_before, gradient * gate[:, None], offset, exists)
            bilinear.scatter(target, to_after, gradient * gate[:, None], offset, exists)
    if grad_field is not None:
        grad_gate, grad_x, grad_y, grad_z = bilinear.volume_position_gradient(
            x, y, z, (nw, ne, sw, se), (after_nw, after_ne, after_sw, after_se)
        )
        reads = _reads_anything(x, y, z)
        grad_x *= gate * bilinear.pixels_per_unit(width, ALIGN_CORNERS, T)
        grad_y *= gate * bilinear.pixels_per_unit(height, ALIGN_CORNERS, T)
        grad_z *= gate * bilinear.pixels_per_unit(depth, ALIGN_CORNERS, T)
        voxel = (image * (out_depth * out_height) + line) * out_width + column
        tl.store(grad_field + voxel * 3, tl.where(reads & bilinear.moves(x), grad_x, 0.0), mask=inside)
        tl.store(grad_field + voxel * 3 + 1, tl.where(reads & bilinear.moves(y), grad_y, 0.0), mask=inside)
        tl.store(grad_field + voxel * 3 + 2, tl.where(reads & bilinear.moves(z), grad_z, 0.0), mask=inside)
        if grad_confidence is not None:
            tl.store(grad_confidence + voxel, tl.where(reads, grad_gate, 0.0), mask=inside)


@operator
def volume_warp(
    volume: Tensor, field: Tensor, confidence: Tensor | None, padding_mode: str, align_corners: bool
) -> Tensor:
    batch, channels, *size = volume.shape
    out_size = tuple(field.shape[1:4])
    shape = (batch, channels, *out_size)
    output = torch.empty(shape, dtype=volume.dtype, device=volume.device, memory_format=memory_format_of(volume))
    if not output.numel():
        return output
    if not volume.numel():  # nothing is read
        return output.zero_()
    kernel, group = (_forward_channels_last, 64) if channels_lie_last(volume) else (_forward_planes, 16)
    samples = out_size[0] * out_size[1] * out_size[2]
    kernel[lambda chosen: (*grid(batch, samples, chosen["BLOCK"]), triton.cdiv(channels, group))](
        strided(output), strided(volume), strided(field), strided(confidence), channels, *size, *out_size,
        BORDER=padding_mode == "border", ALIGN_CORNERS=align_corners, T=compute_type(volume),
        INDEX=index_type(output, volume, field, confidence), GROUP=group,
    )  # fmt: skip
    return output


@operator
def volume_warp_backward(
    grad_output: Tensor,
    volume: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_volume: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the volume is summed in at least float32, in separate memory."""
    if deterministic and need_volume:
        alert_not_deterministic("volume_warp")
    batch, channels, *size = volume.shape
    out_size = field.shape[1:4]
    samples = out_size[0] * out_size[1] * out_size[2]
    grad_volume = accumulator(volume, field.dtype) if need_volume else None
    grad_field = like_or_empty(field, need_motion)
    grad_confidence = None if confidence is None else like_or_empty(confidence, need_motion)
    if not volume.numel():  # nothing was read
        grad_field.zero_()
        if grad_confidence is not None:
            grad_confidence.zero_()
    elif samples:
        last = channels_lie_last(volume)
        block, tile = (16, min(32, triton.next_power_of_2(channels))) if last else (128, 1)
        _backward[grid(batch, samples, block)](
            strided(grad_volume), grad_field if need_motion else None, grad_confidence if need_motion else None,
            strided(grad_output), strided(volume), strided(field), strided(confidence), *size, *out_size,
            CHANNELS=channels, BORDER=padding_mode == "border", ALIGN_CORNERS=align_corners, T=compute_type(volume),
            INDEX=index_type(grad_volume, grad_output, volume, field, confidence), BLOCK=block, TILE=tile,
        )  # fmt: skip
    return (
        empty(volume) if grad_volume is None else grad_volume.to(volume.dtype),
        grad_field,
        empty(field) if grad_confidence is None else grad_confidence,
    )
