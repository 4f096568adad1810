"""Eq. 6 at one level: out_c = M sum_k w_k phi_c(k), k over the four pixels around a sample (x, y); and, with a blend b,
+ (1 - M) b_c.

With g the gradient of out and d_k = sum_c g_c phi_c(k), the gradients of everything but the images are sums over the
same four numbers, and sum_c g_c b_c (csrc/math/confidence_warp.h). A program computes a block of pixels, a tile
(pixels, channels) at a time: only pixels for contiguous features, where neighbours in memory are neighbours in the
image, and many channels for channels_last.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import bilinear
from internet.kernels.launch import accumulator, compute_type, grid, index_type, tuned
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.resizing import CoarseMap, Resizing, resized
from internet.kernels.strided import at, strided
from internet.kernels.upsample_motion import gather, gather_field
from internet.ops.results import dense_like, empty


class Options(NamedTuple):
    """The options of a call, as the operators receive them."""

    upsampling: str
    interpolate_align_corners: bool
    padding_mode: str
    align_corners: bool

    def resizing(self, features: Tensor) -> Resizing:
        return Resizing(self.upsampling, self.interpolate_align_corners, (features.shape[2], features.shape[3]))


@triton.jit
def _motion(
    field, confidence, height, width, image, row, column, inside,
    FIELD_RATIO: tl.constexpr, CONFIDENCE_RATIO: tl.constexpr, INTERPOLATE_ALIGN_CORNERS: tl.constexpr,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Both axes of the samples, and their confidence."""
    fine = (height, width)
    row_stride, column_stride = field.strides[1], field.strides[2]
    plane = at(field, (image,))
    x = resized(
        plane, row_stride, column_stride, field.size, fine, row, column, inside,
        FIELD_RATIO, INTERPOLATE_ALIGN_CORNERS, T,
    )  # fmt: skip
    y = resized(
        plane + field.strides[3], row_stride, column_stride, field.size, fine, row, column, inside,
        FIELD_RATIO, INTERPOLATE_ALIGN_CORNERS, T,
    )  # fmt: skip
    x_axis = bilinear.axis(bilinear.unnormalize(x, width, ALIGN_CORNERS, T), width, BORDER, T, INDEX)
    y_axis = bilinear.axis(bilinear.unnormalize(y, height, ALIGN_CORNERS, T), height, BORDER, T, INDEX)
    if confidence is not None:
        size = confidence.size
        if CONFIDENCE_RATIO == FIELD_RATIO and FIELD_RATIO > 0:
            size = field.size  # the same, so that what was computed for the field is reused
        gate = resized(
            at(confidence, (image,)), confidence.strides[2], confidence.strides[3], size, fine,
            row, column, inside, CONFIDENCE_RATIO, INTERPOLATE_ALIGN_CORNERS, T,
        )  # fmt: skip
    else:
        gate = tl.full(row.shape, 1.0, T)
    return x_axis, y_axis, gate


def _shapes(channels_last: bool) -> list[dict[str, int]]:
    """The tile sizes to choose from."""
    if channels_last:
        return [
            {"warps": 4, "BLOCK": 16, "TILE": 64},
            {"warps": 4, "BLOCK": 32, "TILE": 64},
            {"warps": 4, "BLOCK": 16, "TILE": 128},
        ]
    return [{"warps": 4, "BLOCK": 128, "TILE": 1}, {"warps": 4, "BLOCK": 256, "TILE": 1}]


@triton.jit
def _forward(
    output, features, field, confidence, blend, channels, height, width,
    FIELD_RATIO: tl.constexpr, CONFIDENCE_RATIO: tl.constexpr, INTERPOLATE_ALIGN_CORNERS: tl.constexpr,
    BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The grid's second axis runs over groups of channels."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate = _motion(
        field, confidence, height, width, image, row, column, inside,
        FIELD_RATIO, CONFIDENCE_RATIO, INTERPOLATE_ALIGN_CORNERS, BORDER, ALIGN_CORNERS, T, INDEX,
    )  # fmt: skip
    places = bilinear.corners(x, y, features.strides[2], features.strides[3], inside)
    plane = at(features, (image,))
    to = at(output, (image, 0, row, column))[:, None]
    if blend is not None:
        added = at(blend, (image, 0, row, column))[:, None]
    first = tl.program_id(1).to(INDEX) * GROUP
    for start in range(0, GROUP, TILE):
        channel = (first + start + tl.arange(0, TILE))[None, :]
        exists = channel < channels
        pixels = bilinear.read_corners(plane, places, channel * features.strides[1], exists, T)
        # a sample that reads nothing is 0, even if its confidence is NaN
        warped = tl.where(bilinear.reads_anything(x, y)[:, None], bilinear.blend(pixels, places) * gate[:, None], 0.0)
        if blend is not None:
            values = tl.load(added + channel * blend.strides[1], mask=inside[:, None] & exists, other=0.0).to(T)
            warped += (1 - gate[:, None]) * values
        tl.store(to + channel * output.strides[1], warped, mask=inside[:, None] & exists)


