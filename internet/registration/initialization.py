"""An initial estimate of the mixture from optical flow: group the moving pixels into K affine motions."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from internet.geometry import identity_field
from internet.registration.motion import MixtureMotion

#: A pixel moves if its displacement exceeds this fraction of the frame's side (0.75 pixels at 512).
STILL = 0.0015
#: Scale of the deviation of a pixel's motion from its group's, in normalised units (1 pixel at 512).
RESIDUAL = 2 * 1.0 / 512
#: The typical radius of a group, in normalised units: groups compete for pixels by distance as well.
EXTENT = 0.15
#: Regularises the least squares of a tiny or straight group towards a pure translation (units of EXTENT squared).
RIDGE = 0.02
#: Logits start within this range of the best one, so that softmax still passes gradients to all of them.
LOGIT_RANGE = 6.0


@dataclass
class LocalMotions:
    """K maps z -> z + shift_k + G_k (z - centre_k): centre (K, 2), shift (K, 2), gradient G (K, 2, 2)."""

    centre: Tensor
    shift: Tensor
    gradient: Tensor

    def displacement(self, points: Tensor) -> Tensor:
        """How far each map moves each point (N, 2): (N, K, 2)."""
        offset = points[:, None] - self.centre
        return self.shift + torch.einsum("kij,nkj->nki", self.gradient, offset)


def initial_motion(
    flow: Tensor, reliable: Tensor, changed: Tensor, anchors: int, base: tuple[int, int]
) -> MixtureMotion:
    """Group optical flow (1, 2, H, W), driving to source in pixels, into ``anchors`` affine motions.

    ``reliable`` and ``changed``, (1, 1, H, W) in [0, 1], say which vectors are reliable and where the two frames
    differ at all: flow over an unchanged blank wall is noise. Works on the base grid (h, w) = ``base``. If nothing
    moves, the anchors are spread over the frame and the mixture is the background's.
    """
    change = functional.adaptive_avg_pool2d(changed, base).reshape(-1)
    flow, weight = pool_flow(flow, reliable, base)
    points = identity_field(*base).reshape(-1, 2)
    displacement = flow[0].permute(1, 2, 0).reshape(-1, 2)
    length = displacement.norm(dim=1)
    weight = weight.reshape(-1)
    moving = (length > 2 * STILL) & (weight > 0.5) & (change > 0.5)
    moving = large_pieces(moving.reshape(base)).reshape(-1)
    nothing_moves = int(moving.sum()) < anchors
    if nothing_moves:
        moving = torch.ones_like(moving)
    motions = group(points[moving], displacement[moving], anchors)
    cost = _cost(motions, points, displacement) + LOGIT_RANGE * nothing_moves
    still = 0.5 * (change * length / RESIDUAL).square()[:, None]
    logits = _as_maps(-torch.cat([still, cost], dim=1), weight, base)
    matrix = motions.gradient + torch.eye(2)
    return MixtureMotion(motions.centre + motions.shift, motions.centre, matrix, logits)


def pool_flow(flow: Tensor, reliable: Tensor, base: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the reliable flow over each base pixel.

    Flow (1, 2, H, W) in pixels -> normalised displacement (1, 2, h, w) and the reliable share (1, 1, h, w).
    """
    height, width = flow.shape[-2:]
    normalised = flow * flow.new_tensor([2 / width, 2 / height])[:, None, None]
    share = functional.adaptive_avg_pool2d(reliable, base)
    pooled = functional.adaptive_avg_pool2d(normalised * reliable, base) / share.clamp(min=1e-3)
    return pooled, share


def group(points: Tensor, displacement: Tensor, count: int, rounds: int = 12) -> LocalMotions:
    """Split moving points (N, 2) and their displacements (N, 2) into ``count`` groups that move affinely.

    Lloyd's algorithm with affine maps instead of means: each point joins the nearby map that predicts its motion best,
    then each map is refitted to its points by weighted least squares.
    """
    centres = _far_apart(torch.cat([points / EXTENT, displacement / (8 * RESIDUAL)], dim=1), count)
    motions = LocalMotions(points[centres], displacement[centres], torch.zeros(count, 2, 2))
    for _ in range(rounds):
        nearest = _cost(motions, points, displacement).argmin(dim=1)
        motions = _refit(motions, points, displacement, functional.one_hot(nearest, count).float())
    return motions


