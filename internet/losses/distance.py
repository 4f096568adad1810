"""The distance of two maps in Eq. 9 and the terms like it."""

from torch import Tensor

from internet.model.blocks import widened


def mean_absolute_difference(ours: Tensor, theirs: Tensor) -> Tensor:
    """:func:`torch.nn.functional.l1_loss` of two tensors of one shape, in float32 at least.

    The gradient of a mean is a contiguous tensor of its input's size, with which the backward pass of a channels_last
    network mixes memory formats. The gradient of a sum is one expanded scalar, which has no format.
    """
    return (widened(ours) - widened(theirs)).abs().sum() / ours.numel()
