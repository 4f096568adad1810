"""The temporal loss across identities, which the paper leaves to future work: flow between generated frames."""

from collections.abc import Callable

import torch
from torch import Tensor

from internet import ops
from internet.flow import dis_flow
from internet.model.transfer import Result

FlowFunction = Callable[[Tensor, Tensor], Tensor]


def cross_identity_loss(
    imitate: Callable[[Tensor, Tensor], Result],
    source: Tensor,
    driving: Tensor,
    previous: Tensor,
    flow: FlowFunction = dis_flow,
) -> Tensor:
    r"""Eq. 4 where source and driving video show different people, so that no true frame exists.

    .. math:: \| (f_t(O_t) - O_{t-1}) \cdot M_t \|_1, \quad O_t = G(S^a; D^b_t)

    The driving video's flow does not fit another person's outline (Fig. 2). So f_t is estimated between the generated
    frames themselves, from O_{t-1} to O_t. No gradient passes through f_t or through O_{t-1}, the target of O_t. Each
    sample's driving frame drives the source of the next sample.

    Args:
        imitate: the model, called with source and driving frames.
        source, driving, previous: of a batch, (B, 3, H, W) in [0, 1]; previous is the driving frame before.
        flow: estimates optical flow; :func:`internet.flow.dis_flow` by default.

    Raises:
        ValueError: the batch has a single sample, so there is no second identity.
    """
    if len(source) < 2:
        raise ValueError(f"the batch has {len(source)} sample; to imitate another identity it needs at least 2")
    source = source.roll(1, 0)
    with torch.no_grad():
        before = imitate(source, previous).frame.float()
    now = imitate(source, driving)
    motion = flow(before, now.frame.detach().float())
    return ops.masked_backwarp_loss(now.frame, before, motion, now.motion.confidence)
