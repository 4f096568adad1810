r"""Random smooth deformations: thin-plate splines (Bookstein 1989) and their exact Jacobians.

.. math:: T(z) = b + A z + \sum_i w_i\, U(|z - c_i|), \qquad U(r) = r^2 \log r^2,
    \qquad \sum_i w_i = 0, \quad \sum_i w_i c_i^T = 0

is the map of least bending energy that takes every control point :math:`c_i` to its target. The weights are
linear in the targets: a matrix that depends only on the control points, times the targets.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from internet import ops
from internet.geometry import identity_grid
from internet.model.blocks import without_autocast

#: Squared distances are clamped to this from below: U and its derivative vanish at 0.
NEAREST = 1e-12


@dataclass(frozen=True)
class ThinPlateSpline:
    """One deformation of the plane per sample. centres: (N, 2). weights: (B, N+3, 2), of U, 1, x and y."""

    centres: Tensor
    weights: Tensor

    @classmethod
    def through(cls, targets: Tensor) -> "ThinPlateSpline":
        """The spline that maps a square grid of control points over [-1, 1]², row by row, to `targets` (B, P², 2)."""
        centres, solution = _grid(round(targets.shape[1] ** 0.5))
        with without_autocast(targets):
            return cls(centres.to(targets), solution.to(targets) @ targets)

    @classmethod
    def random(
        cls,
        batch: int,
        *,
        points: int = 5,
        affine: float = 0.05,
        bend: float = 0.05,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> "ThinPlateSpline":
        """Random: a normally distributed affine map near the identity, plus an offset of each of points² control
        points.

        affine, bend: standard deviations of the two, in units where the frame is 2 wide.
        """
        centres = _grid(points)[0].to(device, torch.float32)
        noise = torch.randn(batch, 3 + len(centres), 2, device=device, generator=generator)
        matrix = torch.eye(2, device=device) + affine * noise[:, :2]
        shift = affine * noise[:, 2:3] + bend * noise[:, 3:]
        with without_autocast(centres):
            return cls.through(centres @ matrix.mT + shift)

    def part(self, rows: slice, device: torch.device | str | None = None) -> "ThinPlateSpline":
        """The deformations of some samples of the batch, such as one rank's, on a device."""
        return ThinPlateSpline(self.centres.to(device), self.weights[rows].to(device))

    def __call__(self, z: Tensor) -> Tensor:
        """Where points (B, M, 2), or (M, 2) for all samples, go: (B, M, 2)."""
        square = _square_distance(z, self.centres)
        basis = torch.cat([square * square.log(), torch.ones_like(z[..., :1]), z], dim=-1)
        with without_autocast(z):
            return basis @ self.weights

    def jacobian(self, z: Tensor) -> Tensor:
        r"""The exact derivative at points (B, M, 2): (B, M, 2, 2), by :math:`\nabla U = 2 (z - c)(1 + \log r^2)`."""
        offset = z[:, :, None] - self.centres  # (B, M, N, 2)
        square = offset.square().sum(-1, keepdim=True).clamp(min=NEAREST)
        slope = 2 * offset * (1 + square.log())
        bending, linear = self.weights[:, :-3], self.weights[:, -2:]
        with without_autocast(z):
            return torch.einsum("bmnj,bni->bmij", slope, bending) + linear.mT[:, None]

    def warp(self, frame: Tensor) -> Tensor:
        """The frame (B, C, H, W) that shows at z what `frame` has at T(z); the border is repeated."""
        height, width = frame.shape[-2:]
        grid = identity_grid((height, width), align_corners=False, like=self.weights)
        field = self(grid.flatten(0, 1)).unflatten(1, (height, width))
        return ops.confidence_warp(frame, field, padding_mode="border")


def _square_distance(points: Tensor, centres: Tensor) -> Tensor:
    """Of points (..., M, 2) and centres (N, 2): (..., M, N). By axis: reductions over a last axis of two are slow."""
    (x, y), (cx, cy) = points[..., None].unbind(-2), centres.unbind(-1)
    return ((x - cx).square() + (y - cy).square()).clamp(min=NEAREST)


@functools.cache
def _grid(points: int) -> tuple[Tensor, Tensor]:
    """Control points (N, 2) and the matrix (N+3, N) from their targets to the weights, in float64.

    The weights solve [[U, P], [Pᵀ, 0]] w = [targets, 0] with rows (1, x, y) in P; the last three columns of the
    inverse are multiplied by zeros.
    """
    line = torch.linspace(-1, 1, points, dtype=torch.float64)
    centres = torch.cartesian_prod(line, line).flip(-1)  # row by row, x first
    square = _square_distance(centres, centres)
    affine = torch.cat([torch.ones(len(centres), 1, dtype=torch.float64), centres], dim=1)
    upper = torch.cat([square * square.log(), affine], dim=1)
    lower = torch.cat([affine.mT, torch.zeros(3, 3, dtype=torch.float64)], dim=1)
    return centres, torch.cat([upper, lower]).inverse()[:, : len(centres)]
