"""Check that a replacement computes the same as a module's own code, which names and attributes cannot guarantee.

Derived repositories keep names and change code. So both are called with the same small random arguments.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from internet.accelerate.examples import Arguments, Random
from internet.accelerate.replacement import Part, Replacement, original_class, put_back, replace

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""The tolerance, relative to an output's largest value; different computations differ by far more."""


def replace_if_equal(module: nn.Module, part: Part) -> tuple[bool, str]:
    """Replace a module's code unless results change; returns whether it was replaced, and a remark for the report.

    The module is called in evaluation mode, without gradients and without its hooks.
    """
    if "forward" in vars(module):
        return False, "all: its forward was set on the instance, and goes before that of any class"
    if overridden := part.overridden_in(module):
        own = f"{original_class(module).__name__} has its own {', '.join(sorted(overridden))}"
        return False, f"all: {own}, and what replaces {part.class_name}'s would go before it"
    training = {submodule: submodule.training for submodule in module.modules()}
    for submodule in training:  # not by eval(), which a class may override
        submodule.training = False
    try:
        return _replace_unless_other(module, part)
    finally:
        for submodule, mode in training.items():
            submodule.training = mode
            if isinstance(submodule, Replacement):
                submodule.forget()


def _replace_unless_other(module: nn.Module, part: Part) -> tuple[bool, str]:
    weights = itertools.chain(module.parameters(), module.buffers())
    like = next((tensor for tensor in weights if tensor.is_floating_point()), None)
    try:
        arguments = None if like is None or like.is_meta else part.example(module, Random(like.detach()))
    except Exception as error:  # other people's modules may be built in any way
        return False, f"all: it is not built as the one known here ({_first_line(error)})"
    if like is None or arguments is None:
        replace(module, part.replacement)
        return True, part.left
    return _replace_if_same_result(module, part, arguments, like.device)


def _called(module: nn.Module, arguments: Arguments, device: torch.device) -> Any:
    """The result in full precision. Every call draws the same random numbers and leaves the generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.no_grad(),
        _without_tf32(),
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng(devices),
    ):
        return module.forward(**arguments)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """On a GPU, convolutions round float32 to TF32 unless told otherwise: the same sums in another order, or in another
    layout, then differ by more than two models do."""
    settings: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision


def _replace_if_same_result(
    module: nn.Module, part: Part, arguments: Arguments, device: torch.device
) -> tuple[bool, str]:
    try:
        theirs = _called(module, arguments, device)
    except Exception as error:  # other people's code may raise anything
        replace(module, part.replacement)
        uncompared = f"not compared, its own code does not run here ({_first_line(error)})"
        return True, "; ".join(filter(None, (part.left, uncompared)))
    replace(module, part.replacement)
    try:
        difference = _difference(theirs, _called(module, arguments, device), "its result")
    except Exception as error:
        difference = f"the replacement failed on it ({_first_line(error)})"
    if difference is None:
        return True, part.left
    assert isinstance(module, Replacement)
    put_back(module)
    return False, f"all: its code is not the one known here; {difference}"


def _difference(theirs: Any, ours: Any, name: str) -> str | None:
    """Where two results differ, in words; None if they are equal."""
    if isinstance(theirs, Tensor):
        return _difference_of_tensors(theirs, ours, name)
    if isinstance(theirs, Mapping):
        if set(theirs) != set(ours):
            return f"{name} has {sorted(theirs)}, the replacement's {sorted(ours)}"
        pairs = [(theirs[key], ours[key], f"{name}[{key!r}]") for key in theirs]
    elif isinstance(theirs, Sequence) and not isinstance(theirs, str):
        pairs = [(a, b, f"{name}[{i}]") for i, (a, b) in enumerate(zip(theirs, ours, strict=True))]
    else:
        return None if theirs == ours else f"{name} is {theirs!r}, the replacement's {ours!r}"
    return next(filter(None, (_difference(*pair) for pair in pairs)), None)


def _difference_of_tensors(theirs: Tensor, ours: Any, name: str) -> str | None:
    if not isinstance(ours, Tensor) or theirs.shape != ours.shape:
        return f"{name} has another shape than the replacement's"
    if not theirs.numel():
        return None
    scale, error = theirs.double().abs().max().item(), (theirs.double() - ours.double()).abs().max().item()
    if error <= TOLERANCE.get(theirs.dtype, 0.0) * scale:
        return None
    return f"{name} differs by {error:.2g} where its values go to {scale:.2g}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
