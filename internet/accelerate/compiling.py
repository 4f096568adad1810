"""The convolutional parts of a model, compiled."""

from collections.abc import Iterator

from torch import nn

from internet.accelerate.replacement import Replacement

COMPILED = "_compiled_parts"
"""The attribute that names the parts which were compiled here."""


def compile_convolutions(module: nn.Module) -> None:
    """Compile, when they are first called, the parts of a module that nothing but weights and input decide."""
    compiled = getattr(module, COMPILED, ())
    for name, part in _parts(module):
        if part._compiled_call_impl is None:
            part.compile()
            compiled += (name,)
    setattr(module, COMPILED, compiled)


def restore(module: nn.Module) -> None:
    """Call as they are the parts that were compiled here."""
    for name in getattr(module, COMPILED, ()):
        vars(module.get_submodule(name)).pop("_compiled_call_impl", None)
    vars(module).pop(COMPILED, None)


def _parts(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest ones that have weights and no source cache in them."""
    for name, child in module.named_children():
        opened = isinstance(child, nn.ModuleList) or (isinstance(child, Replacement) and not child.compiled_whole)
        if opened:
            yield from _parts(child, f"{path}{name}.")
        elif any(True for _ in child.parameters()):
            yield path + name, child
