"""One 2x step of a motion field and its confidence, and the adjoint of any number of steps."""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.interpolation import interpolation_gathered, most_readers
from internet.kernels.launch import PIXELS, compute_type, grid, index_type
from internet.kernels.pixels import image_and_pixels
from internet.kernels.registry import operator
from internet.kernels.resizing import Resizing
from internet.kernels.strided import at, strided
from internet.kernels.upsampling import gathered, upsampled
from internet.ops.results import empty


@triton.jit
def _upsample(
    fine_field, fine_confidence, field, confidence,
    height, width, RATIO: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """For height x width coarse pixels; results are contiguous."""
    image, _block, row, column, inside = image_and_pixels(height * RATIO, width * RATIO, BLOCK, INDEX)
    row_stride, column_stride = field.strides[1], field.strides[2]
    x_plane, y_plane = at(field, (image, 0, 0, 0)), at(field, (image, 0, 0, 1))
    x = upsampled(x_plane, row_stride, column_stride, height, width, row, column, inside, RATIO, T)
    y = upsampled(y_plane, row_stride, column_stride, height, width, row, column, inside, RATIO, T)
    pixel = (image * (height * RATIO) + row) * (width * RATIO) + column
    tl.store(fine_field + pixel * 2, x, mask=inside)
    tl.store(fine_field + pixel * 2 + 1, y, mask=inside)
    if confidence is not None:
        row_stride, column_stride = confidence.strides[2], confidence.strides[3]
        plane = at(confidence, (image,))
        value = upsampled(plane, row_stride, column_stride, height, width, row, column, inside, RATIO, T)
        tl.store(fine_confidence + pixel, value, mask=inside)


@triton.jit
def _gather_rows(
    coarse, fine, maps, height, width, RATIO: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr
):
    """Several maps of height x width coarse pixels, gathered from fine ones with RATIO times as many rows."""
    plane, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    image, map_ = plane // maps, plane % maps
    fine_column = at(fine, (image, map_, 0, column))
    value = gathered(fine_column, fine.strides[2], height, row, inside, RATIO, T)
    tl.store(at(coarse, (image, map_, row, column)), value, mask=inside)


@triton.jit
def _gather_interpolated_rows(
    coarse, fine, maps, height, width, fine_height,
    READERS: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The same for fine rows that were interpolated from the coarse ones."""
    plane, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    image, map_ = plane // maps, plane % maps
    fine_column = at(fine, (image, map_, 0, column))
    value = interpolation_gathered(
        fine_column, fine.strides[2], height, fine_height, row, inside, READERS, ALIGN_CORNERS, T
    )
    tl.store(at(coarse, (image, map_, row, column)), value, mask=inside)


def gather(fine: Tensor, coarse: Tensor, resizing: Resizing | None = None) -> None:
    """Write the adjoint of resizing, applied to the gradient of the fine maps, to coarse (B, M, h, w); None: 2x steps.

    The weights of two axes are products: rows are gathered first, then columns, as rows of the transposed maps.
    """
    batch, maps, height, width = coarse.shape
    if coarse.numel():
        align_corners = None
        if resizing is not None and resizing.ratio((height, width)) == 0:
            align_corners = resizing.align_corners
        rows_gathered = fine.new_empty(batch, maps, height, fine.shape[3])
        _gather(fine, rows_gathered, align_corners)
        _gather(rows_gathered.mT, coarse.mT, align_corners)


def _gather(fine: Tensor, coarse: Tensor, align_corners: bool | None) -> None:
    """Along one axis; `align_corners` is None for progressive steps."""
    batch, maps, height, width = coarse.shape
    where = grid(batch * maps, height * width, PIXELS)
    index, compute = index_type(fine, coarse), compute_type(fine)
    if align_corners is None:
        _gather_rows[where](
            strided(coarse), strided(fine), maps, height, width,
            RATIO=fine.shape[2] // height, T=compute, INDEX=index, BLOCK=PIXELS,
        )  # fmt: skip
        return
    fine_height = fine.shape[2]
    if 2 * (fine_height + 1) * (height + 1) >= 2**31:
        index = tl.int64
    _gather_interpolated_rows[where](
        strided(coarse), strided(fine), maps, height, width, fine_height,
        READERS=most_readers(height, fine_height, align_corners),
        ALIGN_CORNERS=align_corners, T=compute, INDEX=index, BLOCK=PIXELS,
    )  # fmt: skip


def gather_field(fine: Tensor, coarse: Tensor, resizing: Resizing | None = None) -> None:
    """`gather` for fields (B, H, W, 2) and (B, h, w, 2)."""
    gather(fine.permute(0, 3, 1, 2), coarse.permute(0, 3, 1, 2), resizing)


@operator
def upsample_motion(field: Tensor, confidence: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, height, width, _ = field.shape
    fine_field = field.new_empty(batch, 2 * height, 2 * width, 2)
    fine_confidence = empty(field) if confidence is None else field.new_empty(batch, 1, 2 * height, 2 * width)
    if fine_field.numel():
        _upsample[grid(batch, 4 * height * width, PIXELS)](
            fine_field, fine_confidence, strided(field), strided(confidence), height, width,
            RATIO=2, T=compute_type(field), INDEX=index_type(field, fine_field), BLOCK=PIXELS,
        )  # fmt: skip
    return fine_field, fine_confidence


@operator
def upsample_motion_backward(grad_field: Tensor, grad_confidence: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, height, width, _ = grad_field.shape
    field = grad_field.new_empty(batch, height // 2, width // 2, 2)
    gather_field(grad_field, field)
    if grad_confidence is None:
        return field, empty(grad_field)
    confidence = grad_field.new_empty(batch, 1, height // 2, width // 2)
    gather(grad_confidence, confidence)
    return field, confidence
