"""Whether motion anchors lie on the person or on the plain background, which the paper calls a failure."""

import torch
from torch import Tensor
from torch.nn import functional

#: An anchor within this fraction of the frame's side of the person counts as on it: anchors may be on the outline.
MARGIN = 1 / 32


def share_on_background(points: Tensor, person: Tensor) -> Tensor:
    """The share of anchors on the background or out of the frame, for each sample: (B,) in [0, 1].

    Args:
        points: (B, K, 2), x first, in [-1, 1] with ``align_corners=False``.
        person: bool (B, 1, H, W), where the person is; widened by :data:`MARGIN`.
    """
    reach = max(1, round(MARGIN * min(person.shape[2:])))
    wide = functional.max_pool2d(person.float(), 2 * reach + 1, 1, reach)
    found = functional.grid_sample(wide, points.float()[:, None], mode="nearest", align_corners=False)  # (B, 1, 1, K)
    return 1 - found[:, 0, 0].mean(-1)


def share_in_use(points: Tensor, person: Tensor, logits: Tensor) -> Tensor:
    """The same, weighted by the mixture: how much of the motion follows anchors on the background, (B,) in [0, 1].

    Args:
        points, person: as above.
        logits: of the mixture, (B, K+1, h, w), channel 0 the still background.
    """
    weight = torch.softmax(logits.float(), 1)[:, 1:].mean((2, 3))  # (B, K)
    off = torch.stack([share_on_background(point, person) for point in points.split(1, 1)], 1)
    return (off * weight).sum(1) / weight.sum(1).clamp(min=1e-12)