_forward_planes = tuned(_shapes(False), ["channels", "height", "width", "FIELD_RATIO"])(_forward)
_forward_channels_last = tuned(_shapes(True), ["channels", "height", "width", "FIELD_RATIO"])(_forward)


@triton.jit
def _backward(
    grad_features, grad_blend, grad_field, grad_confidence, grad, features, field, confidence, blend, height, width,
    CHANNELS: tl.constexpr, FIELD_RATIO: tl.constexpr, CONFIDENCE_RATIO: tl.constexpr,
    INTERPOLATE_ALIGN_CORNERS: tl.constexpr, BORDER: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Gradients of the features, added up with atomics; of the blend; and of the motion at the size of the features,
    (B, H, W, 2) and (B, H, W)."""
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x, y, gate = _motion(
        field, confidence, height, width, image, row, column, inside,
        FIELD_RATIO, CONFIDENCE_RATIO, INTERPOLATE_ALIGN_CORNERS, BORDER, ALIGN_CORNERS, T, INDEX,
    )  # fmt: skip
    places = bilinear.corners(x, y, features.strides[2], features.strides[3], inside)
    plane = at(features, (image,))
    incoming = at(grad, (image, 0, row, column))[:, None]
    if grad_features is not None:
        scattered = bilinear.corners(x, y, grad_features.strides[2], grad_features.strides[3], inside)
        target = at(grad_features, (image,))
    if blend is not None:
        added = at(blend, (image, 0, row, column))[:, None]
    if grad_blend is not None:
        to = at(grad_blend, (image, 0, row, column))[:, None]
    nw, ne = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    sw, se = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    blended = tl.zeros([BLOCK], T)
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        mask = inside[:, None] & exists
        gradient = tl.load(incoming + channel * grad.strides[1], mask=mask, other=0.0).to(T)
        if grad_field is not None:
            pixels = bilinear.read_corners(plane, places, channel * features.strides[1], exists, T)
            dot_nw, dot_ne, dot_sw, dot_se = bilinear.dots(pixels, gradient)
            nw, ne, sw, se = nw + dot_nw, ne + dot_ne, sw + dot_sw, se + dot_se
            if blend is not None:
                values = tl.load(added + channel * blend.strides[1], mask=mask, other=0.0).to(T)
                blended += tl.sum(values * gradient, 1)
        if grad_features is not None:
            offset = channel * grad_features.strides[1]
            bilinear.scatter(target, scattered, gradient * gate[:, None], offset, exists)
        if grad_blend is not None:
            tl.store(to + channel * grad_blend.strides[1], (1 - gate[:, None]) * gradient, mask=mask)
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
            tl.store(grad_confidence + pixel, grad_gate - blended, mask=inside)


def channels_lie_last(features: Tensor) -> bool:
    """Whether there are several channels and they are neighbours in memory."""
    return features.shape[1] > 1 and features.stride(1) == 1


def _field_size(field: Tensor) -> tuple[int, int]:
    return field.shape[1], field.shape[2]


def _map_size(confidence: Tensor | None) -> tuple[int, int]:
    return (1, 1) if confidence is None else (confidence.shape[2], confidence.shape[3])


def _coarse_map(tensor: Tensor | None, size: tuple[int, int]) -> CoarseMap | None:
    return None if tensor is None else CoarseMap(tensor, tensor.stride(), size)


def _resized_maps(
    features: Tensor, field: Tensor, confidence: Tensor | None, options: Options
) -> tuple[tuple[CoarseMap, CoarseMap | None], dict[str, int]]:
    """The two maps as arguments of a kernel, and their compile-time constants."""
    resizing = options.resizing(features)
    sizes = _field_size(field), _map_size(confidence)
    constants = {
        "FIELD_RATIO": resizing.ratio(sizes[0]),
        "CONFIDENCE_RATIO": 1 if confidence is None else resizing.ratio(sizes[1]),
        "INTERPOLATE_ALIGN_CORNERS": options.interpolate_align_corners,
        "BORDER": options.padding_mode == "border",
        "ALIGN_CORNERS": options.align_corners,
        "T": compute_type(features),
    }
    return (_coarse_map(field, sizes[0]), _coarse_map(confidence, sizes[1])), constants


def _index_type(
    features: Tensor, field: Tensor, confidence: Tensor | None, options: Options, *others: Tensor | None
) -> tl.dtype:
    resizing = options.resizing(features)
    if any(resizing.needs_64_bits(size) for size in (_field_size(field), _map_size(confidence))):
        return tl.int64
    return index_type(features, field, confidence, *others)


def warp(features: Tensor, field: Tensor, confidence: Tensor | None, blend: Tensor | None, options: Options) -> Tensor:
    """`confidence_warp` for one level."""
    output = dense_like(features)
    batch, channels, height, width = features.shape
    if not output.numel():
        return output
    maps, constants = _resized_maps(features, field, confidence, options)
    kernel, group = (_forward_channels_last, 128) if channels_lie_last(features) else (_forward_planes, 16)
    kernel[lambda chosen: (*grid(batch, height * width, chosen["BLOCK"]), triton.cdiv(channels, group))](
        strided(output), strided(features), *maps, strided(blend), channels, height, width, **constants,
        INDEX=_index_type(features, field, confidence, options, output, blend), GROUP=group,
    )  # fmt: skip
    return output


def _at_full_size(gradient: Tensor | None, size: tuple[int, ...], ratio: int) -> Tensor | None:
    """Where the gradient of a map is written first: memory of the features' size, or itself if it has that size."""
    return gradient if gradient is None or ratio == 1 else gradient.new_empty(size)


def warp_backward(
    operator: str,
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    blend: Tensor | None,
    options: Options,
    need_features: bool,
    need_motion: bool,
    need_blend: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of one level. That of the features is summed in at least float32, in separate memory."""
    if deterministic and need_features:
        alert_not_deterministic(operator)
    batch, channels, height, width = features.shape
    grad_features = accumulator(features, field.dtype) if need_features else None
    grad_blend = dense_like(blend) if blend is not None and need_blend else None
    grad_field = field.new_empty(field.shape) if need_motion else None
    grad_confidence = None if confidence is None or not need_motion else confidence.new_empty(confidence.shape)
    maps, constants = _resized_maps(features, field, confidence, options)
    fine_field = _at_full_size(grad_field, (batch, height, width, 2), constants["FIELD_RATIO"])
    fine_confidence = _at_full_size(grad_confidence, (batch, 1, height, width), constants["CONFIDENCE_RATIO"])
    if batch * height * width:
        last = channels_lie_last(features)
        block, tile = (16, min(64, triton.next_power_of_2(channels))) if last else (128, 1)
        others = (grad_features, grad_blend, grad_output, blend, fine_field)
        _backward[grid(batch, height * width, block)](
            strided(grad_features), strided(grad_blend), fine_field, fine_confidence,
            strided(grad_output), strided(features), *maps, strided(blend), height, width, CHANNELS=channels,
            **constants, INDEX=_index_type(features, field, confidence, options, *others), BLOCK=block, TILE=tile,
        )  # fmt: skip
    if grad_field is not None and fine_field is not grad_field:
        gather_field(fine_field, grad_field, options.resizing(features))
    if grad_confidence is not None and fine_confidence is not grad_confidence:
        gather(fine_confidence, grad_confidence, options.resizing(features))
    return (
        empty(features) if grad_features is None else grad_features.to(features.dtype),
        empty(field) if grad_field is None else grad_field,
        empty(field) if grad_confidence is None else grad_confidence,
        empty(features) if grad_blend is None else grad_blend,
    )


@operator
def confidence_warp(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    blend: Tensor | None,
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
) -> Tensor:
    options = Options(upsampling, interpolate_align_corners, padding_mode, align_corners)
    return warp(features, field, confidence, blend, options)


@operator
def confidence_warp_backward(
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    blend: Tensor | None,
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
    need_features: bool,
    need_motion: bool,
    need_blend: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    options = Options(upsampling, interpolate_align_corners, padding_mode, align_corners)
    needed = (need_features, need_motion, need_blend)
    inputs = (grad_output, features, field, confidence, blend, options)
    return warp_backward("confidence_warp", *inputs, *needed, deterministic)
