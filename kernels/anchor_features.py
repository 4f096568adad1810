"""What a dense-motion network sees of each anchor: two Gaussians' difference, and the source moved.

The motion of an anchor is affine in normalised coordinates, and these are affine in pixel indices, of the output in
one convention and of the source in perhaps another. So it is affine from output pixel to source pixel, and sums of
gradients times the pixel's indices are turned into the gradient of the anchor at the very end. A program does a block
of pixels, or voxels, for one anchor. On n axes, x first, a map is n(n+1) numbers: a matrix, row by row, and an offset.

Of images without a background's motion the maps are made by kernels. Of the rest torch makes them, a few numbers an
anchor, and differentiates what it made.
"""

import itertools
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.geometry import inverse_covariance
from internet.kernels import anchors, bilinear
from internet.kernels.affine_mixture import ANCHORS_PER_PROGRAM
from internet.kernels.anchors import anchor_arguments
from internet.kernels.confidence_warp import channels_lie_last
from internet.kernels.launch import accumulator, compute_type, grid, index_type, tuned
from internet.kernels.pixels import image_and_pixels, normalized, normalized_start, normalized_step
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.strided import at, strided
from internet.ops.reference import anchor_affines
from internet.ops.results import empty, like_or_empty, memory_format_of


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
    affines, points, count, motions, height, width,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The motions (B, K+1, 6) in pixels. The background's is exactly the identity if the conventions are the same."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // motions, place % motions
    exists = place < count
    anchor = anchors.load_anchor(points, image, k - 1, exists & (k > 0), 2)
    x_axis = _pixel_axis(width, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    y_axis = _pixel_axis(height, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    motion = _pixel_motion(anchors.affine(anchor, 2), x_axis, y_axis)
    stillness = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    if ALIGN_CORNERS != GRID_ALIGN_CORNERS:
        stillness = _pixel_motion(stillness, x_axis, y_axis)
    anchors.store_numbers(affines + place * 6, anchors.with_stillness(motion, stillness, k == 0), exists)


@triton.jit
def _anchor_gradients(
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, sums, points,
    count, anchors_per_image, height, width, per_variance: tl.float64,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the sums (B, K+1, 10) to the gradients of the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // anchors_per_image, place % anchors_per_image
    exists = place < count
    anchor = anchors.load_anchor(points, image, k, exists, 2)
    from_sums = sums + (place + image + 1) * 10
    grad_pixels = anchors.load_numbers(from_sums, 1, exists, 6)
    x_axis = _pixel_axis(width, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    y_axis = _pixel_axis(height, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    grad_anchor = anchors.affine_vjp(anchor, _pixel_motion_vjp(grad_pixels, x_axis, y_axis), 2)
    source, driving, grad_jac_s, grad_jac_d = grad_anchor
    direct = anchors.load_numbers(from_sums + 6, 1, exists, 4)  # by way of the heat maps
    driving = driving[0] + per_variance * direct[0], driving[1] + per_variance * direct[1]
    source = source[0] + per_variance * direct[2], source[1] + per_variance * direct[3]
    total = source, driving, grad_jac_s, grad_jac_d
    anchors.store_anchor_gradient(
        grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, place, total, exists, 2
    )


@triton.jit
def _coordinate(map_at, row: tl.constexpr, rows: tl.constexpr, index, T: tl.constexpr):
    """Coordinate `row` of a map of so many, at pixels index = (column, row) or (column, row, slice)."""
    axes: tl.constexpr = len(index)
    moved = tl.load(map_at + rows * axes + row)
    for axis in tl.static_range(axes - 1, -1, -1):
        moved = tl.load(map_at + row * axes + axis) * index[axis].to(T) + moved
    return moved


@triton.jit
def _position(affines, backgrounds, image, k, motions, row: tl.constexpr, index, T: tl.constexpr):
    """One coordinate of where motion k reads the source, in pixels."""
    axes: tl.constexpr = len(index)
    moved = _coordinate(affines + (image * motions + k) * (axes * (axes + 1)), row, axes, index, T)
    if backgrounds is not None:
        if k == 0:
            map_at = backgrounds + image * ((axes + 1) * (axes + 1))
            moved = _coordinate(map_at, row, axes + 1, index, T) / _coordinate(map_at, axes, axes + 1, index, T)
    return moved


@triton.jit
def _axes(affines, backgrounds, image, k, motions, index, size, T: tl.constexpr, INDEX: tl.constexpr):
    """The axes of the samples of one motion, x first."""
    x = _position(affines, backgrounds, image, k, motions, 0, index, T)
    y = _position(affines, backgrounds, image, k, motions, 1, index, T)
    both = bilinear.axis(x, size[0], False, T, INDEX), bilinear.axis(y, size[1], False, T, INDEX)
    if len(index) == 3:
        z = _position(affines, backgrounds, image, k, motions, 2, index, T)
        result = both[0], both[1], bilinear.axis(z, size[2], False, T, INDEX)
    else:
        result = both
    return result


@triton.jit
def _index(line, column, size):
    """The indices of pixels on lines of an image, or of a volume, whose lines are those of its slices."""
    if len(size) == 3:
        index = column, line % size[1], line // size[1]
    else:
        index = column, line
    return index


@triton.jit
def _address(view, image, channel, index):
    """Of pixels of one channel, and of the channels that follow."""
    if len(index) == 3:
        address = at(view, (image, channel, index[2], index[1], index[0]))
    else:
        address = at(view, (image, channel, index[1], index[0]))
    return address


@triton.jit
def _places(axes, view, inside):
    """The `corners` of the samples in an image of `view`; in a volume, in the slices before and after them."""
    if len(axes) == 3:
        places = bilinear.corners(axes[0], axes[1], view.strides[3], view.strides[4], inside)
        before, after, before_weight, after_weight, _a, _b, before_read, after_read = axes[2]
        result = (
            bilinear.in_slice(places, before, before_read, before_weight, view.strides[2]),
            bilinear.in_slice(places, after, after_read, after_weight, view.strides[2]),
        )
    else:
        result = (bilinear.corners(axes[0], axes[1], view.strides[2], view.strides[3], inside),)
    return result


@triton.jit
def _distance(kp, image, anchor, axis: tl.constexpr, index, size, ALIGNED: tl.constexpr, T: tl.constexpr):
    """Of pixels from a key point, along one axis."""
    return normalized(index[axis], size[axis], ALIGNED, T) - tl.load(at(kp, (image, anchor, axis)))


@triton.jit
def _distances(kp, image, anchor, index, size, ALIGNED: tl.constexpr, T: tl.constexpr):
    x = _distance(kp, image, anchor, 0, index, size, ALIGNED, T)
    y = _distance(kp, image, anchor, 1, index, size, ALIGNED, T)
    if len(index) == 3:
        distances = x, y, _distance(kp, image, anchor, 2, index, size, ALIGNED, T)
    else:
        distances = x, y
    return distances


@triton.jit
def _exponent(distances, exponents, gaussian, per_twice_variance):
    """Of a Gaussian of one variance, or of number `gaussian` of those with `exponents` (B, K, 2, n(n+1)/2), the driving
    one first: the coefficients of the products of two distances, (0, 0), (0, 1), ..., (1, 1), ..."""
    axes: tl.constexpr = len(distances)
    total = tl.zeros_like(distances[0])
    if exponents is not None:
        coefficients = exponents + gaussian * (axes * (axes + 1) // 2)
        for i in tl.static_range(axes):
            for j in tl.static_range(i, axes):
                coefficient = tl.load(coefficients + i * axes - i * (i - 1) // 2 + j - i)
                total += coefficient * distances[i] * distances[j]
    else:
        for i in tl.static_range(axes):
            total -= distances[i] * distances[i]
        total *= per_twice_variance
    return total


@triton.jit
def _gaussian(distances, exponents, gaussian, per_twice_variance):
    """At most 1, also of what is not positive definite."""
    exponent = _exponent(distances, exponents, gaussian, per_twice_variance)
    return tl.exp(tl.where(exponent > 0, 0.0, exponent))


@triton.jit
def _forward(
    output, source, kp_source, kp_driving, affines, backgrounds, exponents, motions, size,
    lines, per_twice_variance: tl.float64, CHANNELS: tl.constexpr, ALIGNED: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """`size` is x first; `lines` how many there are of size[0] pixels."""
    plane, _block, line, column, inside = image_and_pixels(lines, size[0], BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    index = _index(line, column, size)
    to = _address(output, image, k * (1 + CHANNELS), index)
    heat = tl.zeros([BLOCK], T)
    if k > 0:
        per = tl.full([1], per_twice_variance, T)
        gaussian = (plane - image - 1) * 2
        away = _distances(kp_driving, image, k - 1, index, size, ALIGNED, T)
        heat = _gaussian(away, exponents, gaussian, per)
        away = _distances(kp_source, image, k - 1, index, size, ALIGNED, T)
        heat -= _gaussian(away, exponents, gaussian + 1, per)
    tl.store(to, heat, mask=inside)
    places = _places(_axes(affines, backgrounds, image, k, motions, index, size, T, INDEX), source, inside)
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
_forward_planes = tuned(_PLANES, ["CHANNELS", "size"])(_forward)
_forward_channels_last = tuned(_CHANNELS_LAST, ["CHANNELS", "size"])(_forward)


@triton.jit
def _store_heat(to, gradient, distances, exponents, gaussian, per_twice_variance):
    """What reaches one Gaussian h: sums of g h times each distance and, of a covariance, times the product of each two.

    One that was cut has no gradient.
    """
    axes: tl.constexpr = len(distances)
    exponent = _exponent(distances, exponents, gaussian, per_twice_variance)
    weight = gradient * tl.where(exponent > 0, 0.0, tl.exp(exponent))
    for i in tl.static_range(axes):
        tl.store(to + i, tl.sum(weight * distances[i], 0))
        if exponents is not None:
            for j in tl.static_range(i, axes):
                product = weight * distances[i] * distances[j]
                tl.store(to + axes + i * axes - i * (i - 1) // 2 + j - i, tl.sum(product, 0))


@triton.jit
def _store_map(to, row: tl.constexpr, rows: tl.constexpr, gradient, index, T: tl.constexpr):
    """Sums of the gradient of one coordinate of a map, times the pixels' indices and alone."""
    axes: tl.constexpr = len(index)
    for axis in tl.static_range(axes):
        tl.store(to + row * axes + axis, tl.sum(gradient * index[axis].to(T), 0))
    tl.store(to + rows * axes + row, tl.sum(gradient, 0))


@triton.jit
def _store_background(to, backgrounds, image, gradients, reads, index, T: tl.constexpr):
    """Of a projective map h: the motion is h / h_last, so h gets g / h_last, and h_last -<g, h> / h_last^2."""
    axes: tl.constexpr = len(index)
    map_at = backgrounds + image * ((axes + 1) * (axes + 1))
    last = _coordinate(map_at, axes, axes + 1, index, T)
    along = tl.zeros_like(last)
    for row in tl.static_range(axes):
        along -= gradients[row] * _coordinate(map_at, row, axes + 1, index, T) / last
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
def _backward(
    grad_source, partials, grad, source, kp_source, kp_driving, affines, backgrounds, exponents, motions, size,
    lines, blocks, per_twice_variance: tl.float64, SUMS: tl.constexpr, CHANNELS: tl.constexpr, ALIGNED: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The source's gradient, added up with atomics, and this block's sums of the anchor's, to `partials`
    (B, blocks, K+1, SUMS): of its map or, for k = 0, of the background's; then of the driving Gaussian, and of the
    source's."""
    plane, block, line, column, inside = image_and_pixels(lines, size[0], BLOCK, INDEX)
    image, k = plane // motions, plane % motions
    index = _index(line, column, size)
    from_grad = _address(grad, image, k * (1 + CHANNELS), index)
    axes = _axes(affines, backgrounds, image, k, motions, index, size, T, INDEX)
    places = _places(axes, source, inside)
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
            scattered = _places(axes, grad_source, inside)
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
            away = _distances(kp_driving, image, k - 1, index, size, ALIGNED, T)
            _store_heat(to + n * (n + 1), heat, away, exponents, gaussian, per)
            away = _distances(kp_source, image, k - 1, index, size, ALIGNED, T)
            _store_heat(to + n * (n + 1) + (SUMS - n * (n + 1)) // 2, -heat, away, exponents, gaussian + 1, per)
        elif backgrounds is not None:
            _store_background(to, backgrounds, image, gradients, _reads_anything(axes), index, T)


Maps = tuple[Tensor, Tensor | None, Tensor | None]
"""(B, K+1, n(n+1)) in pixels; the backgrounds' (B, (n+1)(n+1)) likewise, or None; exponents of covariances or None."""


def _in_pixels(matrix: Tensor, offset: Tensor, size: tuple[int, ...], aligned: tuple[bool, bool]) -> Tensor:
    """A normalised map, (..., m, n) and (..., m), as one from output pixels to source pixels, (..., mn + m).

    A projective one, m = n + 1, adds its last row, the denominator, as often as the source's first pixel is away.
    """
    axes = matrix.shape[-1]
    pixels = torch.tensor(size, dtype=matrix.dtype, device=matrix.device)
    samples, makes = aligned
    step = torch.where(pixels > 1, 2 / (pixels - 1).clamp(min=1), 0.0) if makes else 2 / pixels
    start = -(pixels > 1).to(pixels) if makes else 1 / pixels - 1
    scale, middle = (pixels - int(samples)) / 2, (pixels - 1) / 2
    offset = matrix @ start + offset
    matrix = matrix * step
    if matrix.shape[-2] == axes:
        return torch.cat([(scale[:, None] * matrix).flatten(-2), scale * offset + middle], -1)
    rows = scale[:, None] * matrix[..., :-1, :] + middle[:, None] * matrix[..., -1:, :]
    offsets = scale * offset[..., :-1] + middle * offset[..., -1:]
    return torch.cat([rows.flatten(-2), matrix[..., -1, :], offsets, offset[..., -1:]], -1)


def _made_by_torch(
    size: tuple[int, ...],
    aligned: tuple[bool, bool],
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
) -> Maps:
    """In float64, and differentiable; `size` is x first."""
    batch, _count, axes = kp_source.shape
    still = (
        torch.eye(axes, dtype=torch.float64, device=kp_source.device),
        kp_source.new_zeros(axes, dtype=torch.float64),
    )
    same = aligned[0] == aligned[1]  # then the background's is exactly the identity
    at_rest = torch.cat([part.flatten() for part in still]) if same else _in_pixels(*still, size, aligned)
    points = [None if p is None else p.double() for p in (kp_source, kp_driving, jac_source, jac_driving)]
    assert points[0] is not None
    assert points[1] is not None
    moved = _in_pixels(*anchor_affines(points[0], points[1], *points[2:]), size, aligned)
    affines = torch.cat([at_rest.expand(batch, 1, -1), moved], 1)
    backgrounds = None
    if background is not None:
        background = background.double()
        backgrounds = _in_pixels(background[..., :-1], background[..., -1], size, aligned)
    if covariance_source is None or covariance_driving is None:
        return affines, backgrounds, None
    precision = inverse_covariance(torch.stack([covariance_driving, covariance_source], 2).double())
    pairs = itertools.combinations_with_replacement(range(axes), 2)
    exponents = [-0.5 * (precision[..., i, j] + (i != j) * precision[..., j, i]) for i, j in pairs]
    return affines, backgrounds, torch.stack(exponents, -1)


def _plain(source: Tensor, background: Tensor | None, covariance: Tensor | None) -> bool:
    """Whether kernels make the maps."""
    return source.dim() == 4 and background is None and covariance is None


def _maps(source: Tensor, aligned: tuple[bool, bool], points: Sequence[Tensor | None]) -> Maps:
    """`points`: the four tensors of the anchors, the background and the covariances."""
    kp_source, _kp_driving, _jac_source, _jac_driving, background, covariance, _covariance = points
    assert kp_source is not None
    if not _plain(source, background, covariance):
        made = _made_by_torch(tuple(source.shape[:1:-1]), aligned, *points)  # type: ignore[arg-type]
        return tuple(None if m is None else m.to(kp_source.dtype).contiguous() for m in made)  # type: ignore[return-value]
    batch, count, _ = kp_source.shape
    affines = kp_source.new_empty(batch, count + 1, 6)
    total = batch * (count + 1)
    _pixel_affines[grid(1, total, ANCHORS_PER_PROGRAM)](
        affines, anchor_arguments(*points[:4]), total, count + 1, *source.shape[2:],
        ALIGN_CORNERS=aligned[0], GRID_ALIGN_CORNERS=aligned[1], BLOCK=ANCHORS_PER_PROGRAM,
    )  # fmt: skip
    return affines, None, None


def _lines(source: Tensor) -> int:
    lines = 1
    for pixels in source.shape[2:-1]:
        lines *= pixels
    return lines


@operator
def anchor_features(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
) -> Tensor:
    batch, channels, *size = source.shape
    motions = kp_source.shape[1] + 1
    shape = (batch, motions * (1 + channels), *size)
    output = torch.empty(shape, dtype=source.dtype, device=source.device, memory_format=memory_format_of(source))
    if not output.numel():
        return output
    points = (kp_source, kp_driving, jac_source, jac_driving, background, covariance_source, covariance_driving)
    maps = _maps(source, (align_corners, grid_align_corners), points)
    kernel = _forward_channels_last if channels_lie_last(source) else _forward_planes
    lines = _lines(source)
    kernel[lambda chosen: grid(batch * motions, lines * size[-1], chosen["BLOCK"])](
        strided(output), strided(source), strided(kp_source), strided(kp_driving), *maps, motions, tuple(size[::-1]),
        lines, 0.5 / variance, CHANNELS=channels, ALIGNED=grid_align_corners, T=compute_type(source),
        INDEX=index_type(output, source),
    )  # fmt: skip
    return output


def _through_torch(
    source: Tensor,
    aligned: tuple[bool, bool],
    variance: float,
    points: Sequence[Tensor | None],
    sums: Tensor,
) -> list[Tensor | None]:
    """Gradients of the seven tensors from the sums (B, K+1, SUMS)."""
    axes = source.dim() - 2
    leaves = [None if p is None else p.detach().double().requires_grad_() for p in points]
    with torch.enable_grad():
        made = _made_by_torch(tuple(source.shape[:1:-1]), aligned, *leaves)  # type: ignore[arg-type]
    width = axes * (axes + 1)
    affines = torch.cat([torch.zeros_like(sums[:, :1, :width]), sums[:, 1:, :width]], 1)
    moments = sums[:, 1:, width:].unflatten(-1, (2, -1))  # of the driving Gaussian and the source's
    incoming = affines, sums[:, 0, : (axes + 1) ** 2], moments[..., axes:]
    wanted = [leaf for leaf in leaves if leaf is not None]
    pairs = [(m, g) for m, g in zip(made, incoming, strict=True) if m is not None]
    given = torch.autograd.grad([m for m, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
    gradients = iter(torch.zeros_like(leaf) if g is None else g for leaf, g in zip(wanted, given, strict=True))
    found = [None if leaf is None else next(gradients) for leaf in leaves]
    first, exponents = moments[..., :axes], made[2]
    if exponents is None:
        points_gradient = first / variance
    else:  # -(e + e^T) of the coefficients' upper triangle
        form = exponents.new_zeros(*exponents.shape[:-1], axes, axes)
        upper = torch.triu_indices(axes, axes, device=form.device)
        form[..., upper[0], upper[1]] = exponents.detach()
        points_gradient = -((form + form.mT) @ first[..., None])[..., 0]
    assert found[0] is not None
    assert found[1] is not None
    found[0] += points_gradient[:, :, 1]
    found[1] += points_gradient[:, :, 0]
    return found


@operator
def anchor_features_backward(
    grad_output: Tensor,
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
    need_source: bool,
    need_anchors: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    if deterministic and need_source:
        alert_not_deterministic("anchor_features")
    batch, channels, *size = source.shape
    motions, axes, lines = kp_source.shape[1] + 1, len(size), _lines(source)
    points = (kp_source, kp_driving, jac_source, jac_driving, background, covariance_source, covariance_driving)
    aligned = (align_corners, grid_align_corners)
    grad_source = accumulator(source, kp_source.dtype) if need_source else None
    grad_points = [empty(kp_source) if p is None else like_or_empty(p, need_anchors).zero_() for p in points]
    block, tile = (32, min(16, triton.next_power_of_2(channels))) if channels_lie_last(source) else (128, 1)
    blocks = triton.cdiv(lines * size[-1], block)
    moments = axes if covariance_source is None else axes + axes * (axes + 1) // 2
    count = axes * (axes + 1) + 2 * moments
    # what no program writes are the sums of a background that stands still
    partials = kp_source.new_zeros(batch, blocks, motions, count) if need_anchors else None
    if batch * lines * size[-1]:
        maps = _maps(source, aligned, points)
        _backward[grid(batch * motions, lines * size[-1], block)](
            strided(grad_source), partials, strided(grad_output), strided(source), strided(kp_source),
            strided(kp_driving), *maps, motions, tuple(size[::-1]), lines, blocks, 0.5 / variance, SUMS=count,
            CHANNELS=channels, ALIGNED=grid_align_corners, T=compute_type(source),
            INDEX=index_type(grad_source, grad_output, source, partials), BLOCK=block, TILE=tile,
        )  # fmt: skip
        if partials is not None:
            sums = partials.sum(1)
            if not _plain(source, background, covariance_source):
                found = _through_torch(source, aligned, variance, points, sums.double())
                grad_points = [g if f is None else f.to(g.dtype) for g, f in zip(grad_points, found, strict=True)]
            elif motions > 1:
                grad_jacobians = grad_points[2:4] if jac_source is not None else (None, None)
                total = batch * (motions - 1)
                _anchor_gradients[grid(1, total, ANCHORS_PER_PROGRAM)](
                    *grad_points[:2], *grad_jacobians, sums, anchor_arguments(*points[:4]),
                    total, motions - 1, *size, 1 / variance,
                    ALIGN_CORNERS=align_corners, GRID_ALIGN_CORNERS=grid_align_corners, BLOCK=ANCHORS_PER_PROGRAM,
                )  # fmt: skip
    grad_data = empty(source) if grad_source is None else grad_source.to(source.dtype)
    return (grad_data, *grad_points)  # type: ignore[return-value]
