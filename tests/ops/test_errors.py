"""Every documented error of every operator names the operator, the argument, what was given and what was expected."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.samples import OPERATORS

# The tensor arguments of each operator's sample, by name, in order.
ARGUMENTS = {
    "affine_mixture": ("logits", "kp_source", "kp_driving", "jac_source", "jac_driving", "background"),
    "upsample_motion": ("field", "confidence"),
    "confidence_warp": ("features", "field", "confidence"),
    "pyramid_warp": ("features", "field", "confidence"),
    "volume_warp": ("volume", "field", "confidence"),
    "masked_backwarp_loss": ("output", "target", "flow", "confidence"),
    "flow_confidence": ("flow_forward", "flow_backward"),
    "soft_argmax": ("logits", "jacobian_map"),
    "anchor_features": (
        *("source", "kp_source", "kp_driving", "jac_source", "jac_driving"),
        *("background", "covariance_source", "covariance_driving"),
    ),
}
# Parameters of the sample with which all of them exist.
PARAMETERS: dict[str, dict[str, Any]] = {
    "affine_mixture": {"background": True},
    "anchor_features": {"background": True, "covariances": True},
}
FOUR_DTYPES = "expected float32, float64, float16 or bfloat16"


@dataclass(frozen=True)
class Wrong:
    """A call with some arguments changed, and the error it must raise: its type, and all of these words."""

    operator: str
    changes: dict[str, Any]
    error: type[Exception]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.operator}-{'-'.join(self.changes)}-{self.words[-1]}"


def call(operator: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """The operator's plain sample, with arguments replaced, or changed if the change is a function."""
    sample = samples.build(operator, dtype, **PARAMETERS.get(operator, {}))
    arguments = {**dict(zip(ARGUMENTS[operator], sample.args, strict=False)), **sample.kwargs}
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    return getattr(internet.ops, operator)(**arguments)


def of_each(change: Callable[[Tensor], Any]) -> Callable[[Any], Any]:
    """`change` of a tensor, or of the second of a list."""
    return lambda value: [value[0], change(value[1])] if isinstance(value, list) else change(value)


def named(operator: str, argument: str) -> str:
    return "features[1]" if (operator, argument) == ("pyramid_warp", "features") else argument


def general() -> list[Wrong]:
    """Errors for every tensor argument of every operator."""
    wrong = []
    for operator, arguments in ARGUMENTS.items():
        for argument in arguments:
            name = named(operator, argument)
            wrong += [
                Wrong(operator, {argument: of_each(Tensor.int)}, TypeError, (name, "torch.int32", FOUR_DTYPES)),
                Wrong(operator, {argument: of_each(Tensor.tolist)}, TypeError, (name, "got list", "must be a Tensor")),
                Wrong(
                    operator,
                    {argument: of_each(lambda t: t[..., None, None])},  # with one more axis it may be a volume
                    ValueError,
                    (name, "has shape", "expected ("),
                ),
                Wrong(operator, {argument: of_each(lambda t: t[0])}, ValueError, (name, "has shape", "expected (B")),
            ]
        for argument in arguments[1:]:
            wrong += [
                Wrong(operator, {argument: lambda t: t[:1]}, ValueError, (argument, "has shape (1,", "expected (2,")),
                Wrong(
                    operator, {argument: lambda t: t.to("meta")}, RuntimeError, (argument, "is on meta", "is on cpu")
                ),
                Wrong(operator, {argument: Tensor.double}, TypeError, (argument, "float64", "float32")),
            ]
    return wrong


def both(operator: str, *pairs: tuple[dict[str, Any], tuple[str, ...]]) -> list[Wrong]:
    return [Wrong(operator, changes, ValueError, words) for changes, words in pairs]


def anchored(operator: str) -> list[Wrong]:
    """Errors for the anchors of operators that have them."""
    return both(
        operator,
        ({"jac_source": None}, ("jac_source is None", "give both or neither")),
        ({"jac_driving": None}, ("jac_driving is None", "give both or neither")),
        ({"kp_driving": lambda t: t[:, :1]}, ("kp_driving", "has shape (2, 1, 2)", "anchors of kp_source")),
        ({"kp_source": lambda t: t[..., :1]}, ("kp_source", "expected (2, ", ", 2)")),
        ({"jac_driving": lambda t: t[..., :1]}, ("jac_driving", "expected (2, ", ", 2, 2)")),
        ({"jac_source": lambda t: t[:, :1]}, ("jac_source", "has shape (2, 1, 2, 2)", "expected (2, ")),
    )