def _cost(motions: LocalMotions, points: Tensor, displacement: Tensor) -> Tensor:
    """The cost of assigning each point to each motion, (N, K), as a negative log likelihood."""
    error = (motions.displacement(points) - displacement[:, None]).norm(dim=-1)
    distance = (points[:, None] - motions.centre).norm(dim=-1)
    return 0.5 * (error / RESIDUAL).square() + 0.5 * (distance / EXTENT).square()


def _far_apart(features: Tensor, count: int) -> Tensor:
    """Indices (count,) of rows of ``features`` (N, D) that are far apart: each is the farthest from those before."""
    nearest = (features - features.mean(0)).square().sum(1)
    chosen = [int(nearest.argmax())]
    nearest = torch.full_like(nearest, torch.inf)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (features - features[chosen[-1]]).square().sum(1))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def _refit(motions: LocalMotions, points: Tensor, displacement: Tensor, member: Tensor) -> LocalMotions:
    """Least-squares affine motion of every group; ``member`` (N, K) is 0 or 1. An empty group stays as it was."""
    total = member.sum(0)
    mean = member / total.clamp(min=1)
    centre, shift = mean.T @ points, mean.T @ displacement
    offset = points[:, None] - centre  # (N, K, 2)
    change = displacement[:, None] - shift
    spread = torch.einsum("nk,nki,nkj->kij", mean, offset, offset) + RIDGE * EXTENT**2 * torch.eye(2)
    turn = torch.einsum("nk,nki,nkj->kij", mean, change, offset)
    gradient = torch.linalg.solve(spread, turn.mT).mT  # spread is symmetric
    empty = total == 0
    return LocalMotions(
        torch.where(empty[:, None], motions.centre, centre),
        torch.where(empty[:, None], motions.shift, shift),
        torch.where(empty[:, None, None], motions.gradient, gradient),
    )


def _as_maps(logits: Tensor, weight: Tensor, base: tuple[int, int]) -> Tensor:
    """Logits (N, K+1) as maps (K+1, h, w), limited in range, averaged over 3x3 neighbours by their reliability."""
    logits = (logits - logits.amax(1, keepdim=True)).clamp(min=-LOGIT_RANGE)
    maps = logits.T.reshape(1, -1, *base)
    reliability = (weight + 1e-3).reshape(1, 1, *base)
    return (functional.avg_pool2d(maps * reliability, 3, 1, 1) / functional.avg_pool2d(reliability, 3, 1, 1))[0]


def large_pieces(mask: Tensor, share: float = 0.04, gap: int = 2) -> Tensor:
    """Keep the components of a mask (h, w) that contain at least ``share`` of its pixels; small ones are noise.

    Pixels up to 2 ``gap`` apart belong to the same component. Every pixel starts with its own number, and the
    largest number in a component spreads until nothing changes.
    """
    near = functional.max_pool2d(mask[None].float(), 2 * gap + 1, 1, gap)
    number = near * torch.arange(1, mask.numel() + 1).reshape(1, *mask.shape)
    while True:
        spread = functional.max_pool2d(number, 3, 1, 1) * near
        if torch.equal(spread, number):
            break
        number = spread
    piece = number[0].long() * mask
    size = torch.bincount(piece[mask], minlength=mask.numel() + 1)
    return mask & (size[piece] >= share * mask.sum())


def changed_pixels(source: Tensor, driving: Tensor, radius: int = 6, noise: float = 2 / 255) -> Tensor:
    """Where two images (1, 3, H, W) differ: (1, 1, H, W) from 0 to 1, which means a clear difference nearby.

    Differences are compared with the noise of the pair (the median difference), or with ``noise`` if that is larger.
    """
    window = 2 * radius + 1
    difference = (source - driving).abs().mean(1, keepdim=True)
    around = functional.avg_pool2d(difference, window, 1, radius, count_include_pad=False)
    floor = around.median().clamp(min=noise)
    return (around / floor - 1).clamp(0, 1)
