"""Flow guidance: a motion field that learns from optical flow before it can learn from frames."""

from torch import Tensor

from internet.fields import full_flow


def flow_guidance_loss(field: Tensor, motion: Tensor, visible: Tensor | None = None) -> Tensor:
    r"""Mean absolute difference of a motion field and the flow from the driving frame to the source.

    .. math:: \tfrac{1}{2BHW} \sum_z v(z)\, \big| F(z) - z - f(z) \big|_1

    in normalised coordinates, F upsampled progressively. Not among the paper's losses. A fresh model's anchors lie
    together in the middle and its frames are noise: nothing tells an anchor where to go, and still background is the
    best of its eleven motions. It then takes epochs until motion is found, and short trainings never find it. Flow
    says it at once. Where source and driving frame are far apart, flow is wrong or hidden and `visible` leaves it
    out: near ones teach, equivariance carries over.

    Args:
        field: F^0, (B, h, w, 2), in [-1, 1]; H/h is a power of two.
        motion: f, (B, 2, H, W) in pixels, from I_t to the source.
        visible: v, (B, 1, H, W) in [0, 1]; without it, 1.
    """
    height, width = motion.shape[2:]
    pixel = motion.new_tensor([2 / width, 2 / height])[:, None, None]
    difference = (full_flow(field, (height, width)) - motion) * pixel
    return (difference if visible is None else difference * visible).abs().mean()
