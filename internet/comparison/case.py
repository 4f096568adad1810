"""One workload's tensors on a device, its two passes, and the least number of bytes they must move."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from internet.comparison.inputs import Inputs, size_in_bytes, tensors

Function = Callable[..., Any]


class Case:
    """A workload's tensors on a device, and its two passes for any function with the operator's signature."""

    def __init__(self, inputs: Inputs, trained: tuple[str, ...], function: Function) -> None:
        self.inputs = inputs
        self.leaves = {name: _leaves(value) if name in trained else value for name, value in inputs.items()}
        self.wanted = tensors([self.leaves[name] for name in trained])
        with torch.no_grad():
            self.outputs_like = tensors(function(**inputs))
        self.grad_outputs = [torch.full_like(output, 1 / output.numel()) for output in self.outputs_like]

    def forward(self, function: Function) -> Callable[[], Any]:
        """A call of `function` that saves nothing for a backward pass."""

        def run() -> Any:
            with torch.no_grad():
                return function(**self.inputs)

        return run

    def forward_backward(self, function: Function) -> Callable[[], Any]:
        """A call of `function` and the gradients of the trained inputs; returns both."""

        def run() -> Any:
            outputs = tensors(function(**self.leaves))
            gradients = torch.autograd.grad(outputs, self.wanted, self.grad_outputs)
            return outputs, gradients

        return run

    def passes(self, function: Function) -> dict[str, Callable[[], Any]]:
        """By name: "forward", and "forward+backward" if there is a gradient."""
        found = {"forward": self.forward(function)}
        if self.wanted:
            found["forward+backward"] = self.forward_backward(function)
        return found

    def fewest_bytes(self, name: str) -> int:
        """The bytes that a pass must move if it stores no intermediate results.

        Forward, the inputs are read once and the outputs written once. Backward, the gradients of the outputs
        and the inputs, which are no longer in a cache, are read once and the requested gradients are written once.
        """
        forward = size_in_bytes(self.inputs) + size_in_bytes(self.outputs_like)
        if name == "forward":
            return forward
        return forward + size_in_bytes(self.grad_outputs) + size_in_bytes(self.inputs) + size_in_bytes(self.wanted)


def _leaves(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().requires_grad_()
    return [_leaves(item) for item in value]
