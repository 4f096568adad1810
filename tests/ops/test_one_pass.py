"""The loss whose gradients are computed with it: they equal the reference's whatever is done with the graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import internet
from internet.ops.masked_backwarp_loss import _ONE_PASS_DEVICES
from tests.support import samples
from tests.support.calls import Calls
from tests.support.compare import assert_all_close

pytestmark = pytest.mark.skipif("cpu" not in _ONE_PASS_DEVICES, reason="no compiled kernel")

DOUBLE = [torch.float64] * 4
Leaves = list[Tensor]


def leaves_of(sample: samples.Sample) -> Leaves:
    return [tensor.detach().clone().requires_grad_() for tensor in sample.tensors()]


def loss_of(leaves: Leaves) -> Tensor:
    return internet.ops.masked_backwarp_loss(*leaves)


@pytest.fixture
def sample() -> samples.Sample:
    return samples.build("masked_backwarp_loss", torch.float64, size=(40, 24), ratio=4)


@pytest.fixture
def expected(sample: samples.Sample) -> Leaves:
    """The gradients of the loss itself."""
    leaves = leaves_of(sample)
    with internet.ops.backend("reference"):
        return list(torch.autograd.grad(loss_of(leaves), leaves))


@pytest.mark.parametrize("factor", [1.0, -2.5, 0.0])
def test_scaled(sample: samples.Sample, expected: Leaves, factor: float) -> None:
    leaves = leaves_of(sample)
    got = torch.autograd.grad(factor * loss_of(leaves), leaves)
    assert_all_close(got, [factor * gradient for gradient in expected], DOUBLE)


def test_a_graph_that_is_kept_gives_the_same_again(sample: samples.Sample, expected: Leaves) -> None:
    """Even if the first result was overwritten."""
    leaves = leaves_of(sample)
    loss = loss_of(leaves)
    for factor in (1.0, 3.0, 1.0):
        got = torch.autograd.grad(loss, leaves, torch.tensor(factor).double(), retain_graph=True)
        assert_all_close(got, [factor * gradient for gradient in expected], DOUBLE)
        for gradient in got:
            gradient.fill_(float("nan"))


def test_accumulated_in_leaves(sample: samples.Sample, expected: Leaves) -> None:
    leaves = leaves_of(sample)
    loss = loss_of(leaves)
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    (0.5 * loss).backward()
    assert_all_close([leaf.grad for leaf in leaves], [2.5 * gradient for gradient in expected], DOUBLE)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(sample: samples.Sample, expected: Leaves, reentrant: bool) -> None:
    leaves = leaves_of(sample)
    loss = checkpoint(lambda *tensors: loss_of(list(tensors)), *leaves, use_reentrant=reentrant)
    assert_all_close(torch.autograd.grad(loss, leaves) if not reentrant else _backward(loss, leaves), expected, DOUBLE)


def _backward(loss: Tensor, leaves: Leaves) -> Leaves:
    loss.backward()
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def test_checkpoint_keeps_no_gradients(sample: samples.Sample) -> None:
    """They are saved as tensors of the graph, which hooks may replace: so checkpoint() and offloading work."""
    packed: list[Tensor] = []
    leaves = leaves_of(sample)

    def pack(tensor: Tensor) -> int:
        packed.append(tensor.clone())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda place: packed[place]):
        loss = loss_of(leaves)
    kept = packed[len(leaves) :]
    assert [tensor.shape for tensor in kept] == [leaf.shape for leaf in leaves]
    assert_all_close(torch.autograd.grad(loss, leaves), kept, DOUBLE)


def test_several_incoming_gradients_at_once(sample: samples.Sample, expected: Leaves) -> None:
    leaves = leaves_of(sample)
    factors = torch.tensor([1.0, -3.0]).double()
    got = torch.autograd.grad(loss_of(leaves), leaves, factors, is_grads_batched=True)
    for place, factor in enumerate(factors):
        assert_all_close([g[place] for g in got], [factor * gradient for gradient in expected], DOUBLE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bits_are_rounded_once(dtype: torch.dtype) -> None:
    """A mean's gradients are too small for float16 until they are multiplied by a scaler's factor."""
    sample = samples.build("masked_backwarp_loss", dtype, size=(40, 24))
    leaves, doubles = leaves_of(sample), leaves_of(sample.upcast())
    got = torch.autograd.grad(2.0**16 * loss_of(leaves), leaves)
    with internet.ops.backend("reference"):
        wanted = torch.autograd.grad(2.0**16 * loss_of(doubles), doubles)
    assert_all_close(got, wanted, [leaf.dtype for leaf in leaves])
    assert [gradient.dtype for gradient in got] == [leaf.dtype for leaf in leaves]


RUNS: dict[str, Callable[[Leaves], object]] = {
    "without grad": lambda leaves: torch.no_grad()(loss_of)(leaves),
    "in inference mode": lambda leaves: torch.inference_mode()(loss_of)(leaves),
    "constants": lambda leaves: loss_of([leaf.detach() for leaf in leaves]),
}


@pytest.mark.parametrize("run", RUNS)
def test_no_gradient_is_computed_in_vain(sample: samples.Sample, run: str) -> None:
    with Calls() as calls:
        RUNS[run](leaves_of(sample))
    assert [function.__name__ for function, _ in calls.made] == ["masked_backwarp_loss.default"]


def test_the_loss_has_the_same_bits_with_and_without_gradients() -> None:
    sample = samples.build("masked_backwarp_loss", torch.float32, size=(130, 70), margin=0)
    leaves = leaves_of(sample)
    assert torch.equal(loss_of(leaves).detach(), loss_of([leaf.detach() for leaf in leaves]))
