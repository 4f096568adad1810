"""The part of a model between its convolutional networks, measured alone: its time and its memory."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import internet
from benchmarks.models.checkouts import Checkout
from internet.accelerate.replacement import original_class

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


class Part:
    """A copy of a model whose networks return recorded results of one frame, so that only the rest is computed.

    Args:
        model: as its authors wrote it, or accelerated; not changed. The source is never cached here.
        checkout: defines the classes whose code makes up the part.
    """

    def __init__(self, model: nn.Module, checkout: Checkout) -> None:
        self._calls: list[Call] = []
        model = copy.deepcopy(model)
        if any(type(module) is not original_class(module) for module in model.modules()):
            internet.accelerate(model, cache_source=False)
        holders = [module for module in model.modules() if original_class(module).__name__ in checkout.holders]
        inner = {child for holder in holders for child in holder.modules() if child is not holder}
        outer = [holder for holder in holders if holder not in inner]
        handles = [holder.register_forward_pre_hook(self._remember, with_kwargs=True) for holder in outer]
        self._networks = [network for holder in holders for network in _record(holder, holders)]
        with torch.no_grad():
            checkout.frame(model.eval(), *checkout.images())()
        for handle in handles:
            handle.remove()

    def _remember(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._calls.append((module, _detached(arguments), _detached(named)))

    def forward(self) -> None:
        """Run the part once, as in inference."""
        with torch.no_grad():
            for module, arguments, named in self._calls:
                module(*arguments, **named)

    def made(self) -> list[Tensor]:
        """Run the part once, as in inference; returns what it made for its caller and the networks, each storage once.

        All other memory that it uses while it runs is scratch.
        """
        given: list[Any] = []
        for network in self._networks:
            network.given = given
        with torch.no_grad():
            returned = [tensors(module(*arguments, **named)) for module, arguments, named in self._calls]
        for network in self._networks:
            network.given = None
        there = _memory([call[1:] for call in self._calls] + [network.returned for network in self._networks])
        return [held for address, held in _memory([returned, given]).items() if address not in there]

    def backward(self) -> None:
        """Run the part once, as in training: forward and backward."""
        for module, arguments, named in self._calls:
            outputs = self._with_gradients(module, arguments, named)
            torch.autograd.backward(outputs, [tensor.detach() for tensor in outputs])

    def saved(self) -> int:
        """Bytes that the forward pass saves for the backward pass, including inputs."""
        kept: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            for call in self._calls:
                self._with_gradients(*call)
        return sum(held.numel() for held in _memory(kept).values())

    def _with_gradients(self, module: nn.Module, arguments: Any, named: dict[str, Any]) -> list[Tensor]:
        returned = tensors(module(*_leaves(arguments), **_leaves(named)))
        return [tensor for tensor in returned.values() if tensor.requires_grad]


def tensors(result: Any, name: str = "") -> dict[str, Tensor]:
    """The tensors in what a model returns, by name."""
    if isinstance(result, Tensor):
        return {name: result}
    if not isinstance(result, (Mapping, list, tuple)):
        return {}
    pairs = result.items() if isinstance(result, Mapping) else enumerate(result)
    return {n: tensor for key, value in pairs for n, tensor in tensors(value, f"{name}.{key}").items()}


def _memory(value: Any) -> dict[int, Tensor]:
    """The storages of all tensors, as byte tensors, by address."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors(value).values()}
    return {
        address: torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        for address, storage in storages.items()
    }


def _detached(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().clone())


def _leaves(value: Any) -> Any:
    """As leaves that require gradients, except images, as in training."""
    return _mapped(value, lambda tensor: tensor if tensor.shape[1:2] == (3,) else tensor.detach().requires_grad_())


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, function) for item in value)
    return value


def _record(module: nn.Module, holders: list[nn.Module]) -> list["_Recorded"]:
    networks = []
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            networks += _record(child, holders)
        elif child not in holders:
            networks.append(_Recorded(child))
            setattr(module, name, networks[-1])
    return networks


class _Recorded(nn.Module):
    """Returns its first result again; the gradient of its input is a recorded one too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]  # in a list, so that it is not registered as a submodule
        self.returned: Any = None
        self.given: list[Any] | None = None
        """If it is a list, the arguments of calls are appended to it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"][0], name)

    def forward(self, x: Tensor, *arguments: Any, **named: Any) -> Any:
        if self.returned is None:
            self.returned = self._module[0](x, *arguments, **named)
            self._gradient = torch.randn_like(x)
        if self.given is not None:
            self.given.append((x, arguments, named))
        if not torch.is_grad_enabled():
            return self.returned
        return _mapped(self.returned, lambda tensor: _Constant.apply(x, tensor, self._gradient))


class _Constant(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return made.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient, None, None
