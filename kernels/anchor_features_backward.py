"""The backward kernel of `anchor_features`: sums of gradients times pixel indices, for one block and one anchor."""

import triton
import triton.language as tl

from internet.kernels import bilinear
from internet.kernels.anchor_features_samples import (
    address,
    coordinate,
    distances,
    exponent_at,
    pixel_index,
    places_of,
    sample_axes,
)
from internet.kernels.pixels import image_and_pixels
from internet.kernels.strided import at


@triton.jit
def _store_heat(to, gradient, distances, exponents, gaussian, per_twice_variance):
    """Sums for the gradient of one Gaussian h: g h times each distance and, with a covariance, times each product of
    two.

    Where the Gaussian was clamped, it has no gradient.
    """
    axes: tl.constexpr = len(distances)
    exponent = exponent_at(distances, exponents, gaussian, per_twice_variance)
    weight = gradient * tl.where(exponent > 0, 0.0, tl.exp(exponent))
    for i in tl.static_range(axes):
        tl.store(to + i, tl.sum(weight * distances[i], 0))
        if exponents is not None:
            for j in tl.static_range(i, axes):
                product = weight * distances[i] * distances[j]
                tl.store(to + axes + i * axes - i * (i - 1) // 2 + j - i, tl.sum(product, 0))


@triton.jit
def _store_map(to, row: tl.constexpr, rows: tl.constexpr, gradient, index, T: tl.constexpr):
    """Sums of the gradient of one coordinate of a map, by itself and times the pixel indices."""
    axes: tl.constexpr = len(index)
    for axis in tl.static_range(axes):
        tl.store(to + row * axes + axis, tl.sum(gradient * index[axis].to(T), 0))
    tl.store(to + rows * axes + row, tl.sum(gradient, 0))


@triton.jit
def _store_background(to, backgrounds, image, gradients, reads, index, T: tl.constexpr):
    """For a projective map h: the motion is h / h_last, so h gets g / h_last, and h_last gets -<g, h> / h_last^2."""
    axes: tl.constexpr = len(index)
    map_at = backgrounds + image * ((axes + 1) * (axes + 1))
    last = coordinate(map_at, axes, axes + 1, index, T)
    along = tl.zeros_like(last)
    for row in tl.static_range(axes):
        along -= gradients[row] * coordinate(map_at, row, axes + 1, index, T) / last
        _store_map(to, row, axes + 1, tl.where(reads, gradients[row] / last, 0.0), index, T)
    _store_map(to, axes, axes + 1, tl.where(reads, along / last, 0.0), index, T)


@triton.jit
def _reads_anything(axes):
    reads = bilinear.reads_anything(axes[0], axes[1])
    if len(axes) == 3:
        reads &= axes[2][6] | axes[2][7]
    return reads


@triton.jit
def _slices_gradient(axes, before, after):
    """The gradients of the samples' positions, from the dot products with the pixels before and after them."""
    if len(axes) == 3:
        _value, grad_x, grad_y, grad_z = bilinear.volume_position_gradient(axes[0], axes[1], axes[2], before, after)
        reads = _reads_anything(axes)
        gradients = (
            tl.where(reads & bilinear.moves(axes[0]), grad_x, 0.0),
            tl.where(reads & bilinear.moves(axes[1]), grad_y, 0.0),
            tl.where(reads & bilinear.moves(axes[2]), grad_z, 0.0),
        )
    else:
        _value, grad_x, grad_y = bilinear.position_gradient(axes[0], axes[1], before)
        gradients = bilinear.where_it_moves(axes[0], axes[1], grad_x, grad_y)
    return gradients


@triton.jit
def backward(
    grad_source, partials, grad, source, maps, motions, size, lines, blocks, per_twice_variance: tl.float64,
    SUMS: tl.constexpr, CHANNELS: tl.constexpr, ALIGNED: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Adds the source's gradient with atomics, and stores this block's sums for the anchor's gradients in `partials`
    (B, blocks, K+1, SUMS): of its map or, for k = 0, the background's; then of the driving Gaussian and of the
    source's."""
    plane, block, line, column, inside = image_and_pixels(lines, size[0], BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    index = pixel_index(line, column, size)
    from_grad = address(grad, image, k * (1 + CHANNELS), index)
    axes = sample_axes(maps, image, k, motions, index, size, T, INDEX)
    places = places_of(axes, source, inside)
    image_at = at(source, (image,))
    zero = tl.zeros([BLOCK], T)
    nw, ne, sw, se = zero, zero, zero, zero
    after_nw, after_ne, after_sw, after_se = zero, zero, zero, zero
    for start in range(0, CHANNELS, TILE):
        channel = (start + tl.arange(0, TILE)).to(INDEX)[None, :]
        exists = channel < CHANNELS
        from_channels = from_grad[:, None] + (1 + channel) * grad.strides[1]
        gradient = tl.load(from_channels, mask=inside[:, None] & exists, other=0.0).to(T)
        if partials is not None:
            offset = channel * source.strides[1]
            a, b, c, d = bilinear.dots(bilinear.read_corners(image_at, places[0], offset, exists, T), gradient)
            nw, ne, sw, se = nw + a, ne + b, sw + c, se + d
            if len(size) == 3:
                a, b, c, d = bilinear.dots(bilinear.read_corners(image_at, places[1], offset, exists, T), gradient)
                after_nw, after_ne, after_sw, after_se = after_nw + a, after_ne + b, after_sw + c, after_se + d
        if grad_source is not None:
            scattered = places_of(axes, grad_source, inside)
            for half in tl.static_range(len(scattered)):
                to_image, offset = at(grad_source, (image,)), channel * grad_source.strides[1]
                bilinear.scatter(to_image, scattered[half], gradient, offset, exists)
    if partials is not None:
        to = partials + ((image * blocks + block) * motions + k) * SUMS
        before, after = (nw, ne, sw, se), (after_nw, after_ne, after_sw, after_se)
        gradients = _slices_gradient(axes, before, after)
        n: tl.constexpr = len(size)
        if k > 0:
            for row in tl.static_range(n):
                _store_map(to, row, n, gradients[row], index, T)
            heat = tl.load(from_grad, mask=inside, other=0.0).to(T)
            per = tl.full([1], per_twice_variance, T)
            gaussian = (plane - image - 1) * 2
            away = distances(maps.kp_driving, image, k - 1, index, size, ALIGNED, T)
            _store_heat(to + n * (n + 1), heat, away, maps.exponents, gaussian, per)
            away = distances(maps.kp_source, image, k - 1, index, size, ALIGNED, T)
            _store_heat(to + n * (n + 1) + (SUMS - n * (n + 1)) // 2, -heat, away, maps.exponents, gaussian + 1, per)
        elif maps.backgrounds is not None:
            _store_background(to, maps.backgrounds, image, gradients, _reads_anything(axes), index, T)
