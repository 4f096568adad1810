"""The convolutional parts of a model, compiled."""

from collections.abc import Iterator

from torch import nn

from internet.accelerate.replacement import Replacement

COMPILED = "_compiled_here"
"""The attribute of a module that was compiled here."""


def compile_convolutions(module: nn.Module) -> None:
    """Compile, when they are first called, the parts of a module that nothing but weights and input decide."""
    for part in _parts(module):
        if part._compiled_call_impl is None:
            part.compile()
            setattr(part, COMPILED, True)


def restore(module: nn.Module) -> None:
    """Call as it is whatever was compiled here, of a module and all that are in it."""
    for part in module.modules():
        if vars(part).pop(COMPILED, False):
            vars(part).pop("_compiled_call_impl", None)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest ones that have weights and no source cache in them."""
    for child in module.children():
        opened = isinstance(child, nn.ModuleList) or (isinstance(child, Replacement) and not child.compiled_whole)
        if opened:
            yield from _parts(child)
        elif any(True for _ in child.parameters()):
            yield child
