"""Running a sample on a backend, and how close its results must come to the float64 reference."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import internet
from tests import emulated
from tests.support.samples import Sample

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = {
    "reference": "cpu",
    "cpu": "cpu",
    "cuda": "cpu" if emulated.ASKED else "cuda",
    "triton": "cpu" if INTERPRETED else "cuda",
}
# Backends for GPUs are included if they are ready; the run's header, and test_backend, say if they are not.
BACKENDS = tuple(name for name in DEVICES if name in ("reference", "cpu") or internet.ops.backends()[name].ready)
COMPILED = BACKENDS[1:]


ADDED_IN_ANY_ORDER = {
    "cuda": ("volume_warp", "masked_backwarp_loss", "anchor_features"),
    "triton": ("masked_backwarp_loss", "anchor_features", "confidence_warp", "pyramid_warp", "volume_warp"),
}
"""For each backend, the operators whose gradients are accumulated by atomics, in no fixed order."""


@dataclass(frozen=True)
class Tolerance:
    """Largest relative error: of the whole tensor in the 2-norm, and of one element relative to the largest."""

    norm: float
    element: float


# The unit roundoffs are 1e-16, 6e-8, 4e-3 and 5e-4. Errors in float32 include that of a sample's position in pixels,
# which is several times as large; 16-bit types are computed in float32 and rounded once.
TOLERANCES = {
    torch.float64: Tolerance(1e-12, 1e-11),
    torch.float32: Tolerance(1e-5, 4e-5),
    torch.bfloat16: Tolerance(4e-3, 4e-3),
    torch.float16: Tolerance(5e-4, 5e-4),
}


def require(backend: str, operator: str) -> str:
    """The device of a backend with this operator; otherwise skips the test, with the reason."""
    status = internet.ops.backends()[backend]
    if not status.ready:
        pytest.skip(f"{backend}: {status.reason}")
    if operator in status.fallbacks:
        pytest.skip(f"{backend} leaves {operator} to reference")
    return DEVICES[backend]


def tensors_of(result: Any) -> list[Tensor]:
    """The tensors of an operator's result: one, a list, or a tuple with Nones."""
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def move(tensor: Tensor, device: str) -> Tensor:
    """The tensor on a device, with its memory layout: `Tensor.to` would remove gaps between elements."""
    if tensor.device.type == device:
        return tensor
    storage = tensor.untyped_storage().to(device=torch.device(device))
    there = torch.empty(0, dtype=tensor.dtype, device=device)
    return there.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def evaluate(sample: Sample, backend: str) -> list[Tensor]:
    """The results of a sample on a backend."""
    with internet.ops.backend(backend), torch.no_grad():
        return tensors_of(sample.map(lambda tensor: move(tensor, DEVICES[backend]))())


def cotangents(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Fixed random incoming gradients for these outputs, in their layouts, the same in every dtype up to rounding."""
    generator = torch.Generator().manual_seed(99)
    drawn = [torch.randn(output.shape, generator=generator, dtype=torch.float64) for output in outputs]
    return [torch.empty_like(output).copy_(values) for values, output in zip(drawn, outputs, strict=True)]


def differentiate(
    sample: Sample,
    backend: str,
    wanted: Sequence[int] | None = None,
    incoming: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Gradients of a sample with respect to its tensors, or to those at the indices `wanted`."""
    device = DEVICES[backend]
    wanted = range(len(sample.tensors())) if wanted is None else wanted
    leaves = [move(tensor.detach(), device).detach() for tensor in sample.tensors()]
    for place in wanted:
        leaves[place].requires_grad_()
    with internet.ops.backend(backend):
        outputs = tensors_of(sample.with_tensors(leaves)())
    incoming = cotangents(outputs) if incoming is None else [move(gradient, device) for gradient in incoming]
    sources = [leaves[place] for place in wanted]
    gradients = torch.autograd.grad(outputs, sources, incoming, allow_unused=True)  # a field without pixels
    return [torch.zeros_like(s) if g is None else g for s, g in zip(sources, gradients, strict=True)]


def _scale(size: float) -> float:
    """The scale of relative errors; if the true result cancels to zero, that of the inputs, which is about 1."""
    return size if size > 1e-10 else 1.0


def assert_close(got: Tensor, expected: Tensor, dtype: torch.dtype, what: str = "result", slack: float = 1.0) -> None:
    """Assert that `got`, computed in `dtype`, is the float64 tensor `expected`, and non-finite in the same places.

    `slack` multiplies the tolerance.
    """
    assert got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    got, expected = got.detach().cpu().double(), expected.detach().cpu().double()
    finite = expected.isfinite()
    strange = (got.isfinite() != finite).nonzero()
    assert not len(strange), f"{what}: finite and infinite elements change places, first at {strange[0].tolist()}"
    got, expected = got[finite], expected[finite]
    if not expected.numel():
        return
    tolerance = Tolerance(slack * TOLERANCES[dtype].norm, slack * TOLERANCES[dtype].element)
    difference = (got - expected).abs()
    norm = difference.norm().item() / _scale(expected.norm().item())
    element = difference.max().item() / _scale(expected.abs().max().item())
    assert norm <= tolerance.norm, f"{what} in {dtype}: relative error {norm:.2e}, allowed {tolerance.norm:.0e}"
    assert element <= tolerance.element, (
        f"{what} in {dtype}: largest element's relative error {element:.2e}, allowed {tolerance.element:.0e}"
    )


def assert_all_close(
    got: Sequence[Tensor],
    expected: Sequence[Tensor],
    dtypes: Sequence[torch.dtype],
    what: str = "result",
    slack: float = 1.0,
) -> None:
    """`assert_close` for each."""
    assert len(got) == len(expected)
    for place, (g, e, dtype) in enumerate(zip(got, expected, dtypes, strict=True)):
        assert_close(g, e, dtype, f"{what} {place}", slack)


def assert_identical(got: Sequence[Tensor], expected: Sequence[Tensor], what: str) -> None:
    """Assert bitwise equality, including NaN."""
    assert len(got) == len(expected)
    for place, (g, e) in enumerate(zip(got, expected, strict=True)):
        assert (g.dtype, g.shape) == (e.dtype, e.shape), f"{what} {place}"
        g, e = (t.clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8) for t in (g, e))
        same = g == e
        assert bool(same.all()), f"{what} {place}: {int((~same).sum())} bytes of {same.numel()} differ"


def assert_repeated(got: Sequence[Tensor], expected: Sequence[Tensor], operator: str, backend: str, what: str) -> None:
    """Assert that a repeated call gives the same bits, or up to rounding if the backend's order is not fixed."""
    if operator in ADDED_IN_ANY_ORDER.get(backend, ()):
        assert_all_close(got, expected, [tensor.dtype for tensor in got], what)
    else:
        assert_identical(got, expected, what)
