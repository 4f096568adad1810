"""All uses of torch's private names: what the library needs of torch and torch has no public name for."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree


def has_kernel(operator: str, dispatch_key: str) -> bool:
    """Whether the dispatcher has a kernel of its own for ``namespace::name`` under a key such as "CPU"."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator, dispatch_key)


def operators_of(namespace: str) -> dict[str, list[str]]:
    """The names of all operators that the dispatcher has in a namespace, each with those of its arguments."""
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith(f"{namespace}::")]
    schemas = {name: torch._C._jit_get_schemas_for_operator(name) for name in names}
    return {
        name: [argument.name for schema in found for argument in schema.arguments] for name, found in schemas.items()
    }


def without_python(overload: Any) -> Any:
    """The C++ function that calling an operator of `torch.ops` ends in, without the Python frame around it."""
    return overload._op


def apply_untransformed(function: type[torch.autograd.Function]) -> Any:
    """``function.apply`` without what it does for `torch.func`: to be called where no transform is at work."""
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]


def versions(*tensors: Tensor) -> tuple[int, ...]:
    """How often the memory of each tensor has been written to in place; inference tensors do not count it."""
    return tuple(0 if tensor.is_inference() else tensor._version for tensor in tensors)


def leaves(*arguments: Any) -> list[Any]:
    """The arguments, and what lists, tuples and dictionaries among them hold."""
    return pytree.arg_tree_leaves(*arguments)


def register_container(
    kind: type[Any], taken_apart: Callable[[Any], tuple[list[Any], Any]], put_together: Callable[[Any, Any], Any]
) -> None:
    """Let transforms of `torch.func`, DistributedDataParallel and others see what a container holds.

    Args:
        kind: its class.
        taken_apart: gives the values in a container, and what else is needed to make it of such values.
        put_together: makes one of values and that.
    """
    pytree.register_pytree_node(kind, taken_apart, lambda values, rest: put_together(list(values), rest))


def inside_functorch() -> bool:
    """Whether a transform of `torch.func` is active."""
    return torch._C._are_functorch_transforms_active()


def inside_forward_mode() -> bool:
    """Whether there may be dual numbers (`torch.autograd.forward_ad`)."""
    return forward_ad._current_level >= 0


def inside_jit_trace() -> bool:
    """`torch.jit.is_tracing()`, in a third of its time."""
    return torch._C._is_tracing()


def has_global_hooks() -> bool:
    """Whether hooks for all modules are registered (`register_module_forward_hook`)."""
    return torch.nn.modules.module._has_any_global_hook()


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor represents a batch of tensors, as in ``torch.autograd.grad(is_grads_batched=True)``."""
    return torch._C._functorch.is_legacy_batchedtensor(tensor)


def saves_through_hooks() -> bool:
    """Whether something, such as an activation checkpoint, intercepts what autograd saves."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None


def saving_hooks() -> list[Any]:
    """The functions that intercept what autograd saves, the innermost first; autograd only calls that one."""
    autograd = torch._C._autograd
    hooks = []
    try:
        while (top := autograd._top_saved_tensors_default_hooks(False)) is not None:
            hooks.append(top)
            autograd._pop_saved_tensors_default_hooks()
    finally:
        for pack, unpack in reversed(hooks):
            autograd._push_saved_tensors_default_hooks(pack, unpack)
    return [inspect.unwrap(pack) for pack, _ in hooks]


def checkpointed_region(hook: Any) -> tuple[object | None, bool]:
    """The region of ``torch.utils.checkpoint(use_reentrant=False)`` that this saving hook belongs to, if any.

    The second result is whether the region is being recomputed, in a backward pass.
    """
    if getattr(hook, "__module__", None) != "torch.utils.checkpoint":
        return None, False
    held = inspect.getclosurevars(hook).nonlocals
    if "target_frame_ref" in held:
        return held["target_frame_ref"](), True
    return held.get("frame"), False
