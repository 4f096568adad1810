"""The specification: every operator in plain torch.

Written to be read, not to be fast: each function is its equation, one step a line, and everything else in the
library is tested against it in float64. It is differentiable to any order, runs on every device torch has,
and is what export to ONNX uses. Signatures are those of the public functions in :mod:`internet.ops`, which
check the arguments; the functions here trust them.

Words, units and what NaN means: docs/conventions.md. Coordinates are normalised to [-1, 1], x first. Arithmetic on
coordinates is in float32 at least, whatever the data's dtype and whether or not autocast is on.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from internet.geometry import identity_grid, inverse, inverse_covariance, pixel_coordinates
from internet.ops.results import memory_format_of, motion_dtype

CHARBONNIER_EPSILON = 1e-3

P = ParamSpec("P")
R = TypeVar("R")


def _without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run without autocast, because bfloat16 is too coarse for coordinates: at 512 pixels its steps exceed a pixel."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        first = args[0] if isinstance(args[0], Tensor) else args[0][0]  # type: ignore[index]
        if not torch.amp.is_autocast_available(first.device.type):  # the meta device has none
            return function(*args, **kwargs)
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def reads_anything(grid: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Whether a sample at grid (B, ..., n) reads a pixel of an image, or volume, of this size (n numbers): (B, ...)."""
    reads = grid.isfinite().all(dim=-1)
    if 0 in size:
        return torch.zeros_like(reads)
    for z, pixels in zip(grid.unbind(-1), reversed(size), strict=True):
        beyond = (
            z.abs() - 1
        )  # 1 is the frame's edge, or the last pixel's centre; with a single pixel, every coordinate is its centre
        reads = reads & (beyond * (pixels - 1) < 2 if align_corners else beyond * pixels < 1)
    return reads


