"""Each operator as published models formulate it, in eager torch.

These are the baselines of every comparison, and the input of `torch.compile`. Signatures are those of the operators,
and a test asserts that results agree up to rounding. The formulations are those of first-order-motion and its
descendants, where each step is one torch call and therefore one pass over memory. The conventions (`align_corners`)
are ours, so that the results can be compared.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from internet import ops
from internet.comparison.replacement import replaced_operators

CHARBONNIER_EPSILON = 1e-3


def in_place_of_ours() -> AbstractContextManager[None]:
    """Make a whole model, which calls `internet.ops`, use these formulations."""
    return replaced_operators({name: globals()[name] for name in ops.OPERATORS})


def _axis(size: int, align_corners: bool, like: Tensor) -> Tensor:
    index = torch.arange(size, device=like.device, dtype=like.dtype)
    return 2 * (index / (size - 1)) - 1 if align_corners else (2 * index + 1) / size - 1


def _identity_grid(size: Sequence[int], align_corners: bool, like: Tensor) -> Tensor:
    """(H, W, 2), or (D, H, W, 3) for a volume; x first."""
    places = []
    for axis, pixels in enumerate(size):
        lying = [1] * len(size)
        lying[axis] = pixels
        times = [1 if other == axis else count for other, count in enumerate(size)]
        places.append(_axis(pixels, align_corners, like).view(lying).repeat(times).unsqueeze(-1))
    return torch.cat(places[::-1], -1)


def _sparse_motions(
    grid: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None = None,
) -> Tensor:
    """The K+1 local motions at every pixel of grid (..., n), background first: (B, K+1, ..., n)."""
    batch, anchors, axes = kp_source.shape
    size, ones = grid.shape[:-1], [1] * axes
    grid = grid.view(1, 1, *size, axes)
    moved = grid - kp_driving.view(batch, anchors, *ones, axes)
    if jac_source is not None and jac_driving is not None:
        jacobian = torch.matmul(jac_source, torch.inverse(jac_driving))
        jacobian = jacobian.view(batch, anchors, *ones, axes, axes).repeat(1, 1, *size, 1, 1)
        moved = torch.matmul(jacobian, moved.unsqueeze(-1)).squeeze(-1)
    moved = moved + kp_source.view(batch, anchors, *ones, axes)
    still = grid.repeat(batch, 1, *ones, 1)
    if background is not None:
        still = torch.cat([still, torch.ones_like(still[..., :1])], -1)
        still = torch.matmul(background.view(batch, 1, *ones, axes + 1, axes + 1), still.unsqueeze(-1)).squeeze(-1)
        still = still[..., :-1] / still[..., -1:]
    return torch.cat([still, moved], dim=1)


def _soft_threshold(weights: Tensor, threshold: float) -> Tensor:
    if threshold == 0:
        return weights
    weights = F.relu(weights - threshold)
    return weights / weights.sum(dim=1, keepdim=True)


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
    """First-order-motion's dense motion: a 2x2 matmul for each pixel and anchor, then the softmax mixture."""
    grid = _identity_grid(logits.shape[2:], align_corners, like=kp_source)
    motions = _sparse_motions(grid, kp_source, kp_driving, jac_source, jac_driving, background)
    weights = _soft_threshold(F.softmax(logits, dim=1, dtype=motions.dtype), threshold).unsqueeze(2)
    field = (motions.movedim(-1, 2) * weights).sum(dim=1)
    return field.movedim(1, -1)


