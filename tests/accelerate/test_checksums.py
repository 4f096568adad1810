"""Whether memory was written to, where torch does not count writes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from internet.accelerate.checksums import BLOCK, checksums


def values(count: int) -> Tensor:
    return torch.arange(count) % 97


MAKERS: dict[str, Callable[[], Tensor]] = {
    "few": lambda: values(3),
    "whole blocks": lambda: values(2 * BLOCK),
    "and some more": lambda: values(2 * BLOCK + 3),
    "channels_last": lambda: values(1152).view(32, 4, 3, 3).to(memory_format=torch.channels_last),
    "part of a tensor": lambda: values(900).view(30, 30)[1:, 2:],
    "every second row, transposed": lambda: values(900).view(30, 30).t()[::2],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8])
@pytest.mark.parametrize("name", MAKERS)
def test_a_write_to_any_value(name, dtype):
    weight = MAKERS[name]().to(dtype)
    before = checksums(weight)
    for at in torch.ones(weight.shape).nonzero()[::7].tolist():
        value = weight[tuple(at)].item()
        weight.data[tuple(at)] = 100
        assert not torch.equal(checksums(weight), before), at
        weight.data[tuple(at)] = value
        assert torch.equal(checksums(weight), before)


def test_rows_that_change_places():
    weight = torch.rand(8, BLOCK)
    before = checksums(weight)
    weight.data[[0, 1]] = weight.data[[1, 0]]
    assert not torch.equal(checksums(weight), before)


@pytest.mark.parametrize("count", [3, BLOCK])
def test_bits_are_compared(count):
    """A value that is not a number is the same as before, and a zero of the other sign is another."""
    unknown, zeros = torch.full((count,), torch.nan), torch.zeros(count)
    assert torch.equal(checksums(unknown), checksums(unknown.clone()))
    assert not torch.equal(checksums(zeros), checksums(zeros.index_fill(0, torch.tensor(1), -0.0)))


def test_few_values_are_a_copy_of_their_bits():
    weight = torch.rand(3)
    before = checksums(weight)
    weight.data.zero_()
    assert before.any()
    assert checksums(torch.empty(0, 3)) is None
    assert checksums(weight.to("meta")) is None
    assert len(checksums(torch.tensor(1.0))) == 1
    assert torch.equal(
        checksums(torch.ones(2, dtype=torch.complex128)), torch.ones(2, dtype=torch.complex128).view(torch.uint8)
    )