def warping(operator: str, features: str) -> list[Wrong]:
    def tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
        return [change(value[0])] if isinstance(value, list) else change(value)

    ratio = "must be the same power of two"
    return both(
        operator,
        ({"features": lambda v: tensor(v, lambda t: torch.zeros(2, 3, 9, 15))}, (features, "9x15", "3x5", ratio)),
        ({"features": lambda v: tensor(v, lambda t: torch.zeros(2, 3, 6, 5))}, (features, "6x5", "3x5", ratio)),
        ({"features": lambda v: tensor(v, lambda t: torch.zeros(2, 3, 2, 4))}, (features, "2x4", "3x5", ratio)),
        ({"features": lambda v: tensor(v, lambda t: torch.zeros(2, 3, 7, 11))}, (features, "7x11", "3x5", ratio)),
        ({"field": lambda t: t[..., :1]}, ("field has shape (2, 3, 5, 1)", "expected (2, 3, 5, 2)")),
        ({"field": lambda t: t.permute(0, 3, 1, 2)}, ("field has shape (2, 2, 3, 5)", "x and y")),
        ({"confidence": lambda t: t.expand(2, 2, 3, 5)}, ("confidence has shape (2, 2, 3, 5)", "(2, 1, 3, 5)")),
        ({"confidence": lambda t: t[..., :4]}, ("confidence is 3x4", f"{features} is 3x5", ratio)),
        ({"upsampling": "bilinear"}, ("upsampling is 'bilinear'", "expected 'progressive' or 'interpolate'")),
        ({"interpolate_align_corners": True}, ("interpolate_align_corners is True", "upsampling is 'progressive'")),
        (
            {"upsampling": "interpolate", "field": lambda t: t[:, :0]},
            ("field is 0x5", "no pixel to interpolate", f"{features}, 3x5"),
        ),
        (
            {"upsampling": "interpolate", "confidence": lambda t: t[..., :0]},
            ("confidence is 3x0", "no pixel to interpolate", f"{features}, 3x5"),
        ),
        (
            {"align_corners": True, "features": lambda v: tensor(v, lambda t: torch.zeros(2, 3, 6, 10))},
            ("align_corners is True", f"{features} is 6x10", "field is 3x5", 'upsampling="interpolate"'),
        ),
        ({"padding_mode": "reflection"}, ("padding_mode", "'reflection'", "expected 'zeros' or 'border'")),
        ({"padding_mode": None}, ("padding_mode", "None", "expected 'zeros' or 'border'")),
    )


