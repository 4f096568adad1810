"""One set of sample inputs for every operator, shared by all tests, with a module for each operator.

`build(operator, dtype, **parameters)` makes one sample; `samples(operator, dtype)` the tests' list, and
`samples(operator, dtype, wild=True)` those whose values are compared but not their gradients.

An operator's module has `arguments`, which draws the arguments of a call, and what to draw: `TAME`, the parameters of
its samples by what is special about them; `wild`, which makes the wild ones; and `LARGE`, sizes beyond one vector, tile
or band of rows, and not multiples of any.
"""

import functools
from types import ModuleType
from typing import Any

import torch

from tests.support.samples import (
    affine_mixture,
    anchor_features,
    confidence_warp,
    flow_confidence,
    masked_backwarp_loss,
    pyramid_warp,
    soft_argmax,
    upsample_motion,
    volume_warp,
)
from tests.support.samples.layouts import LAYOUTS
from tests.support.samples.sample import Sample
from tests.support.samples.source import MARGIN, Source

__all__ = ["DIFFERENTIABLE", "DTYPES", "LAYOUTS", "OPERATORS", "Sample", "build", "large_samples", "samples"]

_MODULES: dict[str, ModuleType] = {
    "affine_mixture": affine_mixture,
    "upsample_motion": upsample_motion,
    "confidence_warp": confidence_warp,
    "pyramid_warp": pyramid_warp,
    "volume_warp": volume_warp,
    "masked_backwarp_loss": masked_backwarp_loss,
    "flow_confidence": flow_confidence,
    "soft_argmax": soft_argmax,
    "anchor_features": anchor_features,
}
OPERATORS = tuple(_MODULES)
DIFFERENTIABLE = tuple(name for name in OPERATORS if name != "flow_confidence")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def build(
    operator: str,
    dtype: torch.dtype,
    *,
    note: str = "",
    layout: str = "contiguous",
    seed: int = 0,
    margin: float = MARGIN,
    **parameters: Any,
) -> Sample:
    """One sample of `operator`, with sizes and options as parameters of its `arguments`.

    A large sample has too many positions to keep all clear of whole pixels; a margin of 0 switches that off.
    """
    args, kwargs = _MODULES[operator].arguments(Source(dtype, layout, seed, margin), **parameters)
    return Sample(operator, note, args, kwargs)


def samples(operator: str, dtype: torch.dtype, *, wild: bool = False) -> list[Sample]:
    """The tests' samples of one operator: tame, for values and gradients, or wild, for values only."""
    module = _MODULES[operator]
    if wild:
        return list(module.wild(functools.partial(build, operator, dtype)))
    named = module.TAME.items()
    return [build(operator, dtype, note=note, seed=seed, **parameters) for seed, (note, parameters) in enumerate(named)]


def large_samples(operator: str, dtype: torch.dtype, layout: str) -> list[Sample]:
    """The tests' large samples of one operator, which do not keep clear of whole pixels."""
    return [
        build(operator, dtype, note=f"large, number {number}", layout=layout, margin=0, **parameters)
        for number, parameters in enumerate(_MODULES[operator].LARGE)
    ]
