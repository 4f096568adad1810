"""Volumes warped by a three-dimensional motion field and gated by its confidence."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.confidence_warp import PADDING_MODES
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty, memory_format_of


def volume_warp(
    volume: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    r"""Warp volumes by a motion field and multiply by its confidence: Eq. 6 of arXiv 2012.06134 with a third axis.

    .. math:: V^{out}(z) = M(z) \cdot V(F(z))

    trilinearly sampled, where :math:`F, M` are `field` and `confidence`: a 5-D ``grid_sample`` and the mask in one
    pass, as in face-vid2vid (Wang et al., CVPR 2021) and its descendants. The warped, ungated tensor is not stored,
    forward or backward. Coordinates and values that are not finite: docs/conventions.md.

    The reference samples only images, eight voxels for each sample, and is used for export to ONNX: every runtime with
    a 4-D ``GridSample`` can run it.

    Args:
        volume: (B, C, D, H, W), any floating dtype and strides.
        field: (B, d, h, w, 3) motion field, normalised coordinates: x, y and z.
        confidence: (B, 1, d, h, w) multiplier, or None for 1.
        padding_mode: what lies outside the volume: "zeros" or "border" (the nearest voxel inside).
        align_corners: the convention of the coordinates in `field`, as in ``grid_sample``.

    Returns:
        (B, C, d, h, w) in the dtype and memory format of `volume`: contiguous, or ``torch.channels_last_3d``.
        Differentiable with respect to every tensor.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, or `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    volume, field, confidence, padding_mode = _checked(volume, field, confidence, padding_mode)
    namespace = namespace_for("volume_warp", volume.device)
    if namespace is None:
        return reference.volume_warp(volume, field, confidence, padding_mode=padding_mode, align_corners=align_corners)
    warped: Tensor = apply(_VolumeWarp, namespace, volume, field, confidence, padding_mode, align_corners)
    return warped


@once_a_signature
def _checked(volume: Tensor, field: Tensor, confidence: Tensor | None, padding_mode: str) -> tuple[Any, ...]:
    name = "volume_warp"
    _checks.floating_tensor(name, "volume", volume, "B", "C", "D", "H", "W")
    dims = ("B", "d", "h", "w", "3")
    _checks.floating_tensor(name, "field", field, *dims)
    batch, size = volume.shape[0], field.shape[1:4]
    meaning, beside = "(batch of volume, d, h, w, x and y and z)", ("volume", volume)
    field = _checks.beside(name, "field", field, dims, (batch, *size, 3), meaning, *beside)
    if confidence is not None:
        dims, expected, meaning = ("B", "1", "d", "h", "w"), (batch, 1, *size), "(one channel, the size of field)"
        confidence = _checks.beside(name, "confidence", confidence, dims, expected, meaning, *beside)
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    return volume, field, confidence, padding_mode


class _VolumeWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.namespace, *tensors, ctx.padding_mode, ctx.align_corners = arguments
        ctx.save_for_backward(*tensors)
        return overload(ctx.namespace, "volume_warp")(*arguments[1:])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:4]
        gradients = overload(ctx.namespace, "volume_warp_backward")(
            grad_output,
            *inputs,
            ctx.padding_mode,
            ctx.align_corners,
            needed[0],
            any(needed[1:]),
            torch.are_deterministic_algorithms_enabled(),
        )
        return (None, *first_order("volume_warp", gradients, needed, (grad_output, *inputs)), None, None)


@register_fake("volume_warp")
def _fake(volume: Tensor, field: Tensor, *_: Any) -> Tensor:
    size = (*volume.shape[:2], *field.shape[1:4])
    return torch.empty(size, dtype=volume.dtype, device=volume.device, memory_format=memory_format_of(volume))


@register_fake("volume_warp_backward")
def _fake_backward(
    grad_output: Tensor,
    volume: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_volume: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        dense_like(volume) if need_volume else empty(volume),
        like_or_empty(field, need_motion),
        empty(field) if confidence is None else like_or_empty(confidence, need_motion),
    )
