"""How far two maps are from each other: what Eq. 9 and the terms like it are made of."""

from torch import Tensor

from internet.model.blocks import widened


def mean_absolute_difference(ours: Tensor, theirs: Tensor) -> Tensor:
    """:func:`torch.nn.functional.l1_loss` of two tensors of one shape, in float32 at least.

    A mean's gradient is as large as its input, and contiguous: under it, everything that comes before a channels_last
    map goes back in mixed formats. A sum's gradient is one number that is merely looked at from everywhere.
    """
    return (widened(ours) - widened(theirs)).abs().sum() / ours.numel()
