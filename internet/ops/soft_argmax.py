"""Key points, their Jacobians and their covariances as expectations under heat maps."""

import itertools
from typing import Any, Literal, overload

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import NoContext, apply, first_order
from internet.ops._autograd import overload as operator_of
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, motion_dtype
from internet.utils.torch_internals import versions


@overload
def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    covariance: Literal[False] = False,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None]: ...


@overload
def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    covariance: Literal[True],
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]: ...


def soft_argmax(
    logits: Tensor,
    jacobian_map: Tensor | None = None,
    *,
    temperature: float = 0.1,
    covariance: bool = False,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Tensor]:
    r"""Key points, Jacobians and covariances as expectations under heat maps of images or volumes.

    .. math::
        p_k = \mathrm{softmax}_{z}(\mathrm{logits}_k / t), \qquad
        \mathrm{kp}_k = \sum_z p_k(z)\, z, \qquad \mathrm{jac}_k = \sum_z p_k(z)\, \mathrm{map}_k(z), \qquad
        \mathrm{cov}_k = \sum_z p_k(z)\, (z - \mathrm{kp}_k)(z - \mathrm{kp}_k)^\top

    as in first-order-motion (Siarohin et al., NeurIPS 2019, Eq. 6 and its key-point detector), in volumes as in
    face-vid2vid (Wang et al., CVPR 2021), and with the region covariances of articulated-animation (Siarohin et al.,
    CVPR 2021). Covariances are summed about the key point, so those of narrow peaks remain accurate. Coordinates and
    values that are not finite: docs/conventions.md.

    Args:
        logits: (B, K, H, W), or (B, K, D, H, W) for volumes; any floating dtype and strides.
        jacobian_map: (B, K, n*n, ...) with n = 2, or 3 for volumes, at the same pixels; or (B, 1, n*n, ...), shared by
            all anchors; row-major n x n matrices. None for none.
        temperature: t > 0.
        covariance: whether to return the covariances, too.
        align_corners: the coordinate convention of the pixels, as in ``grid_sample``.

    Returns:
        kp (B, K, n), x first, normalised to [-1, 1], and jac (B, K, n, n), or None without a map; with `covariance`
        also cov (B, K, n, n), symmetric, in squares of the unit of kp: float64 if `logits` is, float32 otherwise.
        Differentiable with respect to both tensors.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ.
        ValueError: a shape does not fit, there is no pixel, or `temperature` is not positive.
        RuntimeError: tensors on different devices.
    """
    logits, jacobian_map, *options = _checked(logits, jacobian_map, temperature, covariance, align_corners)
    namespace = namespace_for("soft_argmax", logits.device)
    if namespace is None:
        return reference.soft_argmax(
            logits, jacobian_map, temperature=temperature, covariance=covariance, align_corners=align_corners
        )
    kp, *others = apply(_SoftArgmax, namespace, logits, jacobian_map, *options)
    return (kp, *others) if jacobian_map is not None else (kp, None, *others)


@once_a_signature
def _checked(
    logits: Tensor, jacobian_map: Tensor | None, temperature: float, covariance: bool, align_corners: bool
) -> tuple[Any, ...]:
    name = "soft_argmax"
    _checks.image_or_volume(name, "logits", logits, "K")
    if not temperature > 0:
        raise ValueError(f"{name}: temperature is {temperature}, expected a positive number")
    if 0 in logits.shape[2:]:
        raise ValueError(f"{name}: logits has shape {tuple(logits.shape)}, expected at least one pixel")
    if jacobian_map is not None:
        _check_map(name, jacobian_map, logits)
    return logits, jacobian_map, float(temperature), bool(covariance), align_corners


def _check_map(operator: str, maps: Tensor, logits: Tensor) -> None:
    batch, anchors, *size = logits.shape
    entries = len(size) ** 2
    expected = (batch, anchors, entries, *size)
    if isinstance(maps, Tensor) and maps.shape == expected and maps.dtype is logits.dtype:
        return _checks.same_device(operator, "jacobian_map", maps, "logits", logits)
    dims = ("B", "K or 1", str(entries), *("D", "H", "W")[-len(size) :])
    _checks.floating_tensor(operator, "jacobian_map", maps, *dims)
    expected = (batch, maps.shape[1] if maps.shape[1] == 1 else anchors, entries, *size)
    _checks.shape(operator, "jacobian_map", maps, expected, "(like logits, K or 1 maps)")
    _checks.same_device(operator, "jacobian_map", maps, "logits", logits)
    if maps.dtype != logits.dtype:
        raise TypeError(f"{operator}: jacobian_map is {maps.dtype}, but logits is {logits.dtype}")


