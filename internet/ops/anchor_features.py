"""The input of a dense-motion network, made in one pass."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty, memory_format_of


def anchor_features(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    *,
    background: Tensor | None = None,
    variance: float = 0.01,
    covariance_source: Tensor | None = None,
    covariance_driving: Tensor | None = None,
    align_corners: bool = False,
    grid_align_corners: bool | None = None,
) -> Tensor:
    r"""For the background and each of K anchors: a heat-map difference and the source moved by that anchor.

    .. math::
        h_k(z) = g(z; p^d_k) - g(z; p^s_k), \quad h_0 = 0, \qquad s_k(z) = \mathrm{source}(T_k(z)), \qquad
        g(z; p) = e^{-|z - p|^2 / 2\sigma^2} \;\text{ or }\; e^{-(z - p)^T C^{-1} (z - p) / 2},

    with the local motions :math:`T_k` of :func:`affine_mixture`, and zeros outside the source. This is the input of the
    dense-motion networks of first-order-motion (Siarohin et al., NeurIPS 2019, Section 3.2); with covariances, of
    articulated-animation (CVPR 2021); and on volumes, of face-vid2vid (Wang et al., CVPR 2021) and LivePortrait.
    Coordinates and values that are not finite: docs/conventions.md.

    The rank of `source` decides the number n of axes: 2 for images, 3 for volumes. The determinant of a covariance
    is kept at least 1e-30, so that a collapsed one gives a finite heat map, never NaN.

    Args:
        source: (B, C, H, W) or (B, C, D, H, W), any floating dtype and strides.
        kp_source: (B, K, n) anchors in the source frame, x first, normalised to [-1, 1].
        kp_driving: (B, K, n) anchors in the driving frame.
        jac_source: (B, K, n, n) Jacobians in the source frame; None (with `jac_driving`) is the identity.
        jac_driving: (B, K, n, n) Jacobians in the driving frame.
        background: (B, n+1, n+1) the projective motion of the background; None is the identity.
        variance: :math:`\sigma^2 > 0` of the Gaussians, in normalised units squared; not used with covariances.
        covariance_source: (B, K, n, n) covariances C of the Gaussians in the source frame, in normalised units
            squared; None (with `covariance_driving`) for the same `variance` everywhere.
        covariance_driving: (B, K, n, n) covariances in the driving frame.
        align_corners: the convention by which `source` is sampled at a coordinate.
        grid_align_corners: the convention of the pixels' own coordinates z; None: the same as `align_corners`. The
            models above make their grids with True and sample with False.

    Returns:
        (B, (K+1)(1+C), H, W) or (B, (K+1)(1+C), D, H, W), for each anchor its heat map and then C channels, in the
        dtype and memory format of `source`. Differentiable with respect to every tensor.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, only one Jacobian or one covariance is given, or `variance` is not positive.
        RuntimeError: tensors on different devices.
    """
    source, *anchors, covariance_source, covariance_driving, variance = _checked(
        source,
        kp_source,
        kp_driving,
        jac_source,
        jac_driving,
        background,
        covariance_source,
        covariance_driving,
        variance,
    )
    grid_align_corners = align_corners if grid_align_corners is None else grid_align_corners
    namespace = namespace_for("anchor_features", source.device)
    if namespace is None:
        return reference.anchor_features(
            source,
            *anchors[:4],
            background=anchors[4],
            variance=variance,
            covariance_source=covariance_source,
            covariance_driving=covariance_driving,
            align_corners=align_corners,
            grid_align_corners=grid_align_corners,
        )
    covariances, options = (covariance_source, covariance_driving), (variance, align_corners, grid_align_corners)
    features: Tensor = apply(_AnchorFeatures, namespace, source, *anchors, *covariances, *options)
    return features


@once_a_signature
def _checked(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
) -> tuple[Any, ...]:
    name = "anchor_features"
    _checks.image_or_volume(name, "source", source, "C")
    anchors = _checks.anchors(name, "source", source, kp_source, kp_driving, jac_source, jac_driving, background)
    covariances = _checks.covariances(
        name, "source", source, anchors[0].shape[1], covariance_source, covariance_driving
    )
    if not variance > 0:
        raise ValueError(f"{name}: variance is {variance}, expected a positive number")
    return source, *anchors, *covariances, float(variance)


class _AnchorFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.namespace, ctx.options = arguments[0], arguments[9:]
        ctx.save_for_backward(*arguments[1:9])
        return overload(ctx.namespace, "anchor_features")(*arguments[1:])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:9]
        gradients = overload(ctx.namespace, "anchor_features_backward")(
            grad_output,
            *inputs,
            *ctx.options,
            needed[0],
            any(needed[1:]),
            torch.are_deterministic_algorithms_enabled(),
        )
        tied = first_order("anchor_features", gradients, needed, (grad_output, *inputs))
        return (None, *tied, None, None, None)


@register_fake("anchor_features")
def _fake(source: Tensor, kp_source: Tensor, *_: Any) -> Tensor:
    batch, channels, *pixels = source.shape
    size = (batch, (kp_source.shape[1] + 1) * (1 + channels), *pixels)
    return torch.empty(size, dtype=source.dtype, device=source.device, memory_format=memory_format_of(source))


@register_fake("anchor_features_backward")
def _fake_backward(
    grad_output: Tensor,
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
    need_source: bool,
    need_anchors: bool,
    deterministic: bool,
) -> tuple[Tensor, ...]:
    anchors = (kp_source, kp_driving, jac_source, jac_driving, background, covariance_source, covariance_driving)
    return (
        dense_like(source) if need_source else empty(source),
        *(empty(kp_source) if a is None else like_or_empty(a, need_anchors) for a in anchors),
    )
