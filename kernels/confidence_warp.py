"""Eq. 6 at one level: out_c = M sum_k w_k phi_c(k), k over the four pixels around a sample (x, y).

With g the gradient of out and d_k = sum_c g_c phi_c(k), the gradients of everything but the features are sums over
the same four numbers (csrc/math/confidence_warp.h). A program does a block of pixels, a tile (pixels, channels) at a
time: pixels alone in contiguous features, where neighbours in memory are neighbours in the image, and many channels
in channels_last.
"""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import bilinear
from internet.kernels.launch import accumulator, compute_type, grid, index_type, strides, tuned
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.upsample_motion import gather, gather_field
from internet.kernels.upsampling import upsampled
from internet.ops.results import dense_like, empty, like_or_empty


@triton.jit
def _motion(
    field, field_image, field_row, field_column, field_axis,
    confidence, confidence_image, confidence_row, confidence_column,
    coarse_height, coarse_width, height, width, image, row, column, inside,
    RATIO: tl.constexpr, BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Both axes of the samples, and their confidence."""
    field += image * field_image
    x = upsampled(field, field_row, field_column, coarse_height, coarse_width, row, column, inside, RATIO, T)
    y = upsampled(
        field + field_axis, field_row, field_column, coarse_height, coarse_width, row, column, inside, RATIO, T
    )
    x_axis = bilinear.axis(bilinear.unnormalize(x, width, ALIGN_CORNERS, T), width, BORDER, T, INDEX)
    y_axis = bilinear.axis(bilinear.unnormalize(y, height, ALIGN_CORNERS, T), height, BORDER, T, INDEX)
    if confidence is not None:
        confidence += image * confidence_image
        gate = upsampled(
            confidence, confidence_row, confidence_column, coarse_height, coarse_width, row, column, inside, RATIO, T
        )
    else:
        gate = tl.full(row.shape, 1.0, T)
    return x_axis, y_axis, gate


def _shapes(channels_last: bool) -> list[dict[str, int]]:
    """Tiles to choose from."""
    if channels_last:
        return [
            {"warps": 4, "BLOCK": 16, "TILE": 64},
            {"warps": 4, "BLOCK": 32, "TILE": 64},
            {"warps": 4, "BLOCK": 16, "TILE": 128},
        ]
    return [{"warps": 4, "BLOCK": 128, "TILE": 1}, {"warps": 4, "BLOCK": 256, "TILE": 1}]


@triton.jit
def _forward(
    output, output_image, output_channel, output_row, output_column,
    features, features_image, features_channel, features_row, features_column,
    field, field_image, field_row, field_column, field_axis,
    confidence, confidence_image, confidence_row, confidence_column,
    channels, height, width, coarse_height, coarse_width,
    RATIO: tl.constexpr, BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The grid's second axis goes over groups of channels."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate = _motion(
        field, field_image, field_row, field_column, field_axis,
        confidence, confidence_image, confidence_row, confidence_column,
        coarse_height, coarse_width, height, width, image, row, column, inside,
        RATIO, BORDER, ALIGN_CORNERS, T, INDEX,
    )  # fmt: skip
    places = bilinear.corners(x, y, features_row, features_column, inside)
    features += image * features_image
    to = (output + image * output_image + row * output_row + column * output_column)[:, None]
    first = tl.program_id(1).to(INDEX) * GROUP
    for start in range(0, GROUP, TILE):
        channel = (first + start + tl.arange(0, TILE))[None, :]
        exists = channel < channels
        pixels = bilinear.read_corners(features, places, channel * features_channel, exists, T)
        # what reads no pixel is 0, whatever its confidence is
        warped = tl.where(bilinear.reads_anything(x, y)[:, None], bilinear.blend(pixels, places) * gate[:, None], 0.0)
        tl.store(to + channel * output_channel, warped, mask=inside[:, None] & exists)


_forward_planes = tuned(_shapes(False), ["channels", "height", "width", "RATIO"])(_forward)
_forward_channels_last = tuned(_shapes(True), ["channels", "height", "width", "RATIO"])(_forward)


@triton.jit
def _backward(
    grad_features, grad_features_image, grad_features_channel, grad_features_row, grad_features_column,
    grad_field, grad_confidence,
    grad, grad_image, grad_channel, grad_row, grad_column,
    features, features_image, features_channel, features_row, features_column,
    field, field_image, field_row, field_column, field_axis,
    confidence, confidence_image, confidence_row, confidence_column,
    height, width, coarse_height, coarse_width, CHANNELS: tl.constexpr,
    RATIO: tl.constexpr, BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Gradients of the features, added up with atomics, and of the upsampled motion, (B, H, W, 2) and (B, H, W)."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate = _motion(
        field, field_image, field_row, field_column, field_axis,
        confidence, confidence_image, confidence_row, confidence_column,
        coarse_height, coarse_width, height, width, image, row, column, inside,
        RATIO, BORDER, ALIGN_CORNERS, T, INDEX,
    )  # fmt: skip
    places = bilinear.corners(x, y, features_row, features_column, inside)
    scattered = bilinear.corners(x, y, grad_features_row, grad_features_column, inside)
    features += image * features_image
    grad += image * grad_image
    at = (row * grad_row + column * grad_column)[:, None]
    nw, ne = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    sw, se = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        gradient = tl.load(grad + at + channel * grad_channel, mask=inside[:, None] & exists, other=0.0).to(T)
        if grad_field is not None:
            pixels = bilinear.read_corners(features, places, channel * features_channel, exists, T)
            dot_nw, dot_ne, dot_sw, dot_se = bilinear.dots(pixels, gradient)
            nw, ne, sw, se = nw + dot_nw, ne + dot_ne, sw + dot_sw, se + dot_se
        if grad_features is not None:
            target = grad_features + image * grad_features_image
            bilinear.scatter(target, scattered, gradient * gate[:, None], channel * grad_features_channel, exists)
    if grad_field is not None:
        grad_gate, grad_x, grad_y = bilinear.position_gradient(x, y, (nw, ne, sw, se))
        pixel = (image * height + row) * width + column
        grad_x = gate * grad_x * bilinear.pixels_per_unit(width, ALIGN_CORNERS, T)
        grad_y = gate * grad_y * bilinear.pixels_per_unit(height, ALIGN_CORNERS, T)
        grad_x, grad_y = bilinear.where_it_moves(x, y, grad_x, grad_y)
        grad_gate = tl.where(bilinear.reads_anything(x, y), grad_gate, 0.0)
        tl.store(grad_field + pixel * 2, grad_x, mask=inside)
        tl.store(grad_field + pixel * 2 + 1, grad_y, mask=inside)
        if grad_confidence is not None:
            tl.store(grad_confidence + pixel, grad_gate, mask=inside)


def channels_lie_last(features: Tensor) -> bool:
    """Whether channels, more than one, are neighbours in memory."""
    return features.shape[1] > 1 and features.stride(1) == 1


def _ratio(features: Tensor, field: Tensor) -> int:
    return features.shape[2] // max(field.shape[1], 1)


def warp(features: Tensor, field: Tensor, confidence: Tensor | None, padding_mode: str, align_corners: bool) -> Tensor:
    """`confidence_warp` of one level."""
    output = dense_like(features)
    batch, channels, height, width = features.shape
    if not output.numel():
        return output
    plane = None if confidence is None else confidence[:, 0]
    kernel, group = (_forward_channels_last, 128) if channels_lie_last(features) else (_forward_planes, 16)
    kernel[lambda chosen: (*grid(batch, height * width, chosen["BLOCK"]), triton.cdiv(channels, group))](
        output, *output.stride(), features, *features.stride(), field, *field.stride(), plane, *strides(plane, 3),
        channels, height, width, *field.shape[1:3],
        RATIO=_ratio(features, field), BORDER=padding_mode == "border", ALIGN_CORNERS=align_corners,
        T=compute_type(features), INDEX=index_type(output, features, field, plane), GROUP=group,
    )  # fmt: skip
    return output


def warp_backward(
    operator: str,
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_features: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of one level. Those of the features are summed in float32 at least, in memory of their own."""
    if deterministic and need_features:
        alert_not_deterministic(operator)
    batch, channels, height, width = features.shape
    grad_features = accumulator(features, field.dtype) if need_features else None
    grad_field, grad_confidence = like_or_empty(field, need_motion), None
    if confidence is not None:
        grad_confidence = like_or_empty(confidence, need_motion)
    ratio = _ratio(features, field)
    plane = None if confidence is None else confidence[:, 0]
    fine_field, fine_confidence = grad_field if need_motion else None, grad_confidence if need_motion else None
    if ratio > 1 and need_motion:
        fine_field = field.new_empty(batch, height, width, 2)
        fine_confidence = None if plane is None else plane.new_empty(batch, 1, height, width)
    if batch * height * width:
        last = channels_lie_last(features)
        block, tile = (16, min(64, triton.next_power_of_2(channels))) if last else (128, 1)
        _backward[grid(batch, height * width, block)](
            grad_features, *strides(grad_features, 4), fine_field, fine_confidence,
            grad_output, *grad_output.stride(), features, *features.stride(),
            field, *field.stride(), plane, *strides(plane, 3),
            height, width, *field.shape[1:3], CHANNELS=channels,
            RATIO=ratio, BORDER=padding_mode == "border", ALIGN_CORNERS=align_corners, T=compute_type(features),
            INDEX=index_type(grad_features, grad_output, features, field, plane, fine_field), BLOCK=block, TILE=tile,
        )  # fmt: skip
    if ratio > 1 and need_motion:
        gather_field(fine_field, grad_field)
        if fine_confidence is not None:
            gather(fine_confidence, grad_confidence)
    return (
        empty(features) if grad_features is None else grad_features.to(features.dtype),
        grad_field,
        empty(field) if grad_confidence is None else grad_confidence,
    )


@operator
def confidence_warp(
    features: Tensor, field: Tensor, confidence: Tensor | None, padding_mode: str, align_corners: bool
) -> Tensor:
    return warp(features, field, confidence, padding_mode, align_corners)


@operator
def confidence_warp_backward(
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_features: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = (grad_output, features, field, confidence, padding_mode, align_corners)
    return warp_backward("confidence_warp", *inputs, need_features, need_motion, deterministic)
