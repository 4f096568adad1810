"""Flow guidance: a motion field that learns from optical flow before it can learn from frames."""

from torch import Tensor

from internet.fields import full_flow


def flow_guidance_loss(field: Tensor, motion: Tensor, visible: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of a motion field and the flow from the driving frame to the source.

    .. math:: \tfrac{1}{2BHW} \sum_z v(z)\, \big\| F(z) - z - f(z) \big\|_2^2

    in normalised coordinates, F upsampled progressively. Not among the paper's losses. A fresh model's anchors lie
    together in the middle and its frames are noise: nothing tells an anchor where to go, and still background is the
    best of its eleven motions. It then takes epochs until motion is found, and short trainings never find it. Flow
    says it at once. The square lets the few pixels that move far outweigh the many that are still; under an absolute
    difference those win, and nothing moves.

    Args:
        field: F^0, (B, h, w, 2), in [-1, 1]; H/h is a power of two.
        motion: f, (B, 2, H, W) in pixels, from I_t to the source.
        visible: v, (B, 1, H, W) in [0, 1], 0 where flow is wrong or leads nowhere; without it, 1.
    """
    height, width = motion.shape[2:]
    pixel = motion.new_tensor([2 / width, 2 / height])[:, None, None]
    difference = ((full_flow(field, (height, width)) - motion) * pixel).square()
    return (difference if visible is None else difference * visible).mean()
