"""Results that depend only on a model's source (or only on its weights), kept for the next frame."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from internet.accelerate.checksums import checksums
from internet.utils.torch_internals import (
    has_global_hooks,
    inside_forward_mode,
    inside_functorch,
    inside_jit_trace,
    leaves,
    versions,
)

Value = TypeVar("Value")


class SourceCache(Generic[Value]):
    """The result of modules for one source, kept until source, weights or settings change.

    It holds one source. A changed source is noticed: on the CPU, where numpy may share a tensor's memory, it is
    compared by its contents; on other devices, where that would make the host wait, by its address and torch's counter
    of writes into it. Weights are compared by that counter, and on the CPU by checksums too, which catch writes that
    bypass it (`weight.data.mul_`). On a GPU such a write is noticed after a change between `train()` and `eval()`, or
    `load_state_dict`, each of which empties the cache.

    Nothing is kept or reused when gradients may be required, in training, under `torch.compile`, while a CUDA
    graph is captured, under transforms, when modules have hooks that expect to be called, and in the threads of
    DataParallel.
    """

    def __init__(self) -> None:
        self.enabled = True
        self._entry: _Entry[Value] | None = None

    def get(self, source: Tensor, modules: Sequence[nn.Module], make: Callable[[Tensor], Value]) -> Value:
        """`make(source)`, or its earlier result; it must depend only on the source and the modules."""
        if not (self.enabled and is_repeatable(source, modules)):
            return make(source)
        entry = self._entry  # read once: another thread may replace it
        if entry is None or not entry.serves(source, modules):
            entry = self._entry = _Entry.made_by(make, source, modules)
        return entry.value

    def clear(self) -> None:
        self._entry = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles of a model start with an empty cache."""
        return {"enabled": self.enabled, "_entry": None}


def is_repeatable(source: Tensor, modules: Iterable[nn.Module]) -> bool:
    """Whether the result of modules for a source may be computed once and used again."""
    return not (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or type(source) is not Tensor
        or inside_jit_trace()
        or inside_functorch()
        or inside_forward_mode()
        or (source.is_cuda and torch.cuda.is_current_stream_capturing())
        or has_global_hooks()
        or any(must_be_called(part) for module in modules for part in module.modules())
    )


def must_be_called(module: nn.Module) -> bool:
    """Whether it is in training, has hooks, or exists for one call only, in a thread of DataParallel."""
    held = module.__dict__  # hasattr() takes ten times as long where there is none
    return held["training"] or bool(held["_forward_hooks"] or held["_forward_pre_hooks"]) or "_is_replica" in held


def settings(device: torch.device) -> tuple[Any, ...]:
    """The settings on which a result depends."""
    return (
        torch.is_autocast_enabled(device.type),
        torch.get_autocast_dtype(device.type),
        torch.is_inference_mode_enabled(),
    )


class Weights:
    """A record of the parameters and buffers of modules, to detect changes."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._tensors = _tensors(modules)
        self._memory = [_Memory(tensor) for tensor in self._tensors]
        self._checksums = [checksums(tensor) for tensor in self._tensors]

    def are_those_of(self, modules: Sequence[nn.Module]) -> bool:
        now = _tensors(modules)
        return len(now) == len(self._tensors) and all(
            tensor is before and memory.is_unchanged_in(tensor) and _has_checksums(tensor, sums)
            for tensor, before, memory, sums in zip(now, self._tensors, self._memory, self._checksums, strict=True)
        )


def _has_checksums(tensor: Tensor, sums: Tensor | None) -> bool:
    now = None if sums is None else checksums(tensor)
    return sums is None or (now is not None and torch.equal(now, sums))


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Parameters and buffers, in a third of the time of `parameters()` and `buffers()`: before a GPU, time counts."""
    parts = [part for module in modules for part in module.modules()]
    held = [tensor for part in parts for of in (part._parameters, part._buffers) for tensor in of.values()]
    return [tensor for tensor in held if tensor is not None]


class _Memory:
    """The address of a tensor's values and torch's counter of writes into them.

    It keeps the memory from being freed, so that no new tensor can have that address.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._held = tensor.detach()
        self._address, self._layout = self._held.data_ptr(), _layout(tensor)
        self._version = None if tensor.is_inference() else tensor._version

    def is_unchanged_in(self, tensor: Tensor) -> bool:
        """False for an inference tensor, which has no counter of writes."""
        return (
            self._version is not None
            and not tensor.is_inference()
            and tensor._version == self._version
            and tensor.data_ptr() == self._address
            and _layout(tensor) == self._layout
        )


class _Source:
    """A record of a source, to detect changes."""

    def __init__(self, source: Tensor) -> None:
        self._contents = source.detach().clone() if source.device.type == "cpu" else None
        self._memory = None if self._contents is not None else _Memory(source)
        self._layout = _layout(source)

    def is_unchanged_in(self, source: Tensor) -> bool:
        if _layout(source) != self._layout:
            return False
        if self._contents is not None:
            return torch.equal(self._contents, source)
        return self._memory is not None and self._memory.is_unchanged_in(source)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.device, tensor.dtype, tensor.shape, tensor.stride()


@dataclass(frozen=True)
class _Entry(Generic[Value]):
    source: _Source
    weights: Weights
    settings: tuple[Any, ...]
    value: Value
    versions: tuple[int, ...]

    @classmethod
    def made_by(cls, make: Callable[[Tensor], Value], source: Tensor, modules: Sequence[nn.Module]) -> "_Entry[Value]":
        """The inputs are recorded before the call, so that a write during it is seen."""
        origin = _Source(source), Weights(modules), settings(source.device)
        value = make(source)
        return cls(*origin, value, versions(*leaves(value)))

    def serves(self, source: Tensor, modules: Sequence[nn.Module]) -> bool:
        return (
            self.settings == settings(source.device)
            and self.versions == versions(*leaves(self.value))  # a caller may have written into it
            and self.weights.are_those_of(modules)
            and self.source.is_unchanged_in(source)
        )
