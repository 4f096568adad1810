"""How the background moves between two frames: an affine motion, fitted to what matches."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.geometry import adjugate_and_determinant, affine_points, identity_grid
from internet.model.blocks import Head, conv_act, widened, without_autocast

#: How far a match is looked for, in cells; a cell is two pixels of the motion field.
REACH = 5

#: How often the fit is repeated without what does not follow it: the people before the background.
ROUNDS = 3

#: What the fit has beside its matches: the frame's worth of them that say "still", each of this weight.
STILLNESS = 1e-3


class Matches(NamedTuple):
    """For each of N cells of the driving frame, where the source shows the same.

    displacement: (B, N, 2), normalised, x first. weight: (B, N) in (0, 1), how far it is to be trusted.
    """

    displacement: Tensor
    weight: Tensor


class BackgroundPredictor(nn.Module):
    """Source and driving frame -> the affine motion of what is behind the people, from driving to source.

    Features of each cell are compared with those of the source's cells around it; the expected displacement under the
    softmax of their likeness is the cell's match, and a small head says how far to trust it. The affine motion is that
    of weighted least squares, in closed form, repeated with less weight for what does not follow it: all of it is
    differentiable.
    Where nothing can be trusted, such as before a plain wall, the background is still.

    Args:
        down: downsamples the frames to the size of the motion field.
        width: channels of the features.
        channels: of the frames.
    """

    def __init__(self, down: nn.Module, width: int = 32, *, channels: int = 3) -> None:
        super().__init__()
        self.down = down
        self.features = nn.Sequential(
            conv_act(nn.Conv2d(channels, width, 5, padding=2)),
            conv_act(nn.Conv2d(width, width, 4, stride=2, padding=1)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.trust = nn.Sequential(conv_act(nn.Conv2d(width + 4, width, 3, padding=1)), Head(width, 1, 3, padding=1))
        self.sharpness = nn.Parameter(torch.tensor(3.0))  # the logarithm of what likeness is multiplied by
        self.tolerance = nn.Parameter(torch.tensor(-3.0))  # that of the distance from the fit that is forgiven

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Frames (B, C, H, W) in [0, 1] -> (B, 3, 3): homogeneous driving coordinates to those in the source."""
        theirs, ours = self._embedded(source), self._embedded(driving)
        with without_autocast(source):
            points = identity_grid(ours.shape[2:], align_corners=False, like=ours).flatten(0, 1)  # (N, 2)
            matches = self._matches(ours, theirs, points)
            affine = affine_fit(points, matches)
            for _ in range(ROUNDS):
                affine = affine_fit(points, inliers(points, matches, affine, self.tolerance.exp()))
        return _homogeneous(affine)

    def _embedded(self, frame: Tensor) -> Tensor:
        """Unit vectors (B, width, h, w)."""
        return functional.normalize(widened(self.features(self.down(frame))), dim=1)

    def _matches(self, ours: Tensor, theirs: Tensor, points: Tensor) -> Matches:
        """For each cell of ours the expected place among those of theirs that are within REACH."""
        height, width = ours.shape[2:]
        likeness = (self.sharpness.exp() * ours.flatten(2).transpose(1, 2)) @ theirs.flatten(2)
        cell = points.new_tensor([2 / width, 2 / height])
        far = ((points[:, None] - points).abs() > (REACH + 0.5) * cell).any(-1)  # (N, N)
        share = likeness.masked_fill(far, -torch.inf).softmax(2)
        moments = share @ torch.cat([points, points.square()], 1)
        place, spread = moments[..., :2], moments[..., 2:] - moments[..., :2].square()
        displacement = place - points
        seen = torch.cat([displacement, spread], 2).transpose(1, 2).unflatten(2, (height, width))
        weight = self.trust(torch.cat([ours, 10 * seen], 1)).sigmoid().flatten(1)
        return Matches(displacement, weight)


def affine_fit(points: Tensor, matches: Matches) -> Tensor:
    """The affine displacement (B, 2, 3) of least squares: [A | t], of z to A z + t.

    With weights w that sum to one and centred z and d, A = (Σ w d zᵀ)(Σ w z zᵀ)⁻¹. The matches of no displacement that
    `STILLNESS` adds, all over the frame, keep the inverse finite.
    """
    weight = matches.weight / points.shape[0]
    total = weight.sum(1)[:, None] + STILLNESS
    still = points.square().mean(0).diag() * STILLNESS
    centre = torch.einsum("bn,nj->bj", weight, points) / total
    mean = torch.einsum("bn,bni->bi", weight, matches.displacement) / total
    both = torch.einsum("bn,bni,nj->bij", weight, matches.displacement, points)
    spread = torch.einsum("bn,ni,nj->bij", weight, points, points) + still
    covariance = both - total[..., None] * mean[:, :, None] * centre[:, None]
    adjugate, determinant = adjugate_and_determinant(spread - total[..., None] * centre[:, :, None] * centre[:, None])
    linear = covariance @ adjugate / determinant[:, None, None]
    return torch.cat([linear, (mean - (linear @ centre[..., None])[..., 0])[..., None]], 2)


def inliers(points: Tensor, matches: Matches, affine: Tensor, tolerance: Tensor) -> Matches:
    """The same matches; those farther than the tolerance from where the fit leads weigh less: a Gaussian."""
    off = (affine_points(affine, points) - matches.displacement).square().sum(-1)
    return matches._replace(weight=matches.weight * torch.exp(-off / tolerance.square()))


def _homogeneous(displacement: Tensor) -> Tensor:
    """[A | t] (B, 2, 3) -> the motion z to z + A z + t as a matrix (B, 3, 3)."""
    eye = torch.eye(3, dtype=displacement.dtype, device=displacement.device)
    return eye + functional.pad(displacement, (0, 0, 0, 1))
