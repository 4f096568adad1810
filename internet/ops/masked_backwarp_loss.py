"""Eqs. 2-4: the temporal loss, a frame warped back by optical flow against the previous one, masked."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import (
    backward_operator,
    dense_like,
    empty,
    first_order,
    forward_operator,
    like_or_empty,
    register_fake,
)
from internet.ops._backend import uses_compiled
from internet.ops.reference import motion_dtype

NORMS = ("l1", "l2", "charbonnier")
REDUCTIONS = ("mean", "sum", "none")
PADDING_MODES = ("border", "zeros", "valid")


def masked_backwarp_loss(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None = None,
    *,
    norm: str = "l1",
    reduction: str = "mean",
    padding_mode: str = "border",
) -> Tensor:
    r"""Penalise the masked difference of a back-warped frame and a target (Eqs. 2-4 of arXiv 2012.06134).

    .. math::
        \sum_{c, x, y} \rho\big( (\mathrm{output}_c(x + u, y + v) - \mathrm{target}_c(x, y)) \cdot M(x, y) \big)

    for every pixel (x, y) with optical flow (u, v). Without `confidence` this is Eq. 2, with an extrinsic mask
    (:func:`flow_confidence`) Eq. 3, with the model's own confidence map Eq. 4, whose gradient reaches the
    motion estimator through M. The mask multiplies the residual inside the norm, as in the equations.

    Args:
        output: (B, C, H, W) the frame that is sampled.
        target: (B, C, H, W) what it should equal. Of two dtypes the wider one is used.
        flow: (B, 2, H, W) optical flow in pixels, channel 0 along x.
        confidence: (B, 1, H/2^i, W/2^i) mask M, upsampled by i progressive 2x steps; None for 1.
        norm: :math:`\rho`: "l1" |r|, "l2" r^2, or "charbonnier" sqrt(r^2 + 1e-6).
        reduction: "mean" over B*C*H*W, "sum", or "none": (B, 1, H, W), summed over C.
        padding_mode: for samples outside of the frame: "border", "zeros", or "valid": they count 0.

    Returns:
        A scalar, or (B, 1, H, W): float64 if `output` is, float32 otherwise. Differentiable in every tensor.

    Raises:
        TypeError: an argument is no floating tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, the mask's ratio is no power of two, or a word is unknown.
        RuntimeError: tensors on different devices.
    """
    name = "masked_backwarp_loss"
    _checks.floating_tensor(name, "output", output, "B", "C", "H", "W")
    _checks.floating_tensor(name, "target", target, "B", "C", "H", "W")
    _checks.floating_tensor(name, "flow", flow, "B", "2", "H", "W")
    _checks.one_of(name, "norm", norm, NORMS)
    _checks.one_of(name, "reduction", reduction, REDUCTIONS)
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    batch, _, height, width = output.shape
    _checks.shape(name, "target", target, output.shape, "(the shape of output)")
    _checks.shape(name, "flow", flow, (batch, 2, height, width), "(x and y in pixels, the size of output)")
    _checks.same_device(name, "target", target, "output", output)
    _checks.same_device(name, "flow", flow, "output", output)
    if target.dtype != output.dtype:
        _checks.coordinates(name, "target", target, "output", output)  # refuses float64 beside others
        common = torch.promote_types(output.dtype, target.dtype)
        output, target = output.to(common), target.to(common)
    flow = _checks.coordinates(name, "flow", flow, "output", output)
    if confidence is not None:
        confidence = _mask(name, output, confidence)
    if not uses_compiled(name, output.device):
        return reference.masked_backwarp_loss(
            output, target, flow, confidence, norm=norm, reduction=reduction, padding_mode=padding_mode
        )
    loss: Tensor = _MaskedBackwarpLoss.apply(output, target, flow, confidence, norm, reduction, padding_mode)
    return loss


def _mask(name: str, output: Tensor, confidence: Tensor) -> Tensor:
    _checks.floating_tensor(name, "confidence", confidence, "B", "1", "h", "w")
    coarse = (confidence.shape[2], confidence.shape[3])
    _checks.shape(name, "confidence", confidence, (output.shape[0], 1, *coarse), "(batch of output, one channel)")
    _checks.same_device(name, "confidence", confidence, "output", output)
    _checks.power_of_two_ratio(name, "confidence", coarse, "output", (output.shape[2], output.shape[3]))
    return _checks.coordinates(name, "confidence", confidence, "output", output)


class _MaskedBackwarpLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.save_for_backward(*arguments[:4])
        ctx.words = arguments[4:]
        return forward_operator(ctx, "masked_backwarp_loss", arguments[0])(*arguments)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[:4]
        gradients = backward_operator(ctx, "masked_backwarp_loss")(
            grad_loss,
            *inputs,
            *ctx.words,
            needed[0],
            needed[1],
            any(needed[2:]),
            torch.are_deterministic_algorithms_enabled(),
        )
        tied = first_order("masked_backwarp_loss", gradients, needed, (grad_loss, *inputs))
        return (*tied, None, None, None)


@register_fake("masked_backwarp_loss")
def _fake(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
) -> Tensor:
    batch, _, height, width = output.shape
    size = (batch, 1, height, width) if reduction == "none" else ()
    return output.new_empty(size, dtype=motion_dtype(output.dtype))


@register_fake("masked_backwarp_loss_backward")
def _fake_backward(
    grad_loss: Tensor,
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
    need_output: bool,
    need_target: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        dense_like(output) if need_output else empty(output),
        dense_like(target) if need_target else empty(target),
        like_or_empty(flow, need_motion),
        empty(flow) if confidence is None else like_or_empty(confidence, need_motion),
    )
