"""Changes that make a sample wild: its values are compared, but not its gradients."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tests.support.samples.sample import Sample

Make = Callable[..., Sample]
"""Makes a sample of one operator and dtype: `make(note=..., **parameters)`."""


def every_third(tensor: Tensor, *values: float) -> Tensor:
    """A copy in which every third element is replaced by the next of `values`."""
    copy = tensor.clone(memory_format=torch.contiguous_format)
    places = copy.flatten()[::3]  # a view, because it is contiguous
    places.copy_(torch.tensor(values, dtype=torch.float64).repeat(len(places))[: len(places)])
    return copy


def changed(sample: Sample, note: str, index: int, change: Callable[[Tensor], Tensor]) -> Sample:
    """`sample` with its `index`-th tensor changed."""
    tensors = sample.tensors()
    tensors[index] = change(tensors[index])
    result = sample.with_tensors(tensors)
    return Sample(result.operator, note, result.args, result.kwargs)


def not_finite(sample: Sample) -> Iterator[Sample]:
    """For each of the tensors, one sample with NaN at some places, and one with infinities."""
    for place, tensor in enumerate(sample.tensors()):
        for name, values in (("NaN", (math.nan,)), ("infinite", (math.inf, -math.inf))):
            copy = tensor.clone(memory_format=torch.contiguous_format)
            some = copy.flatten()[2::7]  # a view, because it is contiguous
            some.copy_(torch.tensor(values, dtype=torch.float64).repeat(len(some))[: len(some)])
            yield changed(sample, f"{name} in tensor {place}, {sample.note}", place, lambda _, new=copy: new)


def in_bfloat16(tensor: Tensor) -> Tensor:
    """In bfloat16, unless it is float64, which must not be mixed."""
    return tensor if tensor.dtype == torch.float64 else tensor.bfloat16()


def strange_motions(make: Make, motion: int, modes: Sequence[str]) -> Iterator[Sample]:
    """Fields, or flows, with extreme coordinates: `motion` is the index of that tensor, `modes` the paddings."""
    for mode in modes:
        plain = make(padding_mode=mode)
        for note, values in {
            "NaN": (math.nan,),
            "infinite": (math.inf, -math.inf),
            "huge": (1e30, -1e30, 3e9, -3e9),
            "beyond integers": (2.0**31, -(2.0**31), 2.0**63, -(2.0**63)),
        }.items():
            yield changed(plain, f"{note} coordinates, {mode}", motion, lambda t, v=values: every_third(t, *v))
    for mode in modes:
        still = make(padding_mode=mode)
        yield changed(still, f"no motion, {mode}", motion, torch.zeros_like)  # field 0: all sample the centre
        yield changed(still, f"at the frame's edge, {mode}", motion, lambda t: every_third(t, -1.0, 1.0))
