"""Which pixels a program computes, and their coordinates."""

import triton
import triton.language as tl


@triton.jit
def image_and_pixels(height, width, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    """This program's image, its block in it, and the rows and columns of the block's pixels; which of them exist."""
    count = tl.cast(height, INDEX) * width
    blocks = tl.cdiv(count, BLOCK)
    program = tl.program_id(0).to(INDEX)
    image = program // blocks
    block = program % blocks
    pixel = block * BLOCK + tl.arange(0, BLOCK)
    return image, block, pixel // width, pixel % width, pixel < count


@triton.jit
def normalized_step(size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """How far apart two pixels are in normalised coordinates."""
    extent = tl.cast(size, T)
    if ALIGN_CORNERS:
        step = tl.where(extent > 1, 2 / tl.maximum(extent - 1, 1), 0)
    else:
        step = 2 / extent
    return step


@triton.jit
def normalized_start(size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """The normalised coordinate of pixel 0; a single pixel lies at 0."""
    extent = tl.cast(size, T)
    if ALIGN_CORNERS:
        start = tl.where(extent > 1, extent * 0 - 1, extent * 0)
    else:
        start = 1 / extent - 1
    return start


@triton.jit
def normalized(index, size, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr):
    """The normalised coordinate of a pixel."""
    start = normalized_start(size, ALIGN_CORNERS, T)
    return start + normalized_step(size, ALIGN_CORNERS, T) * index.to(T)


@triton.jit
def coordinates(
    slice, row, column, depth, height, width,
    AXES: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """The coordinates of pixels of an image (the slice is then not a coordinate) or of a volume: a tuple, x first."""
    x = normalized(column, width, ALIGN_CORNERS, T)
    y = normalized(row, height, ALIGN_CORNERS, T)
    if AXES == 2:
        z = (x, y)
    else:
        z = (x, y, normalized(slice, depth, ALIGN_CORNERS, T))
    return z
