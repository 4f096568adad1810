"""Key points and their Jacobians as expectations under heat maps."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import NoContext, apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, motion_dtype
from internet.utils.torch_internals import versions


def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None]:
    r"""Key points, and Jacobians, as expectations under heat maps.

    .. math::
        p_k = \mathrm{softmax}_{z}(\mathrm{logits}_k / t), \qquad
        \mathrm{kp}_k = \sum_z p_k(z)\, z, \qquad \mathrm{jac}_k = \sum_z p_k(z)\, \mathrm{map}_k(z)

    as in first-order-motion (Siarohin et al., NeurIPS 2019, Eq. 6 and its key-point detector). Coordinates and values
    that are not finite: docs/conventions.md.

    Args:
        logits: (B, K, H, W), any floating dtype and strides.
        jacobian_map: (B, K, 4, H, W), or (B, 1, 4, H, W) shared by all anchors; row-major 2x2. None for none.
        temperature: t > 0.
        align_corners: the coordinate convention of the pixels, as in ``grid_sample``.

    Returns:
        kp (B, K, 2), x first, normalised to [-1, 1], and jac (B, K, 2, 2), or None without a map: float64 if
        `logits` is, float32 otherwise. Differentiable in both tensors.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ.
        ValueError: a shape does not fit, H*W is 0, or `temperature` is not positive.
        RuntimeError: tensors on different devices.
    """
    name = "soft_argmax"
    _checks.floating_tensor(name, "logits", logits, "B", "K", "H", "W")
    batch, anchors, height, width = logits.shape
    if not temperature > 0:
        raise ValueError(f"{name}: temperature is {temperature}, expected a positive number")
    if height * width == 0:
        raise ValueError(f"{name}: logits has shape {tuple(logits.shape)}, expected at least one pixel")
    if jacobian_map is not None:
        _checks.floating_tensor(name, "jacobian_map", jacobian_map, "B", "K or 1", "4", "H", "W")
        maps = jacobian_map.shape[1] if jacobian_map.shape[1] == 1 else anchors
        _checks.shape(name, "jacobian_map", jacobian_map, (batch, maps, 4, height, width), "(like logits, K or 1 maps)")
        _checks.same_device(name, "jacobian_map", jacobian_map, "logits", logits)
        if jacobian_map.dtype != logits.dtype:
            raise TypeError(f"{name}: jacobian_map is {jacobian_map.dtype}, but logits is {logits.dtype}")
    namespace = namespace_for(name, logits.device)
    if namespace is None:
        return reference.soft_argmax(logits, jacobian_map, temperature=temperature, align_corners=align_corners)
    kp, jac, _ = apply(_SoftArgmax, namespace, logits, jacobian_map, float(temperature), align_corners)
    return kp, None if jacobian_map is None else jac


class _SoftArgmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, namespace: str, logits: Tensor, jacobian_map: Tensor | None, temperature: float, align_corners: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.namespace, ctx.options = namespace, (temperature, align_corners)
        kp, jac, statistics = overload(namespace, "soft_argmax")(logits, jacobian_map, *ctx.options)
        if not isinstance(ctx, NoContext):
            ctx.results, ctx.versions = _kept(kp, jac)
        ctx.save_for_backward(logits, jacobian_map, statistics)
        ctx.mark_non_differentiable(statistics)
        ctx.set_materialize_grads(False)
        return kp, jac, statistics

    @staticmethod
    def backward(ctx: Any, grad_kp: Tensor | None, grad_jac: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        (logits, jacobian_map, statistics), needed = ctx.saved_tensors, ctx.needs_input_grad[1:3]
        if jacobian_map is None:  # and so no Jacobians; torch.compile gives them a gradient of zeros all the same
            grad_jac = None
        kp, jac = ctx.results
        if not torch.compiler.is_compiling() and versions(kp, jac) != ctx.versions:
            kp, jac, _ = overload(ctx.namespace, "soft_argmax")(logits, jacobian_map, *ctx.options)
        gradients = overload(ctx.namespace, "soft_argmax_backward")(
            grad_kp, grad_jac, logits, jacobian_map, kp, jac, statistics, *ctx.options, *needed
        )
        inputs = (grad_kp, grad_jac, logits, jacobian_map)
        return (None, *first_order("soft_argmax", gradients, needed, inputs), None, None)


def _kept(kp: Tensor, jac: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, ...]]:
    """The results for the backward pass, and their versions, which tell whether they were changed in place since.

    Callers may convert key points in place, to pixels for instance. The backward pass then computes them again, which
    costs less overall than copying them in every call. A compiled graph has no versions, and drops needless copies.
    """
    if torch.compiler.is_compiling():
        return (kp.clone(), jac.clone()), (0, 0)
    return (kp.detach(), jac.detach()), versions(kp, jac)


@register_fake("soft_argmax")
def _fake(logits: Tensor, jacobian_map: Tensor | None, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, anchors = logits.shape[:2]
    kp = logits.new_empty(batch, anchors, 2, dtype=motion_dtype(logits.dtype))
    jac = empty(kp) if jacobian_map is None else kp.new_empty(batch, anchors, 2, 2)
    return kp, jac, torch.empty_like(kp)


def _maps_like(maps: Tensor) -> Tensor:
    """Fake gradient of Jacobian maps: in their order where their planes lie as a channels_last image's channels."""
    pixels = maps.permute(0, 3, 4, 1, 2)
    if pixels.is_contiguous() and not maps.is_contiguous():
        return torch.empty_like(pixels).permute(0, 3, 4, 1, 2)
    return torch.empty_like(maps, memory_format=torch.contiguous_format)


@register_fake("soft_argmax_backward")
def _fake_backward(
    grad_kp: Tensor | None,
    grad_jac: Tensor | None,
    logits: Tensor,
    jacobian_map: Tensor | None,
    kp: Tensor,
    jac: Tensor,
    statistics: Tensor,
    temperature: float,
    align_corners: bool,
    need_logits: bool,
    need_map: bool,
) -> tuple[Tensor, Tensor]:
    return (
        dense_like(logits) if need_logits else empty(logits),
        empty(logits) if jacobian_map is None or not need_map else _maps_like(jacobian_map),
    )