SPECIAL = [
    *anchored("affine_mixture"),
    *anchored("anchor_features"),
    *warping("confidence_warp", "features"),
    *warping("pyramid_warp", "features[0]"),
    *both(
        "affine_mixture",
        ({"threshold": 0.25}, ("threshold is 0.25", "expected 0 <= threshold < 1/(K+1) = 0.25")),
        ({"threshold": -0.1}, ("threshold is -0.1", "expected 0 <= threshold")),
        ({"threshold": float("nan")}, ("threshold is nan", "expected 0 <= threshold")),
        ({"logits": lambda t: t[:, 1:]}, ("logits has 3 channels", "expected 4", "3 anchors of kp_source")),
        ({"logits": lambda t: torch.cat([t, t], 1)}, ("logits has 8 channels", "expected 4")),
        ({"logits": lambda t: t[:, :, 0]}, ("(B, K+1, H, W) or (B, K+1, D, H, W)",)),
        (
            {"logits": lambda t: t[:, :, None]},
            ("kp_source has shape (2, 3, 2)", "expected (2, 3, 3)", "axes of logits"),
        ),
        ({"background": lambda t: t[:, :2]}, ("background has shape (2, 2, 3)", "expected (2, 3, 3)", "homogeneous")),
        ({"background": lambda t: t[:, :2, :2]}, ("background has shape (2, 2, 2)", "expected (2, 3, 3)")),
    ),
    *both(
        "upsample_motion",
        ({"field": lambda t: t[..., :1]}, ("field has shape (2, 3, 5, 1)", "expected (2, 3, 5, 2)")),
        ({"confidence": lambda t: t[:, :, :2]}, ("confidence has shape (2, 1, 2, 5)", "expected (2, 1, 3, 5)")),
        ({"confidence": lambda t: t.expand(2, 3, 3, 5)}, ("confidence has shape (2, 3, 3, 5)", "one channel")),
    ),
    *both(
        "volume_warp",
        ({"volume": lambda t: t[:, :, 0]}, ("volume has shape (2, 3, 4, 5)", "expected (B, C, D, H, W)")),
        ({"field": lambda t: t[:, 0]}, ("field has shape (2, 3, 4, 3)", "expected (B, d, h, w, 3)")),
        ({"field": lambda t: t[..., :2]}, ("field has shape (2, 2, 3, 4, 2)", "expected (2, 2, 3, 4, 3)", "x and y")),
        ({"confidence": lambda t: t[:, :, :1]}, ("confidence has shape (2, 1, 1, 3, 4)", "the size of field")),
        ({"confidence": lambda t: t.expand(2, 3, 2, 3, 4)}, ("confidence has shape (2, 3, 2", "one channel")),
        ({"padding_mode": "reflection"}, ("padding_mode", "'reflection'", "expected 'zeros' or 'border'")),
    ),
    *both(
        "masked_backwarp_loss",
        ({"norm": "L1"}, ("norm is 'L1'", "expected 'l1' or 'l2' or 'charbonnier'")),
        ({"reduction": "max"}, ("reduction is 'max'", "expected 'mean' or 'sum' or 'none'")),
        ({"padding_mode": "reflection"}, ("padding_mode", "'reflection'", "'border' or 'zeros' or 'valid'")),
        ({"target": lambda t: t[:, :2]}, ("target has shape (2, 2, 4, 6)", "expected (2, 3, 4, 6)")),
        ({"flow": lambda t: t[:, :1]}, ("flow has shape (2, 1, 4, 6)", "expected (2, 2, 4, 6)")),
        ({"flow": lambda t: t[..., :5]}, ("flow has shape (2, 2, 4, 5)", "expected (2, 2, 4, 6)")),
        ({"confidence": lambda t: t.expand(2, 3, 2, 3)}, ("confidence has shape (2, 3, 2, 3)", "one channel")),
        ({"confidence": lambda t: torch.ones(2, 1, 3, 6)}, ("confidence is 3x6", "output is 4x6", "power of two")),
        ({"confidence": lambda t: torch.ones(2, 1, 4, 3)}, ("confidence is 4x3", "output is 4x6", "power of two")),
        ({"confidence": lambda t: torch.ones(2, 1, 8, 12)}, ("confidence is 8x12", "output is 4x6", "power of two")),
    ),
    *both(
        "flow_confidence",
        ({"flow_forward": lambda t: t[:, :1]}, ("flow_forward has shape (2, 1, 7, 9)", "expected (2, 2, 7, 9)")),
        ({"flow_backward": lambda t: t[..., 1:]}, ("flow_backward has shape (2, 2, 7, 8)", "expected (2, 2, 7, 9)")),
    ),
    *both(
        "soft_argmax",
        ({"temperature": 0.0}, ("temperature is 0.0", "expected a positive number")),
        ({"temperature": -1.0}, ("temperature is -1.0", "expected a positive number")),
        ({"temperature": float("nan")}, ("temperature is nan", "expected a positive number")),
        ({"logits": lambda t: t[..., :0]}, ("logits has shape (2, 3, 5, 0)", "at least one pixel")),
        (
            {"jacobian_map": lambda t: torch.zeros(2, 2, 4, 5, 7)},
            ("jacobian_map has shape (2, 2, 4", "expected (2, 3, 4"),
        ),
        ({"jacobian_map": lambda t: t[:, :, :3]}, ("jacobian_map has shape (2, 1, 3", "expected (2, 1, 4")),
        ({"jacobian_map": lambda t: t[..., 1:]}, ("jacobian_map has shape", "expected (2, 1, 4, 5, 7)")),
    ),
    *both(
        "anchor_features",
        ({"variance": 0.0}, ("variance is 0.0", "expected a positive number")),
        ({"variance": float("nan")}, ("variance is nan", "expected a positive number")),
        ({"covariance_source": None}, ("covariance_source is None", "the other covariance is given")),
        ({"covariance_driving": None}, ("covariance_driving is None", "give both or neither")),
        ({"covariance_driving": lambda t: t[:, :1]}, ("covariance_driving has shape (2, 1, 2, 2)", "anchors of")),
        ({"source": lambda t: t[..., None]}, ("kp_source has shape (2, 2, 2)", "expected (2, 2, 3)")),
    ),
    Wrong("pyramid_warp", {"features": torch.zeros(2, 3, 3, 5)}, TypeError, ("features", "sequence", "got Tensor")),
    Wrong("pyramid_warp", {"features": None}, TypeError, ("features", "sequence of Tensors", "got NoneType")),
    Wrong(
        "pyramid_warp",
        {"features": lambda v: [v[0], v[1].half()]},
        TypeError,
        ("features[1]", "float16", "features[0]"),
    ),
    *both(
        "confidence_warp",
        ({"blend": torch.ones(2, 3, 3, 5), "confidence": None}, ("blend is given without a confidence", "give both")),
        ({"blend": torch.ones(2, 3, 3, 4)}, ("blend has shape (2, 3, 3, 4)", "expected (2, 3, 3, 5)", "of features")),
        ({"blend": torch.ones(3, 3, 5)}, ("blend has shape (3, 3, 5)", "expected (B, C, H, W)")),
    ),
    Wrong("confidence_warp", {"blend": 1.0}, TypeError, ("blend must be a Tensor", "got float")),
    Wrong("confidence_warp", {"blend": torch.ones(2, 3, 3, 5).int()}, TypeError, ("blend", "torch.int32", FOUR_DTYPES)),
    Wrong(
        "confidence_warp",
        {"blend": torch.ones(2, 3, 3, 5).double()},
        TypeError,
        ("blend is torch.float64", "features is torch.float32", "does not mix"),
    ),
    Wrong(
        "confidence_warp",
        {"blend": torch.ones(2, 3, 3, 5, device="meta")},
        RuntimeError,
        ("blend is on meta", "features is on cpu"),
    ),
    *both(
        "pyramid_warp",
        ({"confidence": lambda t: [t]}, ("confidence has length 1", "expected 2, one entry for each level")),
        ({"confidence": lambda t: [t, t[..., :4]]}, ("confidence[1] is 3x4", "features[1] is 6x10", "power of two")),
        ({"confidence": lambda t: [None, t[:1]]}, ("confidence[1] has shape (1, 1, 3, 5)", "expected (2, 1, 3, 5)")),
        ({"blend": [None]}, ("blend has length 1", "expected 2, one entry for each level")),
        ({"blend": [None, torch.ones(2, 2, 6, 9)]}, ("blend[1] has shape (2, 2, 6, 9)", "that of features[1]")),
        (
            {"confidence": lambda t: [t, None], "blend": [None, torch.ones(2, 2, 6, 10)]},
            ("blend[1] is given without a confidence",),
        ),
    ),
    Wrong("pyramid_warp", {"confidence": 0.5}, TypeError, ("confidence must be a sequence", "got float")),
    Wrong("pyramid_warp", {"blend": torch.ones(2, 3, 3, 5)}, TypeError, ("blend must be a sequence", "got Tensor")),
    Wrong("soft_argmax", {"jacobian_map": Tensor.half}, TypeError, ("jacobian_map", "float16", "float32")),
    Wrong("flow_confidence", {"flow_backward": Tensor.half}, TypeError, ("flow_backward", "float16", "float32")),
]


