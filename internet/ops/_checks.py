"""Argument checks. Each error names the operator, the argument, what was given and what was expected."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from internet.ops.results import motion_dtype

FLOATING = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

UPSAMPLING = ("progressive", "interpolate")

T = TypeVar("T")


def _floating(operator: str, name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{operator}: {name} must be a Tensor, got {type(value).__name__}")
    if value.dtype not in FLOATING:
        raise TypeError(f"{operator}: {name} has dtype {value.dtype}, expected float32, float64, float16 or bfloat16")
    return value


def floating_tensor(operator: str, name: str, value: object, *dims: str) -> Tensor:
    """Require a floating-point tensor with as many axes as there are names in `dims`."""
    tensor = _floating(operator, name, value)
    if tensor.dim() != len(dims):
        raise ValueError(f"{operator}: {name} has shape {tuple(tensor.shape)}, expected ({', '.join(dims)})")
    return tensor


def image_or_volume(operator: str, name: str, value: object, channels: str) -> Tensor:
    """Require a floating-point tensor of images (B, `channels`, H, W) or of volumes (B, `channels`, D, H, W)."""
    tensor = _floating(operator, name, value)
    if tensor.dim() not in (4, 5):
        expected = f"(B, {channels}, H, W) or (B, {channels}, D, H, W)"
        raise ValueError(f"{operator}: {name} has shape {tuple(tensor.shape)}, expected {expected}")
    return tensor


def shape(operator: str, name: str, value: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    """Require exactly the shape `expected`; `meaning` says where it comes from."""
    if value.shape != expected:
        raise ValueError(f"{operator}: {name} has shape {tuple(value.shape)}, expected {tuple(expected)} {meaning}")


def same_device(operator: str, name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.device != other.device:
        raise RuntimeError(
            f"{operator}: {name} is on {value.device}, but {other_name} is on {other.device}; "
            "all tensors must be on one device"
        )


def coordinates(operator: str, name: str, value: Tensor, data_name: str, data: Tensor) -> Tensor:
    """`value` in the dtype that coordinates have for this `data`; half precision is widened, as under autocast.

    float64 does not mix with the others: either direction would lose precision silently.
    """
    dtype = motion_dtype(data.dtype)
    if value.dtype == dtype:
        return value
    if torch.float64 in (value.dtype, dtype):
        raise TypeError(
            f"{operator}: {name} is {value.dtype} and {data_name} is {data.dtype}; float64 does not mix with others"
        )
    return value.to(dtype)


def beside(
    operator: str,
    name: str,
    value: Tensor,
    dims: tuple[str, ...],
    expected: tuple[int, ...],
    meaning: str,
    data_name: str,
    data: Tensor,
) -> Tensor:
    """Require a coordinate tensor of the `expected` shape on the device of `data`; return it in the dtype for this
    data.

    The common case, in which nothing has to be done, comes first: a small call is only as fast as its checks.
    """
    dtype = motion_dtype(data.dtype)
    if isinstance(value, Tensor) and value.dtype is dtype and value.shape == expected and value.device == data.device:
        return value
    floating_tensor(operator, name, value, *dims)
    shape(operator, name, value, expected, meaning)
    same_device(operator, name, value, data_name, data)
    return coordinates(operator, name, value, data_name, data)


def alike(
    operator: str, name: str, value: object, dims: tuple[str, ...], other_name: str, other: Tensor
) -> tuple[Tensor, Tensor]:
    """Require the same shape and device; return `value` and `other`, both in the wider of their dtypes."""
    if (
        isinstance(value, Tensor)
        and value.dtype is other.dtype
        and value.shape == other.shape
        and value.device == other.device
    ):
        return value, other
    tensor = floating_tensor(operator, name, value, *dims)
    shape(operator, name, tensor, other.shape, f"(the shape of {other_name})")
    same_device(operator, name, tensor, other_name, other)
    coordinates(operator, name, tensor, other_name, other)  # rejects a mix of float64 and other dtypes
    common = torch.promote_types(tensor.dtype, other.dtype)
    return tensor.to(common), other.to(common)


def one_of(operator: str, name: str, value: T, allowed: tuple[T, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{operator}: {name} is {value!r}, expected {' or '.join(map(repr, allowed))}")


def power_of_two_ratio(
    operator: str, name: str, coarse: tuple[int, int], fine_name: str, fine: tuple[int, int]
) -> None:
    """Require `fine` to be `coarse` doubled a whole number of times, the same on both axes."""
    height, width = coarse
    while 0 < height < fine[0]:
        height, width = 2 * height, 2 * width
    if (height, width) != tuple(fine):
        raise ValueError(
            f"{operator}: {fine_name} is {fine[0]}x{fine[1]} and {name} is {coarse[0]}x{coarse[1]} (height x width); "
            "the ratio must be the same power of two (1, 2, 4, ...) on both axes"
        )


def both_or_neither(operator: str, what: str, **pair: Tensor | None) -> None:
    missing = [name for name, value in pair.items() if value is None]
    if len(missing) == 1:
        raise ValueError(f"{operator}: {missing[0]} is None, but the other {what} is given; give both or neither")


_ANCHOR_DIMS = {
    2: (("B", "K", "2"), ("B", "K", "2", "2"), ("B", "3", "3")),
    3: (("B", "K", "3"), ("B", "K", "3", "3"), ("B", "4", "4")),
}
"""How errors describe the axes of points, Jacobians and a background, for images and for volumes."""


def anchors(
    operator: str,
    data_name: str,
    data: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Require anchors that fit `data`, images (n = 2) or volumes (n = 3); return them in the dtype of coordinates.

    kp (B, K, n), jac (B, K, n, n) or both None, background (B, n+1, n+1) or None.
    """
    axes = data.dim() - 2
    point, matrix, projective = _ANCHOR_DIMS[axes]
    floating_tensor(operator, "kp_source", kp_source, *point)
    both_or_neither(operator, "Jacobian", jac_source=jac_source, jac_driving=jac_driving)
    expected = (data.shape[0], kp_source.shape[1], axes)
    context = (f"(batch of {data_name}, anchors of kp_source, axes of {data_name})", data_name, data)
    kp_source = beside(operator, "kp_source", kp_source, point, expected, *context)
    kp_driving = beside(operator, "kp_driving", kp_driving, point, expected, *context)
    if jac_source is not None and jac_driving is not None:
        jac_source = beside(operator, "jac_source", jac_source, matrix, (*expected, axes), *context)
        jac_driving = beside(operator, "jac_driving", jac_driving, matrix, (*expected, axes), *context)
    if background is not None:
        expected = (data.shape[0], axes + 1, axes + 1)
        meaning = f"(batch of {data_name}, homogeneous coordinates of its {axes} axes)"
        background = beside(operator, "background", background, projective, expected, meaning, data_name, data)
    return kp_source, kp_driving, jac_source, jac_driving, background