def affine_mixture_one_matmul(
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    *,
    threshold: float = 0.0,
    align_corners: bool = False,
) -> Tensor:
    """An algebraic shortcut that published models do not use: mix the K+1 affine maps, then apply the mixture once.

    The sum of w_k (A_k z + c_k) is (sum of w_k A_k) z + (sum of w_k c_k): one matrix product of the weights
    with the 6 numbers of each anchor replaces the motions at every pixel and anchor.
    """
    batch, anchors, _ = kp_source.shape
    height, width = logits.shape[2:]
    matrix = torch.eye(2, dtype=kp_source.dtype, device=kp_source.device).expand(batch, anchors, 2, 2)
    if jac_source is not None and jac_driving is not None:
        matrix = torch.matmul(jac_source, torch.inverse(jac_driving))
    offset = kp_source.unsqueeze(-1) - torch.matmul(matrix, kp_driving.unsqueeze(-1))
    affine = torch.cat([matrix, offset], dim=3)  # (B, K, 2, 3): [A | c]
    affine = torch.cat([torch.eye(2, 3, dtype=affine.dtype, device=affine.device).expand(batch, 1, 2, 3), affine], 1)
    weights = _soft_threshold(F.softmax(logits, dim=1, dtype=affine.dtype), threshold)
    mixed = torch.bmm(affine.flatten(2).transpose(1, 2), weights.flatten(2)).view(batch, 2, 3, height, width)
    x = _axis(width, align_corners, like=affine)
    y = _axis(height, align_corners, like=affine).unsqueeze(1)
    field = mixed[:, :, 0] * x + mixed[:, :, 1] * y + mixed[:, :, 2]
    return field.permute(0, 2, 3, 1)