@pytest.mark.parametrize("wrong", [*general(), *SPECIAL], ids=str)
def test_errors(wrong: Wrong) -> None:
    with pytest.raises(wrong.error) as caught:
        call(wrong.operator, **wrong.changes)
    message = str(caught.value)
    assert message.startswith(f"{wrong.operator}: "), message
    for words in wrong.words:
        assert words in message, message


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name not in ("flow_confidence", "soft_argmax")])
def test_float32_coordinates_beside_float64_data(operator: str) -> None:
    """The other way of mixing dtypes, which would suggest more precision than there is."""
    names = ARGUMENTS[operator][-2:] if operator != "upsample_motion" else ("confidence",)
    for name in names:
        with pytest.raises(TypeError, match=rf"{operator}: {name} is torch.float32 and .* is torch.float64"):
            call(operator, torch.float64, **{name: Tensor.float})


def test_the_first_wrong_thing_leaves_the_inputs_alone() -> None:
    logits = torch.randn(2, 4, 5, 7, requires_grad=True)
    with pytest.raises(ValueError, match=re.escape("threshold is 1.0")):
        internet.ops.affine_mixture(logits, torch.zeros(2, 3, 2), torch.zeros(2, 3, 2), threshold=1.0)
    assert logits.grad is None


def test_no_features_are_no_results() -> None:
    assert internet.ops.pyramid_warp([], torch.zeros(1, 2, 3, 2)) == []
