"""Flow guidance: optical flow teaches the motion field before the generated frames are good enough to."""

import torch
from torch import Tensor

from internet.geometry import full_flow

#: In normalised coordinates. It keeps the quotient finite: motion much smaller than this hardly counts.
SMALL = 0.02


def flow_guidance_loss(field: Tensor, motion: Tensor, visible: Tensor | None = None) -> Tensor:
    r"""The share of the flow from driving frame to source that a motion field does not explain.

    .. math:: \frac{\sum_z v(z)\, \| F(z) - z - f(z) \|^2}{\sum_z v(z)\, (\| f(z) \|^2 + \epsilon^2)}

    averaged over the batch, in normalised coordinates, with F upsampled progressively: 0 for the flow itself, at most 1
    for no motion at all, whether the sample moves much or little. Not one of the paper's losses. An untrained
    model's anchors lie together in the middle and its frames are noise: no gradient tells an anchor where to move, and
    an unmoved source explains the frame best. It takes epochs until motion is learnt, and short trainings never learn
    it; flow shows it from the first step. The square lets the few pixels that move far outweigh the many that are
    still; with an absolute difference the still ones prevail, and the field stays zero.

    Args:
        field: F^0, (B, h, w, 2), in [-1, 1]; H/h is a power of two.
        motion: f, (B, 2, H, W) in pixels, from I_t to the source.
        visible: v, (B, 1, H, W) in [0, 1], 0 where flow is wrong or leads nowhere; without it, 1. Where the motion of
            what the source hides is known too, it is worth teaching: then F is still where the source's figure stood,
            and the generator sees the outline that it has to paint over.
    """
    height, width = motion.shape[2:]
    pixel = motion.new_tensor([2 / width, 2 / height])[:, None, None]
    left = ((full_flow(field, (height, width)) - motion) * pixel).square()
    whole = (motion * pixel).square() + SMALL**2 / 2
    if visible is not None:
        left, whole = left * visible, whole * visible
    nothing = torch.finfo(whole.dtype).tiny  # no division by 0 where nothing is visible
    return (left.sum((1, 2, 3)) / whole.sum((1, 2, 3)).clamp(min=nothing)).mean()
