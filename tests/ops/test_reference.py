"""The reference, which specifies everything else, against independent formulations of the same equations.

The files test_reference_*.py have loops over single numbers, written directly from the equations, at tiny sizes; if
torch or published models compute the same in another way, that is compared, too. This file is about all operators.
"""

import pytest
import torch
from torch import Tensor

from internet.ops import reference
from tests.support import samples
from tests.support.compare import tensors_of
from tests.support.samples import DIFFERENTIABLE


@pytest.mark.parametrize("order", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_reference_is_twice_differentiable(operator: str, order: object) -> None:
    """Against finite differences, in float64, including the second order, which compiled operators lack."""
    assert callable(order)
    for parameters in _TWICE[operator]:
        sample = samples.build(operator, torch.float64, batch=1, **parameters)
        leaves = [tensor.detach().requires_grad_() for tensor in sample.tensors()]
        function = getattr(reference, operator)

        def call(*tensors: Tensor, sample: samples.Sample = sample, function: object = function) -> tuple[Tensor, ...]:
            assert callable(function)
            changed = sample.with_tensors(tensors)
            return tuple(tensors_of(function(*changed.args, **changed.kwargs)))

        assert order(call, leaves, fast_mode=True)


_TWICE: dict[str, list[dict[str, object]]] = {
    "affine_mixture": [
        {},
        {"threshold": 0.1, "align_corners": True},
        {"jacobians": False},
        {"background": True, "threshold": 0.1},
        {"size": (2, 3, 4), "background": True},
    ],
    "upsample_motion": [{}],
    "confidence_warp": [
        {"ratio": 2, "blend": True},
        {"padding_mode": "border", "align_corners": True},
        {"upsampling": "interpolate", "features_size": (4, 4)},
    ],
    "pyramid_warp": [{"confidence_sizes": [(3, 5), (6, 10)], "blend": [False, True]}],
    "volume_warp": [{}, {"padding_mode": "border", "align_corners": True}],
    "masked_backwarp_loss": [{"norm": norm} for norm in ("l1", "l2", "charbonnier")],
    "soft_argmax": [{}, {"jacobian_maps": 0, "covariance": True}, {"size": (2, 3, 4), "covariance": True}],
    "anchor_features": [
        {},
        {"background": True, "covariances": True},
        {"size": (2, 3, 4), "background": True, "covariances": True},
    ],
}