def covariances(
    operator: str, data_name: str, data: Tensor, count: int, source: Tensor | None, driving: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Require covariances (B, K, n, n) of `count` anchors for images (n = 2) or volumes (n = 3), or None for both."""
    both_or_neither(operator, "covariance", covariance_source=source, covariance_driving=driving)
    if source is None or driving is None:
        return None, None
    axes = data.dim() - 2
    matrix, expected = ("B", "K", f"{axes}", f"{axes}"), (data.shape[0], count, axes, axes)
    context = (f"(batch of {data_name}, anchors of kp_source, axes of {data_name})", data_name, data)
    source = beside(operator, "covariance_source", source, matrix, expected, *context)
    return source, beside(operator, "covariance_driving", driving, matrix, expected, *context)


class Upsampling(NamedTuple):
    """How a field and its confidence are resized to the features."""

    operator: str
    upsampling: str
    interpolate_align_corners: bool
    align_corners: bool

    def check(self) -> None:
        """Require options that are compatible."""
        one_of(self.operator, "upsampling", self.upsampling, UPSAMPLING)
        if self.interpolate_align_corners and self.upsampling != "interpolate":
            raise ValueError(
                f"{self.operator}: interpolate_align_corners is True, but upsampling is {self.upsampling!r}, whose 2x "
                'steps have no such choice; it needs upsampling="interpolate"'
            )

    def check_sizes(self, name: str, coarse: tuple[int, int], features_name: str, fine: tuple[int, int]) -> None:
        """Require that a map of size `coarse` (height, width) can be resized to `fine`."""
        if self.upsampling == "interpolate":
            if 0 in coarse and 0 not in fine:
                raise ValueError(
                    f"{self.operator}: {name} is {coarse[0]}x{coarse[1]} (height x width), which has no pixel to "
                    f"interpolate {features_name}, {fine[0]}x{fine[1]}, from"
                )
            return
        power_of_two_ratio(self.operator, name, coarse, features_name, fine)
        if self.align_corners and coarse[0] < fine[0]:
            raise ValueError(
                f"{self.operator}: align_corners is True, but {features_name} is {fine[0]}x{fine[1]} and {name} is "
                f"{coarse[0]}x{coarse[1]} (height x width): the progressive 2x steps between these sizes are those of "
                'align_corners=False. Use upsampling="interpolate" with interpolate_align_corners=True, or '
                "align_corners=False"
            )


def motion(
    operator: str,
    features_name: str,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    upsampling: Upsampling,
    confidence_name: str = "confidence",
) -> tuple[Tensor, Tensor | None]:
    """Require a field (B, h, w, 2) and a confidence (B, 1, h', w') or None that can be resized to the features."""
    floating_tensor(operator, "field", field, "B", "h", "w", "2")
    batch, _, *size = features.shape
    fine = (size[0], size[1])
    coarse = (field.shape[1], field.shape[2])
    expected, meaning = (batch, *coarse, 2), f"(batch of {features_name}, h, w, x and y)"
    field = beside(operator, "field", field, ("B", "h", "w", "2"), expected, meaning, features_name, features)
    upsampling.check_sizes("field", coarse, features_name, fine)
    if confidence is None:
        return field, None
    floating_tensor(operator, confidence_name, confidence, "B", "1", "h", "w")
    coarse = (confidence.shape[2], confidence.shape[3])
    dims, expected = ("B", "1", "h", "w"), (batch, 1, *coarse)
    meaning = f"(batch of {features_name}, one channel, h, w)"
    confidence = beside(operator, confidence_name, confidence, dims, expected, meaning, features_name, features)
    upsampling.check_sizes(confidence_name, coarse, features_name, fine)
    return field, confidence


def blend(
    operator: str,
    name: str,
    value: Tensor | None,
    features_name: str,
    features: Tensor,
    confidence: Tensor | None,
) -> Tensor | None:
    """Require a tensor like the features, to be blended in where confidence is low; return it in their dtype."""
    if value is None:
        return None
    floating_tensor(operator, name, value, "B", "C", "H", "W")
    if confidence is None:
        raise ValueError(
            f"{operator}: {name} is given without a confidence, which says how much of it to take; give both, or add "
            "it to the result"
        )
    shape(operator, name, value, tuple(features.shape), f"(that of {features_name})")
    same_device(operator, name, value, features_name, features)
    if value.dtype != features.dtype and torch.float64 in (value.dtype, features.dtype):
        raise TypeError(
            f"{operator}: {name} is {value.dtype} and {features_name} is {features.dtype}; "
            "float64 does not mix with others"
        )
    return value.to(features.dtype)
