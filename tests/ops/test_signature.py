"""Checks that are made once for each signature: what is checked again, and what is not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from internet import ops
from internet.ops import _signature
from internet.ops._signature import once_a_signature


class Check:
    """Takes a tensor of two axes to float32, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0
        self.once = once_a_signature(self.check)

    def check(self, tensor: Tensor, option: Any) -> tuple[Any, ...]:
        self.calls += 1
        if tensor.dim() != 2:
            raise ValueError("tensor: expected two axes")
        return tensor.float(), option


def test_a_call_like_an_earlier_one_is_not_checked_again() -> None:
    check = Check()
    first, second = torch.rand(3, 4), torch.rand(3, 4)
    assert check.once(first, "word")[0] is first
    assert check.once(second, "word")[0] is second
    assert check.calls == 1


@pytest.mark.parametrize(
    "other",
    [
        (torch.rand(4, 3), "word"),
        (torch.rand(3, 4, dtype=torch.float64), "word"),
        (torch.rand(3, 4, device="meta"), "word"),
        (torch.nn.Parameter(torch.rand(3, 4)), "word"),
        (torch.rand(3, 4), "another"),
        (torch.rand(3, 4), None),
    ],
    ids=["shape", "dtype", "device", "type", "option", "none"],
)
def test_any_difference_is_checked(other: tuple[Any, Any]) -> None:
    check = Check()
    check.once(torch.rand(3, 4), "word")
    check.once(*other)
    assert check.calls == 2


def test_what_is_converted_is_converted_every_time() -> None:
    check = Check()
    for _ in range(2):
        assert check.once(torch.rand(3, 4, dtype=torch.float64), None)[0].dtype is torch.float32
    assert check.calls == 2


def test_what_is_refused_is_refused_every_time() -> None:
    check = Check()
    for _ in range(2):
        with pytest.raises(ValueError, match="two axes"):
            check.once(torch.rand(3), None)


def test_what_cannot_be_hashed_is_checked() -> None:
    check = Check()
    for _ in range(2):
        check.once(torch.rand(3, 4), ["a list"])
    assert check.calls == 2


def test_so_many_signatures_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_signature, "MOST", 2)
    check, tensor = Check(), torch.rand(3, 4)
    for option in (0, 1, 2, 0):  # the third finds no room, so the first is forgotten
        check.once(tensor, option)
    assert check.calls == 4
    check.once(tensor, 0)
    assert check.calls == 4


def test_an_operator_refuses_what_does_not_fit_after_what_did() -> None:
    field = torch.rand(1, 4, 4, 2)
    ops.upsample_motion(field, torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"confidence has shape \(1, 1, 4, 5\)"):
        ops.upsample_motion(field, torch.rand(1, 1, 4, 5))
