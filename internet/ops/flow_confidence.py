"""The extrinsic confidence mask of two optical flows."""

from typing import Any

from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake


def flow_confidence(
    flow_forward: Tensor,
    flow_backward: Tensor,
    *,
    consistency: tuple[float, float] = (0.01, 0.5),
    boundary: tuple[float, float] | None = (0.01, 0.002),
) -> Tensor:
    r"""Where optical flow is reliable (Sundaram, Brox and Keutzer, ECCV 2010): the mask of Eq. 3.

    With forward flow w = (u, v) and the backward flow :math:`\hat w` sampled at its end point, a pixel is 0 if it
    is occluded, :math:`|w + \hat w|^2 > a(|w|^2 + |\hat w|^2) + b`; if it is on a motion boundary,
    :math:`|\nabla u|^2 + |\nabla v|^2 > c|w|^2 + d` (forward differences, 0 at the border); or if w leaves
    the frame or is not finite. Otherwise it is 1. Words and units: docs/conventions.md.

    Args:
        flow_forward: (B, 2, H, W) in pixels, channel 0 along x.
        flow_backward: (B, 2, H, W), the flow in the opposite direction, in the same dtype.
        consistency: (a, b); b in pixels squared.
        boundary: (c, d), or None to skip the boundary test.

    Returns:
        (B, 1, H, W) of 0 and 1 in the flow's dtype. No gradient.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ.
        ValueError: a shape does not fit.
        RuntimeError: tensors on different devices.
    """
    flow_forward, flow_backward = _checked(flow_forward, flow_backward)
    namespace = namespace_for("flow_confidence", flow_forward.device)
    if namespace is None:
        return reference.flow_confidence(flow_forward, flow_backward, consistency=consistency, boundary=boundary)
    mask: Tensor = overload(namespace, "flow_confidence")(
        flow_forward.detach(),
        flow_backward.detach(),
        *map(float, consistency),
        boundary is not None,
        *map(float, (0.0, 0.0) if boundary is None else boundary),
    )
    return mask


@once_a_signature
def _checked(flow_forward: Tensor, flow_backward: Tensor) -> tuple[Any, ...]:
    name = "flow_confidence"
    _checks.floating_tensor(name, "flow_forward", flow_forward, "B", "2", "H", "W")
    _checks.floating_tensor(name, "flow_backward", flow_backward, "B", "2", "H", "W")
    batch, _, height, width = flow_forward.shape
    _checks.shape(name, "flow_forward", flow_forward, (batch, 2, height, width), "(x and y in pixels)")
    _checks.shape(name, "flow_backward", flow_backward, flow_forward.shape, "(the shape of flow_forward)")
    _checks.same_device(name, "flow_backward", flow_backward, "flow_forward", flow_forward)
    if flow_backward.dtype != flow_forward.dtype:
        raise TypeError(f"{name}: flow_backward is {flow_backward.dtype}, flow_forward {flow_forward.dtype}")
    return flow_forward, flow_backward


@register_fake("flow_confidence")
def _fake(flow_forward: Tensor, *_options: Any) -> Tensor:
    batch, _, height, width = flow_forward.shape
    return flow_forward.new_empty(batch, 1, height, width)
