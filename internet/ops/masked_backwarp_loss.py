"""Eqs. 2-4: the temporal loss, which compares a frame, warped back by optical flow, with the previous one."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import kind_of, namespace_for
from internet.ops._signature import once_a_signature
from internet.ops._status import devices_with_kernel
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty, motion_dtype
from internet.utils.torch_internals import inside_functorch, is_batched

NORMS = ("l1", "l2", "charbonnier")
REDUCTIONS = ("mean", "sum", "none")
PADDING_MODES = ("border", "zeros", "valid")
_ONE_PASS_DEVICES = devices_with_kernel("masked_backwarp_loss_with_gradients")


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
    r"""Penalise the masked difference between a back-warped frame and a target (Eqs. 2-4 of arXiv 2012.06134).

    .. math::
        \sum_{c, x, y} \rho\big( (\mathrm{output}_c(x + u, y + v) - \mathrm{target}_c(x, y)) \cdot M(x, y) \big)

    for every pixel (x, y) with optical flow (u, v). Without `confidence` this is Eq. 2, with an extrinsic mask
    (:func:`flow_confidence`) Eq. 3, with the model's own confidence map Eq. 4, whose gradient reaches the
    motion estimator through M. The mask multiplies the residual inside the norm, as in the equations. Coordinates and
    values that are not finite: docs/conventions.md.

    Args:
        output: (B, C, H, W) the frame that is sampled.
        target: (B, C, H, W) what it should equal. If the two dtypes differ, the wider one is used.
        flow: (B, 2, H, W) optical flow in pixels, channel 0 along x.
        confidence: (B, 1, H/2^i, W/2^i) mask M, upsampled by i progressive 2x steps; None for 1.
        norm: :math:`\rho`: "l1" |r|, "l2" r^2, or "charbonnier" sqrt(r^2 + 1e-6).
        reduction: "mean" over B*C*H*W, "sum", or "none": (B, 1, H, W), summed over C.
        padding_mode: for samples outside the frame: "border", "zeros", or "valid": they do not count.

    Returns:
        A scalar, or (B, 1, H, W): float64 if `output` is, float32 otherwise. Differentiable with respect to every
        tensor.

    If a gradient may be requested, the compiled CPU kernel computes the gradients of a mean or sum together with the
    loss, and the graph holds them until the backward pass: their memory is allocated earlier, and for 16-bit frames it
    is float32 until then. A second backward pass over a retained graph computes them again.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, the mask's ratio is not a power of two, or `norm`, `reduction` or
            `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    *tensors, norm, reduction, padding_mode = _checked(output, target, flow, confidence, norm, reduction, padding_mode)
    namespace = namespace_for("masked_backwarp_loss", output.device)
    if namespace is None:
        return reference.masked_backwarp_loss(*tensors, norm=norm, reduction=reduction, padding_mode=padding_mode)
    loss: Tensor = apply(_MaskedBackwarpLoss, namespace, *tensors, norm, reduction, padding_mode)
    return loss


@once_a_signature
def _checked(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
) -> tuple[Any, ...]:
    name = "masked_backwarp_loss"
    images = ("B", "C", "H", "W")
    _checks.floating_tensor(name, "output", output, *images)
    target, output = _checks.alike(name, "target", target, images, "output", output)
    batch, _, height, width = output.shape
    expected, meaning = (batch, 2, height, width), "(x and y in pixels, the size of output)"
    flow = _checks.beside(name, "flow", flow, ("B", "2", "H", "W"), expected, meaning, "output", output)
    _checks.one_of(name, "norm", norm, NORMS)
    _checks.one_of(name, "reduction", reduction, REDUCTIONS)
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    if confidence is not None:
        confidence = _mask(name, output, confidence)
    return output, target, flow, confidence, norm, reduction, padding_mode


def _mask(name: str, output: Tensor, confidence: Tensor) -> Tensor:
    dims = ("B", "1", "h", "w")
    _checks.floating_tensor(name, "confidence", confidence, *dims)
    (batch, _, *fine), (_, _, *coarse) = output.shape, confidence.shape
    expected, meaning = (batch, 1, *coarse), "(batch of output, one channel)"
    confidence = _checks.beside(name, "confidence", confidence, dims, expected, meaning, "output", output)
    _checks.power_of_two_ratio(name, "confidence", (coarse[0], coarse[1]), "output", (fine[0], fine[1]))
    return confidence


class _MaskedBackwarpLoss(torch.autograd.Function):
    """The loss. If possible its gradients are computed with it; otherwise the backward pass recomputes the residual."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        namespace, inputs, words = arguments[0], arguments[1:5], arguments[5:]
        needed, (_, reduction, _) = ctx.needs_input_grad[1:5], words
        ctx.namespace, ctx.words, ctx.handed_over = namespace, words, False
        one_pass = namespace == "internet" and kind_of(inputs[0].device) in _ONE_PASS_DEVICES and reduction != "none"
        if not one_pass or not any(needed):
            ctx.save_for_backward(*inputs)
            return overload(namespace, "masked_backwarp_loss")(*inputs, *words)
        with_gradients = overload(namespace, "masked_backwarp_loss_with_gradients")
        loss, *gradients = with_gradients(*inputs, *words, *needed)
        # not attributes of ctx: checkpoint() could not free them
        ctx.save_for_backward(*inputs, *(g for g, need in zip(gradients, needed, strict=True) if need))
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad[1:5]
        inputs, of_unit_loss = saved[:4], saved[4:]
        gradients: Sequence[Tensor | None]
        value = grad_loss.item() if of_unit_loss and not ctx.handed_over and _has_a_value(grad_loss) else None
        if not of_unit_loss or ctx.handed_over or (value is not None and not math.isfinite(value)):
            # products with a gradient that is not finite would turn the zeros of what was never read into NaN
            gradients = overload(ctx.namespace, "masked_backwarp_loss_backward")(
                grad_loss,
                *inputs,
                *ctx.words,
                needed[0],
                needed[1],
                any(needed[2:]),
                torch.are_deterministic_algorithms_enabled(),
            )
        elif value is not None:
            ctx.handed_over = True
            gradients = _of(inputs, needed, _hand_over(of_unit_loss, value))
        else:
            gradients = _of(inputs, needed, [gradient * grad_loss for gradient in of_unit_loss])
        tied = first_order("masked_backwarp_loss", gradients, needed, (grad_loss, *inputs))
        return (None, *tied, None, None, None)


def _has_a_value(tensor: Tensor) -> bool:
    """Whether a tensor's value can be read now: it is not a placeholder in a traced graph or a vmapped batch."""
    return not (
        torch.compiler.is_compiling()
        or type(tensor) is not Tensor
        or tensor.is_meta
        or inside_functorch()
        or is_batched(tensor)
    )


def _of(inputs: Sequence[Tensor], needed: Sequence[bool], gradients: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of the inputs that need one, in the inputs' dtypes, and None for the others."""
    remaining = iter(gradients)
    wanted = [next(remaining) if need else None for need in needed]
    # to() is slow even if there is nothing to do
    return [g if g is None or g.dtype is of.dtype else g.to(of.dtype) for g, of in zip(wanted, inputs, strict=True)]


def _hand_over(of_unit_loss: Sequence[Tensor], grad_loss: float) -> list[Tensor]:
    """The saved gradients themselves, scaled in place. The receiver may write to them.

    `.data` has its own version counter, so that a retained graph does not object to these changes.
    """
    gradients = [gradient.data for gradient in of_unit_loss]
    if grad_loss != 1:
        for gradient in gradients:
            gradient.mul_(grad_loss)
    return gradients


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


@register_fake("masked_backwarp_loss_with_gradients")
def _fake_with_gradients(
    output: Tensor,
    target: Tensor,
    flow: Tensor,
    confidence: Tensor | None,
    norm: str,
    reduction: str,
    padding_mode: str,
    need_output: bool,
    need_target: bool,
    need_flow: bool,
    need_confidence: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return (
        flow.new_empty(()),
        dense_like(output).to(flow.dtype) if need_output else empty(flow),
        dense_like(target).to(flow.dtype) if need_target else empty(flow),
        like_or_empty(flow, need_flow),
        empty(flow) if confidence is None else like_or_empty(confidence, need_confidence),
    )
