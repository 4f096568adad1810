"""Coordinates and motion fields, shared by operators, losses and models (docs/conventions.md)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "SMALLEST_DETERMINANT",
    "affine_points",
    "field_to_flow",
    "full_flow",
    "identity_field",
    "identity_grid",
    "inverse",
    "pixel_coordinates",
]

SMALLEST_DETERMINANT = 1e-6
SMALLEST_COVARIANCE_DETERMINANT = 1e-30
"""Lower bound on a covariance's determinant: standard deviations of 3e-8 on two axes, or of 1e-5 on three."""


def pixel_coordinates(size: int, align_corners: bool, like: Tensor) -> Tensor:
    """Normalised coordinates (size,) of the pixels along one axis."""
    index = torch.arange(size, device=like.device, dtype=like.dtype)
    if not align_corners:
        return (2 * index + 1) / size - 1
    return 2 * index / (size - 1) - 1 if size > 1 else 0 * index


def identity_grid(size: Sequence[int], align_corners: bool, like: Tensor) -> Tensor:
    """The identity motion field: (H, W, 2) for a size (H, W), (D, H, W, 3) for (D, H, W); x first."""
    axes = [pixel_coordinates(pixels, align_corners, like) for pixels in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)


def affine_points(matrix: Tensor, points: Tensor) -> Tensor:
    """A z + t of points z (..., N, 2), for matrices [A | t] (B, 2, 3), or (B, 3, 3) with a last row that is ignored."""
    return points @ matrix[..., :2, :2].transpose(-2, -1) + matrix[..., None, :2, 2]


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of (..., 2, 2) or (..., 3, 3) with |det| at least 1e-6 and its sign kept: large if singular, never NaN.

    The closed form: the transposed cofactors, divided by the determinant.
    """
    adjugate, det = adjugate_and_determinant(matrix)
    smallest = torch.where(det < 0, -1.0, 1.0).to(det) * SMALLEST_DETERMINANT
    det = torch.where(det.abs() < SMALLEST_DETERMINANT, smallest, det)
    return adjugate / det[..., None, None]


def inverse_covariance(matrix: Tensor) -> Tensor:
    """Inverse of covariances (..., 2, 2) or (..., 3, 3) whose determinants are clamped to at least 1e-30."""
    adjugate, det = adjugate_and_determinant(matrix)
    return adjugate / det.clamp(min=SMALLEST_COVARIANCE_DETERMINANT)[..., None, None]


def adjugate_and_determinant(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The transposed cofactors of (..., 2, 2) or (..., 3, 3), and the determinants (...)."""
    adjugate = _adjugate_2x2(matrix) if matrix.shape[-1] == 2 else _adjugate_3x3(matrix)
    return adjugate, (matrix[..., 0, :] * adjugate[..., :, 0]).sum(-1)


def _adjugate_2x2(matrix: Tensor) -> Tensor:
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    return torch.stack([d, -b, -c, a], -1).unflatten(-1, (2, 2))


def _adjugate_3x3(matrix: Tensor) -> Tensor:
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    cofactors = [
        *(e * i - f * h, c * h - b * i, b * f - c * e),
        *(f * g - d * i, a * i - c * g, c * d - a * f),
        *(d * h - e * g, b * g - a * h, a * e - b * d),
    ]
    return torch.stack(cofactors, -1).unflatten(-1, (3, 3))


def identity_field(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The identity motion field (1, H, W, 2), for align_corners=False."""
    return identity_grid((height, width), align_corners=False, like=torch.zeros(0, device=device))[None]


def field_to_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (B, h, w, 2) as optical flow (B, 2, h, w), in pixels of an image of ``size`` (H, W)."""
    height, width = size
    displacement = field - identity_field(field.shape[1], field.shape[2], field.device)
    return (displacement * displacement.new_tensor([width / 2, height / 2])).permute(0, 3, 1, 2)


def full_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (B, h, w, 2) as optical flow (B, 2, H, W), in pixels.

    The displacement is upsampled, by progressive steps and, if H/h is not a power of two, a final bilinear one. This
    equals upsampling the field, except for the outermost pixels: repeating the border of a field pulls them inwards,
    repeating the border of a displacement does not.
    """
    from internet import ops  # not at the top: it imports this module

    flow = field_to_flow(field, size).permute(0, 2, 3, 1)
    while 2 * flow.shape[1] <= size[0]:
        flow, _ = ops.upsample_motion(flow)
    flow = flow.permute(0, 3, 1, 2)
    return flow if flow.shape[2:] == size else functional.interpolate(flow, size=size, mode="bilinear")


def flow_to_field(flow: Tensor) -> Tensor:
    """Optical flow (B, 2, H, W) in pixels as a motion field (B, H, W, 2) for frames of its size."""
    height, width = flow.shape[2:]
    return identity_field(height, width, flow.device) + flow.permute(0, 2, 3, 1) * flow.new_tensor(
        [2 / width, 2 / height]
    )
