"""Eqs. 2-4: the temporal loss, in each of the regularisation schemes that the paper compares."""

import torch
from torch import Tensor
from torch.nn import functional

from internet import ops

#: No temporal loss; Eq. 2; Eq. 3; Eq. 4. The last three are the rows a, b, c of the paper's Table 2.
REGULARIZATIONS = ("none", "flow", "extrinsic", "intrinsic")


def temporal_loss(
    output: Tensor,
    previous: Tensor,
    flow: Tensor,
    *,
    regularization: str = "intrinsic",
    confidence: Tensor | None = None,
    flow_backward: Tensor | None = None,
    norm: str = "l1",
    padding_mode: str = "border",
    scales: int = 1,
) -> Tensor:
    r"""Eq. 2, 3 or 4: a generated frame, back-warped by optical flow, against the real frame before it.

    .. math:: \tfrac{1}{BCHW} \sum \rho\big( (f_t(O_t) - I_{t-1}) \cdot M \big), \qquad
        M = 1, \quad M_t, \quad M_t(F_t).

    f_t comes from the real frames :math:`I_{t-1}, I_t`, so in every scheme only O_t has to be generated.
    In the intrinsic scheme M is the model's own: through it gradients reach the motion estimator without passing
    the generator. Eq. 4 alone would be minimal for M = 0; M does not vanish because it also gates the features (Eq. 6).

    Args:
        output: O_t, (B, 3, H, W).
        previous: I_{t-1}, (B, 3, H, W).
        flow: (B, 2, H, W) in pixels, from I_{t-1} to I_t: where each pixel of I_{t-1} is in I_t.
        regularization: "flow" (Eq. 2), "extrinsic" (Eq. 3), "intrinsic" (Eq. 4), or "none", whose loss is 0.
        confidence: the model's M^0, (B, 1, h, w); the intrinsic scheme needs it.
        flow_backward: from I_t to I_{t-1}; the extrinsic scheme needs it: its mask is where both flows agree.
        norm, padding_mode: of :func:`internet.ops.masked_backwarp_loss`.
        scales: how many sizes of the frame to average the loss over, each half of the one before, with frames, flow and
            mask averaged over blocks of pixels. 1 is the paper's; it leaves more to future work.

    Raises:
        ValueError: an unknown scheme, a missing input, or frames that cannot be halved so often.
    """
    if regularization == "none":
        return output.new_zeros(())
    mask = _mask(regularization, flow, confidence, flow_backward)
    if output.shape[2] % 2 ** (scales - 1) or output.shape[3] % 2 ** (scales - 1):
        raise ValueError(f"scales is {scales}: frames of {tuple(output.shape[2:])} cannot be halved so often")
    losses = []
    for scale in range(scales):
        if scale:
            output, previous, flow = _halved(output), _halved(previous), _halved(flow) / 2
            if mask is not None and mask.shape[2] > output.shape[2]:
                mask = _halved(mask)
        losses.append(ops.masked_backwarp_loss(output, previous, flow, mask, norm=norm, padding_mode=padding_mode))
    return torch.stack(losses).mean() if scales > 1 else losses[0]


def _halved(maps: Tensor) -> Tensor:
    return functional.avg_pool2d(maps, 2)


def _mask(regularization: str, flow: Tensor, confidence: Tensor | None, flow_backward: Tensor | None) -> Tensor | None:
    if regularization == "flow":
        return None
    if regularization == "extrinsic":
        if flow_backward is None:
            raise ValueError("the extrinsic scheme needs flow_backward, the optical flow from I_t to I_{t-1}")
        return ops.flow_confidence(flow, flow_backward)
    if regularization == "intrinsic":
        if confidence is None:
            raise ValueError("the intrinsic scheme needs confidence, the model's M")
        return confidence
    raise ValueError(f"regularization is {regularization!r}, expected {' or '.join(map(repr, REGULARIZATIONS))}")