class _SoftArgmax(torch.autograd.Function):
    """The key points, and the Jacobians and covariances if requested."""

    @staticmethod
    def forward(
        ctx: Any,
        namespace: str,
        logits: Tensor,
        jacobian_map: Tensor | None,
        temperature: float,
        covariance: bool,
        align_corners: bool,
    ) -> tuple[Tensor, ...]:
        ctx.namespace, ctx.options = namespace, (temperature, covariance, align_corners)
        *results, statistics = operator_of(namespace, "soft_argmax")(logits, jacobian_map, *ctx.options)
        ctx.there = (True, jacobian_map is not None, covariance)
        if not isinstance(ctx, NoContext):
            ctx.results, ctx.versions = _kept(*results)
        ctx.save_for_backward(logits, jacobian_map, statistics)
        ctx.set_materialize_grads(False)
        return tuple(itertools.compress(results, ctx.there))

    @staticmethod
    def backward(ctx: Any, *grad_results: Tensor | None) -> tuple[Tensor | None, ...]:
        (logits, jacobian_map, statistics), needed = ctx.saved_tensors, ctx.needs_input_grad[1:3]
        temperature, _, align_corners = ctx.options
        given, results = iter(grad_results), ctx.results
        incoming = tuple(next(given) if there else None for there in ctx.there)
        if not torch.compiler.is_compiling() and versions(*results) != ctx.versions:
            results = operator_of(ctx.namespace, "soft_argmax")(logits, jacobian_map, *ctx.options)[:3]
        gradients = operator_of(ctx.namespace, "soft_argmax_backward")(
            *incoming, logits, jacobian_map, *results, statistics, temperature, align_corners, *needed
        )
        inputs = (*incoming, logits, jacobian_map)
        return (None, *first_order("soft_argmax", gradients, needed, inputs), None, None, None)


def _kept(*results: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The results for the backward pass, and their versions, which show whether they were changed in place later.

    Callers may convert key points in place, to pixels for instance. The backward pass then computes them again, which
    costs less overall than copying them in every call. A compiled graph has no versions, but removes needless copies.
    """
    if torch.compiler.is_compiling():
        return tuple(result.clone() for result in results), (0,) * len(results)
    return tuple(result.detach() for result in results), versions(*results)


@register_fake("soft_argmax")
def _fake(
    logits: Tensor, jacobian_map: Tensor | None, temperature: float, covariance: bool, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, anchors, axes = *logits.shape[:2], logits.dim() - 2
    kp = logits.new_empty(batch, anchors, axes, dtype=motion_dtype(logits.dtype))
    jac = empty(kp) if jacobian_map is None else kp.new_empty(batch, anchors, axes, axes)
    cov = kp.new_empty(batch, anchors, axes, axes) if covariance else empty(kp)
    return kp, jac, cov, kp.new_empty(batch, anchors, 2)


def _maps_like(maps: Tensor) -> Tensor:
    """Fake gradient of Jacobian maps, which keeps their layout if their planes lie like channels_last channels."""
    pixels = maps.permute(0, *range(3, maps.dim()), 1, 2)
    if pixels.is_contiguous() and not maps.is_contiguous():
        last = pixels.dim() - 1
        return torch.empty_like(pixels).permute(0, last - 1, last, *range(1, last - 1))
    return torch.empty_like(maps, memory_format=torch.contiguous_format)


@register_fake("soft_argmax_backward")
def _fake_backward(
    grad_kp: Tensor | None,
    grad_jac: Tensor | None,
    grad_covariance: Tensor | None,
    logits: Tensor,
    jacobian_map: Tensor | None,
    kp: Tensor,
    jac: Tensor,
    covariance: Tensor,
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