def upsample_motion(field: Tensor, confidence: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """`F.interpolate` of the field, which it needs with channels first, and of the map."""
    field = _upsample(field.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return field, None if confidence is None else _upsample(confidence)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _resized(
    field: Tensor, confidence: Tensor | None, size: torch.Size, upsampling: str, align_corners: bool
) -> tuple[Tensor, Tensor | None]:
    """The motion at the size of the features: by 2x steps or, as published models do, by one `F.interpolate`."""
    if upsampling == "progressive":
        while field.shape[1] < size[0]:
            field, _ = upsample_motion(field)
        while confidence is not None and confidence.shape[2] < size[0]:
            confidence = _upsample(confidence)
        return field, confidence
    if field.shape[1:3] != size:
        field = _interpolate(field.permute(0, 3, 1, 2), size, align_corners).permute(0, 2, 3, 1)
    if confidence is not None and confidence.shape[2:] != size:
        confidence = _interpolate(confidence, size, align_corners)
    return field, confidence


def _interpolate(x: Tensor, size: torch.Size, align_corners: bool) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


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
    """Interpolate, `grid_sample`, multiply and, as in articulated-animation and thin-plate-spline motion, blend."""
    field, confidence = _resized(field, confidence, features.shape[2:], upsampling, interpolate_align_corners)
    warped = _grid_sample(features, field, padding_mode, align_corners)
    if confidence is not None:
        warped = warped * confidence
    if blend is not None and confidence is not None:
        warped = warped + blend * (1 - confidence)
    return warped.to(features.dtype)


def _grid_sample(image: Tensor, grid: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    """In the wider of the two dtypes, as under autocast with half-precision images and a float32 grid."""
    dtype = torch.promote_types(image.dtype, grid.dtype)
    return F.grid_sample(image.to(dtype), grid.to(dtype), padding_mode=padding_mode, align_corners=align_corners)


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
    """The levels from coarse to fine; the motion that they share is upsampled once from each level to the next."""
    warped: dict[int, Tensor] = {}
    shared = confidence if isinstance(confidence, Tensor) else None
    for index in sorted(range(len(features)), key=lambda i: features[i].shape[2]):
        if upsampling == "progressive":
            field, shared = _resized(field, shared, features[index].shape[2:], upsampling, align_corners=False)
        own = None if confidence is None or isinstance(confidence, Tensor) else confidence[index]
        warped[index] = confidence_warp(
            features[index],
            field,
            own if shared is None else shared,
            blend=None if blend is None else blend[index],
            upsampling=upsampling,
            interpolate_align_corners=interpolate_align_corners,
            padding_mode=padding_mode,
            align_corners=align_corners,
        )
    return [warped[index] for index in range(len(features))]


def volume_warp(
    volume: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """5-D `grid_sample`, multiply."""
    warped = _grid_sample(volume, field, padding_mode, align_corners)
    warped = warped if confidence is None else warped * confidence
    return warped.to(volume.dtype)


def _pixel_grid(flow: Tensor) -> Tensor:
    """The pixel positions (1, 2, H, W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, -1).repeat(height, 1)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype).view(-1, 1).repeat(1, width)
    return torch.stack([x, y]).unsqueeze(0)


def _backwarp(image: Tensor, flow: Tensor, padding_mode: str) -> Tensor:
    """The image sampled at the end points of the optical flow, as in flow networks."""
    height, width = flow.shape[2:]
    position = _pixel_grid(flow) + flow
    x = (2 * position[:, 0] + 1) / width - 1
    y = (2 * position[:, 1] + 1) / height - 1
    return _grid_sample(image, torch.stack([x, y], dim=3), padding_mode, align_corners=False)


def _inside(flow: Tensor) -> Tensor:
    height, width = flow.shape[2:]
    x, y = (_pixel_grid(flow) + flow).unbind(1)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).unsqueeze(1)


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
    """Interpolate the mask, warp the frame by `grid_sample`, subtract, multiply, take the norm."""
    warped = _backwarp(output, flow, "border" if padding_mode == "border" else "zeros")
    difference = warped - target
    if confidence is not None:
        while confidence.shape[2] < output.shape[2]:
            confidence = _upsample(confidence)
        difference = difference * confidence
    if norm == "l1":
        penalty = difference.abs()
    elif norm == "l2":
        penalty = difference**2
    else:
        penalty = torch.sqrt(difference**2 + CHARBONNIER_EPSILON**2)
    if padding_mode == "valid":
        penalty = penalty * _inside(flow)
    if reduction == "none":
        return penalty.sum(dim=1, keepdim=True)
    return penalty.sum() if reduction == "sum" else penalty.mean()


def flow_confidence(
    flow_forward: Tensor,
    flow_backward: Tensor,
    *,
    consistency: tuple[float, float] = (0.01, 0.5),
    boundary: tuple[float, float] | None = (0.01, 0.002),
) -> Tensor:
    """Forward-backward consistency and motion boundaries, as in video-stylisation code."""
    returned = _backwarp(flow_backward, flow_forward, "zeros")
    squared = (flow_forward**2).sum(1, keepdim=True)
    mismatch = ((flow_forward + returned) ** 2).sum(1, keepdim=True)
    occluded = mismatch > consistency[0] * (squared + (returned**2).sum(1, keepdim=True)) + consistency[1]
    unreliable = occluded | ~_inside(flow_forward)
    if boundary is not None:
        dx = F.pad(flow_forward[:, :, :, 1:] - flow_forward[:, :, :, :-1], (0, 1, 0, 0))
        dy = F.pad(flow_forward[:, :, 1:] - flow_forward[:, :, :-1], (0, 0, 0, 1))
        gradient = (dx**2 + dy**2).sum(1, keepdim=True)
        unreliable = unreliable | (gradient > boundary[0] * squared + boundary[1])
    return (~unreliable).to(flow_forward.dtype)


def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    covariance: bool = False,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]:
    """First-order-motion's key-point detector after its convolutions: softmax, then expectations over the grid.

    For volumes as in face-vid2vid, and with the covariances of articulated-animation.
    """
    batch, anchors, *size = logits.shape
    axes = len(size)
    pixels = tuple(range(2, 2 + axes))
    dtype = torch.promote_types(logits.dtype, torch.float32)  # as softmax under autocast
    heatmap = F.softmax(logits.reshape(batch, anchors, -1) / temperature, dim=2, dtype=dtype)
    heatmap = heatmap.view(batch, anchors, *size)
    grid = _identity_grid(size, align_corners, like=heatmap).unsqueeze(0).unsqueeze(0)
    kp = (heatmap.unsqueeze(-1) * grid).sum(dim=pixels)
    jac = None
    if jacobian_map is not None:
        jacobian = heatmap.unsqueeze(2) * jacobian_map.reshape(batch, -1, axes * axes, *size)
        jac = jacobian.view(batch, anchors, axes * axes, -1).sum(dim=-1).view(batch, anchors, axes, axes)
    if not covariance:
        return kp, jac
    away = grid - kp.view(batch, anchors, *[1] * axes, axes)
    covar = torch.matmul(away.unsqueeze(-1), away.unsqueeze(-2)) * heatmap.unsqueeze(-1).unsqueeze(-1)
    return kp, jac, covar.sum(dim=pixels)


def _gaussian(kp: Tensor, grid: Tensor, variance: float, covariance: Tensor | None) -> Tensor:
    """First-order-motion's kp2gaussian, articulated-animation's region2gaussian: (B, K, n) -> (B, K, ...)."""
    batch, anchors, axes = kp.shape
    ones = [1] * axes
    grid = grid.unsqueeze(0).unsqueeze(0).repeat(batch, anchors, *ones, 1)
    away = grid - kp.view(batch, anchors, *ones, axes)
    if covariance is None:
        return torch.exp(-0.5 * (away**2).sum(-1) / variance)
    inverse = torch.inverse(covariance).view(batch, anchors, *ones, axes, axes)
    form = torch.matmul(torch.matmul(away.unsqueeze(-2), inverse), away.unsqueeze(-1))
    return torch.exp(-0.5 * form.sum(dim=(-1, -2)))


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
    """First-order-motion's heat-map representation and deformed source, concatenated.

    Its descendants do the same: articulated-animation with covariances and a moving background, face-vid2vid and
    LivePortrait on volumes (`create_heatmap_representations`, `create_sparse_motions`, `create_deformed_feature`).
    """
    aligned = align_corners if grid_align_corners is None else grid_align_corners
    grid = _identity_grid(source.shape[2:], aligned, like=kp_source)
    driving = _gaussian(kp_driving, grid, variance, covariance_driving)
    heatmap = driving - _gaussian(kp_source, grid, variance, covariance_source)
    motions = _sparse_motions(grid, kp_source, kp_driving, jac_source, jac_driving, background)
    return _representations(source, heatmap, motions, align_corners)


def _representations(source: Tensor, heatmap: Tensor, motions: Tensor, align_corners: bool) -> Tensor:
    """Each heat map, the background's first, followed by the source deformed by that motion."""
    batch, channels, *size = source.shape
    anchors, ones = heatmap.shape[1], [1] * len(size)
    zeros = torch.zeros(batch, 1, *size, dtype=heatmap.dtype, device=heatmap.device)
    heatmap = torch.cat([zeros, heatmap], dim=1).unsqueeze(2)
    repeated = source.unsqueeze(1).repeat(1, anchors + 1, 1, *ones).view(-1, channels, *size)
    deformed = _grid_sample(repeated, motions.view(-1, *size, len(size)), "zeros", align_corners)
    deformed = deformed.view(batch, anchors + 1, channels, *size)
    return torch.cat([heatmap, deformed], dim=2).view(batch, -1, *size).to(source.dtype)


def dense_motion(
    source: Tensor, volume: Tensor, logits: Tensor, kp_source: Tensor, kp_driving: Tensor
) -> tuple[Tensor, Tensor]:
    """LivePortrait's dense motion and its warp, without the networks: their input, and the warped appearance volume.

    The sparse motions are computed once, for the deformed source and for the mixture.
    """
    grid = _identity_grid(source.shape[2:], align_corners=True, like=kp_source)
    motions = _sparse_motions(grid, kp_source, kp_driving, None, None)
    heatmap = _gaussian(kp_driving, grid, 0.01, None) - _gaussian(kp_source, grid, 0.01, None)
    features = _representations(source, heatmap, motions, align_corners=False)
    weights = F.softmax(logits, dim=1, dtype=motions.dtype).unsqueeze(2)
    field = (motions.movedim(-1, 2) * weights).sum(dim=1).movedim(1, -1)
    return features, _grid_sample(volume, field, "zeros", align_corners=False).to(volume.dtype)