def clamp_to_frame(grid: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """The grid with its coordinates clamped between the centres of the first and the last pixel of an image (H, W)."""
    centres = [pixel_coordinates(pixels, align_corners, like=grid) for pixels in reversed(size)]
    clamped = [z.clamp(along[0], along[-1]) for z, along in zip(grid.unbind(-1), centres, strict=True)]
    return torch.stack(clamped, dim=-1)


def _sample_image(image: Tensor, grid: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "border":
        grid = clamp_to_frame(grid, image.shape[2:], align_corners)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding_mode, align_corners=align_corners)


def _sample_volume(volume: Tensor, grid: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    """Trilinear sampling as a sum over the eight voxels around each sample, each read from an image.

    The slices are stacked vertically in one tall image, each in a frame of zeros, which samples outside a slice read.
    So this runs, and exports, wherever images can be sampled; many runtimes cannot sample volumes. Each voxel is read
    as the nearest pixel, at its centre: in so tall an image float32 is too coarse for positions between rows.
    """
    size = volume.shape[2:]
    t = [
        coordinate * (pixels - 1 if align_corners else pixels) / 2 + (pixels - 1) / 2
        for coordinate, pixels in zip(grid.unbind(-1), reversed(size), strict=True)
    ]  # in voxels, x first
    if padding_mode == "border":
        t = [along.clamp(0, pixels - 1) for along, pixels in zip(t, reversed(size), strict=True)]
    image = F.pad(volume, (1, 1, 1, 1, 1, 1)).flatten(2, 3)  # (B, C, (D + 2)(H + 2), W + 2)
    height, width = image.shape[2:]
    low = [along.floor() for along in t]
    shares = [(1 - (along - base), along - base) for along, base in zip(t, low, strict=True)]

    def read(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        column, row = x + 1, (z + 1) * (size[1] + 2) + y + 1
        at = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], dim=-1).flatten(1, 2)
        voxels = F.grid_sample(image, at.detach(), mode="nearest", padding_mode="zeros", align_corners=False)
        return voxels.unflatten(2, grid.shape[1:3])

    sampled = []
    for corner in itertools.product((0, 1), repeat=3):
        weights = [share[side] for share, side in zip(shares, corner, strict=True)]
        voxels = read(*(base + side for base, side in zip(low, corner, strict=True)))
        sampled.append(voxels * math.prod(weights[1:], start=weights[0])[:, None])
    return sum(sampled[1:], start=sampled[0])


def sample(image: Tensor, grid: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    """``grid_sample`` in which values that are not finite reach only what depends on them.

    image (B, C, H, W), grid (B, h, w, 2) -> (B, C, h, w), or a volume (B, C, D, H, W), grid (B, d, h, w, 3) ->
    (B, C, d, h, w). NaN and infinite coordinates are out of the frame: with padding "zeros" such a sample is 0; with
    "border" it is the border on its side, and for NaN the first pixel. Outside the frame there is no gradient, where
    ``grid_sample`` itself multiplies by zero and so keeps NaN.
    """
    size = image.shape[2:]
    if 0 in size:  # nothing to sample, which grid_sample rejects
        return image.to(grid.dtype).sum() * grid.new_ones(*image.shape[:2], *grid.shape[1:-1])
    reads = reads_anything(grid, size, align_corners)
    if padding_mode == "border":
        grid = torch.nan_to_num(grid, nan=-4.0, posinf=4.0, neginf=-4.0)
    else:  # move positions outside the frame far from it, and from other slices of a volume
        grid = torch.where(reads[..., None], grid, -4.0)
    sample_it = _sample_image if image.dim() == 4 else _sample_volume
    sampled = sample_it(image.to(grid.dtype), grid, padding_mode, align_corners)
    return sampled if padding_mode == "border" else torch.where(reads[:, None], sampled, 0.0)


def anchor_affines(
    kp_source: Tensor, kp_driving: Tensor, jac_source: Tensor | None, jac_driving: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Matrix (B, K, n, n) and offset (B, K, n) of T_k(z) = kp_s + J_s J_d^-1 (z - kp_d) = matrix z + offset."""
    if jac_source is None or jac_driving is None:
        axes = kp_source.shape[-1]
        matrix = torch.eye(axes, dtype=kp_source.dtype, device=kp_source.device).expand(*kp_source.shape, axes)
    else:
        matrix = jac_source @ inverse(jac_driving)
    offset = kp_source - (matrix @ kp_driving[..., None])[..., 0]
    return matrix, offset


def affine_motions(grid: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """matrix z + offset of each of K maps, (B, K, m, n) and (B, K, m), at every z of grid (..., n): (B, K, ..., m)."""
    across = (slice(None), slice(None), *(None for _ in grid.shape[:-1]))
    return torch.einsum("bkij,...j->bk...i", matrix, grid) + offset[across]


def from_homogeneous(points: Tensor) -> Tensor:
    """(..., n+1) -> (..., n): divide by the last component."""
    return points[..., :-1] / points[..., -1:]


def background_motion(grid: Tensor, background: Tensor | None, *, as_coordinates: bool = False) -> Tensor:
    """T_0(z) at every z of grid (..., n): z itself, or its image under `background` (B, n+1, n+1): (B, 1, ..., n).

    With `as_coordinates`, because something is sampled at T_0(z), it has no gradient where it is not finite.
    """
    if background is None:
        return grid[None, None]
    homogeneous = affine_motions(grid, background[:, None, :, :-1], background[:, None, :, -1])
    if as_coordinates:
        finite = from_homogeneous(homogeneous).isfinite().all(dim=-1, keepdim=True)
        homogeneous = torch.where(
            finite, homogeneous, math.nan
        )  # instead of differentiating the quotient, which gives 0 times NaN
    return from_homogeneous(homogeneous)


def local_motions(
    grid: Tensor,
    matrix: Tensor,
    offset: Tensor,
    background: Tensor | None = None,
    *,
    as_coordinates: bool = False,
) -> Tensor:
    """T_k(z) for k = 0 (the background) ... K at every z of grid (H, W, 2) -> (B, K+1, H, W, 2); volumes likewise."""
    moved = affine_motions(grid, matrix, offset)
    still = background_motion(grid, background, as_coordinates=as_coordinates)
    return torch.cat([still.expand(moved.shape[0], *still.shape[1:]), moved], dim=1)


@_without_autocast
def affine_mixture(
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    *,
    background: Tensor | None = None,
    threshold: float = 0.0,
    align_corners: bool = False,
) -> Tensor:
    logits = logits.to(motion_dtype(logits.dtype))
    weights = logits.softmax(dim=1)
    weights = (weights - threshold).clamp(min=0) if threshold else weights
    weights = weights / weights.sum(dim=1, keepdim=True)
    grid = identity_grid(logits.shape[2:], align_corners, like=logits)
    affines = anchor_affines(kp_source, kp_driving, jac_source, jac_driving)
    return (weights[..., None] * local_motions(grid, *affines, background)).sum(dim=1)


def _upsample_axis(x: Tensor, dim: int) -> Tensor:
    """Bilinear 2x along one axis: output pixels lie a quarter of a pixel on either side of each input pixel."""
    size = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, min(size, 1)), x.narrow(dim, 0, max(size - 1, 0))], dim)
    after = torch.cat(
        [x.narrow(dim, min(size, 1), max(size - 1, 0)), x.narrow(dim, max(size - 1, 0), min(size, 1))], dim
    )
    pair = torch.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], dim + 1)
    return pair.flatten(dim, dim + 1)


def upsample_2x(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2h, 2w), bilinear, align_corners=False, without reading a pixel of zero weight."""
    return _upsample_axis(_upsample_axis(x, 2), 3)


def upsample_motion(field: Tensor, confidence: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    field = field.to(motion_dtype(field.dtype))
    upsampled = upsample_2x(field.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    if confidence is None:
        return upsampled, None
    return upsampled, upsample_2x(confidence.to(field.dtype))


def _interpolate_axis(x: Tensor, dim: int, size: int, align_corners: bool) -> Tensor:
    """Bilinear interpolation along one axis: output pixel i lies at t, an exact fraction, between two pixels of x.

    t = (i + 1/2) coarse/size - 1/2, or with `align_corners` i (coarse - 1)/(size - 1), clamped between the first pixel
    and the last.
    """
    coarse = x.shape[dim]
    index = torch.arange(size, device=x.device)
    if align_corners:
        t, unit = index * (coarse - 1), max(size - 1, 1)
    else:
        t, unit = (2 * index + 1) * coarse - size, 2 * size
    t = t.clamp(min=0, max=(coarse - 1) * unit)
    low = t // unit
    rest = t - low * unit
    weight = (rest.to(x.dtype) / unit).view([-1 if axis == dim else 1 for axis in range(x.dim())])
    before, after = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=coarse - 1))
    return torch.where(weight == 0, before, before * (1 - weight) + after * weight)


def interpolate(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), F.interpolate(mode="bilinear") without reading a pixel of zero weight."""
    return _interpolate_axis(_interpolate_axis(x, 2, size[0], align_corners), 3, size[1], align_corners)


def resize(x: Tensor, size: Sequence[int], upsampling: str, interpolate_align_corners: bool) -> Tensor:
    """A coarse map (B, C, h, w) resized to the features, by progressive 2x steps or one interpolation."""
    if upsampling == "interpolate":
        return interpolate(x, size, interpolate_align_corners)
    while x.shape[2] < size[0]:
        x = upsample_2x(x)
    return x


def _gated_sample(
    image: Tensor, field: Tensor, confidence: Tensor | None, padding_mode: str, align_corners: bool
) -> Tensor:
    """`sample` times a confidence of the field's size."""
    sampled = sample(image, field, padding_mode, align_corners)
    gated = sampled if confidence is None else sampled * confidence
    if padding_mode == "border":
        return gated
    # a sample that reads nothing is 0, even if its confidence is NaN
    return torch.where(reads_anything(field, image.shape[2:], align_corners)[:, None], gated, 0.0)


@_without_autocast
def confidence_warp(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    blend: Tensor | None = None,
    upsampling: str = "progressive",
    interpolate_align_corners: bool = False,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    dtype, size = motion_dtype(features.dtype), features.shape[2:]
    resizing = (size, upsampling, interpolate_align_corners)
    field = resize(field.to(dtype).permute(0, 3, 1, 2), *resizing).permute(0, 2, 3, 1)
    confidence = None if confidence is None else resize(confidence.to(dtype), *resizing)
    gated = _gated_sample(features, field, confidence, padding_mode, align_corners)
    if blend is not None and confidence is not None:
        gated = gated + blend.to(dtype) * (1 - confidence)
    return gated.to(features.dtype, memory_format=memory_format_of(features))


@_without_autocast
def volume_warp(
    volume: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    dtype = motion_dtype(volume.dtype)
    confidence = None if confidence is None else confidence.to(dtype)
    gated = _gated_sample(volume, field.to(dtype), confidence, padding_mode, align_corners)
    return gated.to(volume.dtype, memory_format=memory_format_of(volume))


def pyramid_warp(
    features: Sequence[Tensor],
    field: Tensor,
    confidence: Tensor | Sequence[Tensor | None] | None = None,
    *,
    blend: Sequence[Tensor | None] | None = None,
    upsampling: str = "progressive",
    interpolate_align_corners: bool = False,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> list[Tensor]:
    one_for_all = confidence is None or isinstance(confidence, Tensor)
    masks = cast("Sequence[Tensor | None]", [confidence] * len(features) if one_for_all else confidence)
    return [
        confidence_warp(
            level,
            field,
            mask,
            blend=added,
            upsampling=upsampling,
            interpolate_align_corners=interpolate_align_corners,
            padding_mode=padding_mode,
            align_corners=align_corners,
        )
        for level, mask, added in zip(features, masks, blend or [None] * len(features), strict=True)
    ]


def _penalty(residual: Tensor, norm: str) -> Tensor:
    if norm == "l1":
        sign = torch.where(residual.isnan(), residual, residual.sign())  # abs() has no gradient at NaN
        return residual * sign.detach()
    if norm == "l2":
        return residual.square()
    return (residual.square() + CHARBONNIER_EPSILON**2).sqrt()


def inside_frame(x: Tensor, y: Tensor) -> Tensor:
    """Whether the positions x, y (B, H, W), in pixels, lie between the centres of the frame's corner pixels."""
    height, width = x.shape[-2:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def flow_positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The end points of optical flow (B, 2, H, W) from each pixel: x and y in pixels, (B, H, W) each."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def flow_grid(flow: Tensor) -> Tensor:
    """Optical flow (B, 2, H, W), in pixels -> the motion field (B, H, W, 2) that follows it."""
    height, width = flow.shape[-2:]
    x, y = flow_positions(flow)
    return torch.stack([(2 * x + 1) / max(width, 1) - 1, (2 * y + 1) / max(height, 1) - 1], dim=-1)


@_without_autocast
def masked_backwarp_loss(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None = None,
    *,
    norm: str = "l1",
    reduction: str = "mean",
    padding_mode: str = "border",
) -> Tensor:
    dtype = motion_dtype(torch.promote_types(output.dtype, target.dtype))
    flow = flow.to(dtype)
    padding = "border" if padding_mode == "border" else "zeros"
    counts = inside_frame(*flow_positions(flow))[:, None] if padding_mode == "valid" else None
    if counts is not None:  # pixels that do not count are not read: neither here nor, below, in the target and the mask
        flow = torch.where(counts, flow, math.nan)
    residual = sample(output.to(dtype), flow_grid(flow), padding, align_corners=False) - target.to(dtype)
    residual = residual if counts is None else torch.where(counts, residual, 0.0)
    if confidence is not None:
        confidence = confidence.to(dtype)
        while confidence.shape[2] < output.shape[2]:
            confidence = upsample_2x(confidence)
        residual = residual * (confidence if counts is None else torch.where(counts, confidence, 0.0))
    penalty = _penalty(residual, norm)
    penalty = penalty if counts is None else torch.where(counts, penalty, 0.0)
    if reduction == "none":
        return penalty.sum(dim=1, keepdim=True)
    return penalty.sum() if reduction == "sum" else penalty.mean()


def _forward_difference(flow: Tensor, dim: int) -> Tensor:
    """flow[i+1] - flow[i] along one axis, 0 at the last pixel."""
    size = flow.shape[dim]
    last = flow.narrow(dim, size - min(size, 1), min(size, 1))
    after = torch.cat([flow.narrow(dim, min(size, 1), size - min(size, 1)), last], dim)
    return after - flow


@torch.no_grad()
@_without_autocast
def flow_confidence(
    flow_forward: Tensor,
    flow_backward: Tensor,
    *,
    consistency: tuple[float, float] = (0.01, 0.5),
    boundary: tuple[float, float] | None = (0.01, 0.002),
) -> Tensor:
    dtype = motion_dtype(flow_forward.dtype)
    forward, backward = flow_forward.to(dtype), flow_backward.to(dtype)
    returned = sample(backward, flow_grid(forward), "zeros", align_corners=False)
    scale, offset = consistency
    magnitude = forward.square().sum(1)
    mismatch = (forward + returned).square().sum(1)
    reliable = mismatch.isfinite() & (mismatch <= scale * (magnitude + returned.square().sum(1)) + offset)
    reliable = reliable & inside_frame(*flow_positions(forward))
    if boundary is not None:
        scale, offset = boundary
        gradient = _forward_difference(forward, 2).square() + _forward_difference(forward, 3).square()
        reliable = reliable & (gradient.sum(1) <= scale * magnitude + offset)
    return reliable[:, None].to(flow_forward.dtype)


@_without_autocast
def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    covariance: bool = False,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]:
    dtype, size = motion_dtype(logits.dtype), logits.shape[2:]
    heat = (logits.to(dtype) / temperature).flatten(2).softmax(dim=-1)  # (B, K, pixels)
    grid = identity_grid(size, align_corners, like=heat).flatten(0, -2)  # (pixels, n)
    # Sums of products, not matrix products, which add one pixel after the other: their rounding grows with the pixels.
    kp, jac = (heat[..., None] * grid).sum(dim=2), None
    if jacobian_map is not None:
        maps = jacobian_map.to(dtype).flatten(3).expand(-1, logits.shape[1], -1, -1)  # (B, K, n^2, pixels)
        jac = (heat[:, :, None] * maps).sum(dim=-1).unflatten(-1, (len(size), len(size)))
    if not covariance:
        return kp, jac
    offset = (
        grid - kp[:, :, None]
    )  # centred, because a difference of second moments would cancel all digits of a narrow peak
    return kp, jac, (heat[..., None, None] * offset[..., :, None] * offset[..., None, :]).sum(dim=2)


def gaussian_heatmaps(grid: Tensor, kp: Tensor, variance: float, covariance: Tensor | None) -> Tensor:
    """The Gaussian around kp (B, K, n) at every z of grid (..., n): (B, K, ...).

    exp(-|z - kp|^2 / (2 variance)), or exp(-(z - kp)^T C^-1 (z - kp) / 2) with `covariance` C (B, K, n, n), clamped to
    at most 1 if C is not positive definite.
    """
    across = (slice(None), slice(None), *(None for _ in grid.shape[:-1]))
    away = grid - kp[across]
    if covariance is None:
        return torch.exp(-0.5 * away.square().sum(-1) / variance)
    form = torch.einsum("bk...i,bkij,bk...j->bk...", away, inverse_covariance(covariance), away)
    return torch.exp(-0.5 * form.clamp(min=0))


@_without_autocast
def anchor_features(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    *,
    background: Tensor | None = None,
    variance: float = 0.01,
    covariance_source: Tensor | None = None,
    covariance_driving: Tensor | None = None,
    align_corners: bool = False,
    grid_align_corners: bool | None = None,
) -> Tensor:
    batch, anchors = kp_source.shape[0], kp_source.shape[1] + 1
    grid_align_corners = align_corners if grid_align_corners is None else grid_align_corners
    grid = identity_grid(source.shape[2:], grid_align_corners, like=kp_source)
    driving = gaussian_heatmaps(grid, kp_driving, variance, covariance_driving)
    heat = driving - gaussian_heatmaps(grid, kp_source, variance, covariance_source)
    heat = F.pad(heat, (*(0, 0) * (grid.dim() - 1), 1, 0))  # the background has no anchor: 0
    affines = anchor_affines(kp_source, kp_driving, jac_source, jac_driving)
    motions = local_motions(grid, *affines, background, as_coordinates=True)
    images = source.to(grid.dtype)[:, None].expand(-1, anchors, *source.shape[1:]).flatten(0, 1)
    moved = sample(images, motions.flatten(0, 1), "zeros", align_corners).unflatten(0, (batch, anchors))
    features = torch.cat([heat[:, :, None], moved], dim=2).flatten(1, 2)
    return features.to(source.dtype, memory_format=memory_format_of(source))
