"""The distance between two maps, as in Eq. 9 and similar terms."""

from torch import Tensor

from internet.model.blocks import widened


def mean_absolute_difference(ours: Tensor, theirs: Tensor) -> Tensor:
    """:func:`torch.nn.functional.l1_loss` of two tensors of one shape, in float32 at least.

    The gradient of a mean is a contiguous tensor of its input's size, which makes the backward pass of a channels_last
    network mix memory formats. The gradient of a sum is one expanded scalar, which has no memory format.
    """
    return (widened(ours) - widened(theirs)).abs().sum() / ours.numel()
