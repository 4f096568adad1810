"""Eq. 5: a dense motion field from K local affine motions and their mixture weights."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty, motion_dtype


def affine_mixture(
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    *,
    background: Tensor | None = None,
    threshold: float = 0.0,
    align_corners: bool = False,
) -> Tensor:
    r"""Compose the motion field of K anchors and the background (Eq. 5 of arXiv 2012.06134), for images or volumes.

    .. math::
        F(z) = \sum_{k=0}^{K} \omega_k(z)\, T_k(z), \qquad
        T_k(z) = p^s_k + J^s_k (J^d_k)^{-1} (z - p^d_k), \qquad
        T_0(z) = z \;\text{ or }\; \frac{(P\tilde z)_{1 \ldots n}}{(P\tilde z)_{n+1}}, \quad \tilde z = (z, 1),

    with :math:`\omega = \mathrm{softmax}(\text{logits})` over k, then soft-thresholded:
    :math:`\omega \leftarrow \max(\omega - t, 0)`, renormalised to sum 1. :math:`|\det J^d|` is kept at least
    1e-6 (its sign kept), so that a collapsed anchor gives a large finite motion, never NaN. Where the denominator of
    :math:`T_0` vanishes, the field is not finite, which means out of the frame.
    Coordinates and values that are not finite: docs/conventions.md.

    The rank of `logits` decides the number n of axes: 2 for images, 3 for volumes.

    Args:
        logits: (B, K+1, H, W) or (B, K+1, D, H, W), any floating dtype and strides; channel 0 is the background.
        kp_source: (B, K, n) anchors in the source frame, x first, normalised to [-1, 1].
        kp_driving: (B, K, n) anchors in the driving frame.
        jac_source: (B, K, n, n) Jacobians in the source frame; None (with `jac_driving`) is the identity.
        jac_driving: (B, K, n, n) Jacobians in the driving frame.
        background: (B, n+1, n+1) the projective motion P of the background; None is the identity.
        threshold: t above, 0 <= t < 1/(K+1).
        align_corners: the coordinate convention of the field's pixels, as in ``grid_sample``.

    Returns:
        The field (B, H, W, 2) or (B, D, H, W, 3), sampling positions in the source in ``grid_sample``'s layout:
        float64 if `logits` is, float32 otherwise. Differentiable with respect to every tensor.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, only one Jacobian is given, or `threshold` is out of range.
        RuntimeError: tensors on different devices.
    """
    logits, *anchors, background, threshold = _checked(
        logits, kp_source, kp_driving, jac_source, jac_driving, background, threshold
    )
    namespace = namespace_for("affine_mixture", logits.device)
    if namespace is None:
        return reference.affine_mixture(
            logits, *anchors, background=background, threshold=threshold, align_corners=align_corners
        )
    field: Tensor = apply(_AffineMixture, namespace, logits, *anchors, background, threshold, align_corners)
    return field


@once_a_signature
def _checked(
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    threshold: float,
) -> tuple[Any, ...]:
    name = "affine_mixture"
    _checks.image_or_volume(name, "logits", logits, "K+1")
    anchors = _checks.anchors(name, "logits", logits, kp_source, kp_driving, jac_source, jac_driving, background)
    channels = kp_source.shape[1] + 1
    if logits.shape[1] != channels:
        raise ValueError(
            f"{name}: logits has {logits.shape[1]} channels, expected {channels}: "
            f"one for the background and one for each of the {channels - 1} anchors of kp_source"
        )
    if not 0 <= threshold < 1 / channels:
        raise ValueError(
            f"{name}: threshold is {threshold}, expected 0 <= threshold < 1/(K+1) = {1 / channels:.6g}, "
            "beyond which every weight could vanish"
        )
    return logits, *anchors, float(threshold)


class _AffineMixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.namespace, *tensors, ctx.threshold, ctx.align_corners = arguments
        ctx.save_for_backward(*tensors)
        return overload(ctx.namespace, "affine_mixture")(*arguments[1:])

    @staticmethod
    def backward(ctx: Any, grad_field: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:7]
        gradients = overload(ctx.namespace, "affine_mixture_backward")(
            grad_field, *inputs, ctx.threshold, ctx.align_corners, needed[0], any(needed[1:])
        )
        return (None, *first_order("affine_mixture", gradients, needed, (grad_field, *inputs)), None, None)


@register_fake("affine_mixture")
def _fake(logits: Tensor, *_: Any) -> Tensor:
    batch, _channels, *size = logits.shape
    return logits.new_empty(batch, *size, len(size), dtype=motion_dtype(logits.dtype))


@register_fake("affine_mixture_backward")
def _fake_backward(
    grad_field: Tensor,
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    threshold: float,
    align_corners: bool,
    need_logits: bool,
    need_anchors: bool,
) -> tuple[Tensor, ...]:
    anchors = (kp_source, kp_driving, jac_source, jac_driving, background)
    return (
        dense_like(logits) if need_logits else empty(logits),
        *(empty(kp_source) if a is None else like_or_empty(a, need_anchors) for a in anchors),
    )
