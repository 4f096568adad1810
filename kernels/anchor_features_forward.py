"""The forward kernel of `anchor_features`: a program computes a block of pixels, or voxels, for one anchor."""

import triton
import triton.language as tl

from internet.kernels import bilinear
from internet.kernels.anchor_features_samples import (
    address,
    distances,
    gaussian_value,
    pixel_index,
    places_of,
    sample_axes,
)
from internet.kernels.launch import tuned
from internet.kernels.pixels import image_and_pixels
from internet.kernels.strided import at


@triton.jit
def _forward(
    output, source, maps, motions, size, lines, per_twice_variance: tl.float64, CHANNELS: tl.constexpr,
    ALIGNED: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """`size` is x first; `lines` is the number of rows of size[0] pixels."""
    plane, _block, line, column, inside = image_and_pixels(lines, size[0], BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    index = pixel_index(line, column, size)
    to = address(output, image, k * (1 + CHANNELS), index)
    heat = tl.zeros([BLOCK], T)
    if k > 0:
        per = tl.full([1], per_twice_variance, T)
        gaussian = (plane - image - 1) * 2
        away = distances(maps.kp_driving, image, k - 1, index, size, ALIGNED, T)
        heat = gaussian_value(away, maps.exponents, gaussian, per)
        away = distances(maps.kp_source, image, k - 1, index, size, ALIGNED, T)
        heat -= gaussian_value(away, maps.exponents, gaussian + 1, per)
    tl.store(to, heat, mask=inside)
    places = places_of(sample_axes(maps, image, k, motions, index, size, T, INDEX), source, inside)
    image_at = at(source, (image,))
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        moved = tl.zeros([BLOCK, TILE], T)
        for half in tl.static_range(len(places)):
            pixels = bilinear.read_corners(image_at, places[half], channel * source.strides[1], exists, T)
            moved += bilinear.blend(pixels, places[half])
        tl.store(to[:, None] + (1 + channel) * output.strides[1], moved, mask=inside[:, None] & exists)


_PLANES = [{"warps": 4, "BLOCK": 128, "TILE": 1}, {"warps": 4, "BLOCK": 256, "TILE": 1}]
_CHANNELS_LAST = [{"warps": 4, "BLOCK": 64, "TILE": 4}, {"warps": 4, "BLOCK": 32, "TILE": 16}]
forward_planes = tuned(_PLANES, ["CHANNELS", "size"])(_forward)
forward_channels_last = tuned(_CHANNELS_LAST, ["CHANNELS", "size"])(_forward)
