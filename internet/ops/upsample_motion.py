"""One progressive 2x step of a motion field and its confidence."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake
from internet.ops.results import empty


def upsample_motion(field: Tensor, confidence: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Double the resolution of a motion field and its confidence, bilinearly (``align_corners=False``).

    Along each axis, an output pixel is 3/4 of the input pixel it lies in and 1/4 of that pixel's nearer neighbour. The
    pyramid of the paper (Section 3.3) applies this step i times for level i; that is Chaikin's corner cutting,
    and two steps are *not* one interpolation by 4. Coordinates and their units: docs/conventions.md.

    Args:
        field: (B, h, w, 2) motion field, normalised coordinates.
        confidence: (B, 1, h, w), or None.

    Returns:
        field (B, 2h, 2w, 2) and confidence (B, 1, 2h, 2w), or None if none was given: float64 if `field` is, float32
        otherwise. Differentiable with respect to both.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit.
        RuntimeError: tensors on different devices.
    """
    field, confidence = _checked(field, confidence)
    namespace = namespace_for("upsample_motion", field.device)
    if namespace is None:
        return reference.upsample_motion(field, confidence)
    upsampled, upsampled_confidence = apply(_UpsampleMotion, namespace, field, confidence)
    return upsampled, None if confidence is None else upsampled_confidence


@once_a_signature
def _checked(field: Tensor, confidence: Tensor | None) -> tuple[Any, ...]:
    name = "upsample_motion"
    _checks.floating_tensor(name, "field", field, "B", "h", "w", "2")
    batch, height, width, _ = field.shape
    _checks.shape(name, "field", field, (batch, height, width, 2), "(x and y last)")
    field = _checks.coordinates(name, "field", field, "field", field)
    if confidence is not None:
        dims, expected, meaning = ("B", "1", "h", "w"), (batch, 1, height, width), "(one channel, the size of field)"
        confidence = _checks.beside(name, "confidence", confidence, dims, expected, meaning, "field", field)
    return field, confidence


class _UpsampleMotion(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, namespace: str, field: Tensor, confidence: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.namespace, ctx.has_confidence = namespace, confidence is not None
        field, confidence = overload(namespace, "upsample_motion")(field, confidence)
        return field, confidence

    @staticmethod
    def backward(ctx: Any, grad_field: Tensor, grad_confidence: Tensor) -> tuple[Tensor | None, ...]:
        # Linear: the gradient does not depend on the inputs, so first_order can only be connected to the gradients.
        incoming = (grad_field, grad_confidence if ctx.has_confidence else None)
        gradients = overload(ctx.namespace, "upsample_motion_backward")(*incoming)
        return (None, *first_order("upsample_motion", gradients, ctx.needs_input_grad[1:], incoming))


@register_fake("upsample_motion")
def _fake(field: Tensor, confidence: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, height, width, _ = field.shape
    upsampled = field.new_empty(batch, 2 * height, 2 * width, 2)
    if confidence is None:
        return upsampled, empty(field)
    return upsampled, field.new_empty(batch, 1, 2 * height, 2 * width)


@register_fake("upsample_motion_backward")
def _fake_backward(grad_field: Tensor, grad_confidence: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, height, width, _ = grad_field.shape
    field = grad_field.new_empty(batch, height // 2, width // 2, 2)
    if grad_confidence is None:
        return field, empty(grad_field)
    return field, grad_field.new_empty(batch, 1, height // 2, width // 2)
