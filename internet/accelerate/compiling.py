"""The convolutional parts of a model, compiled."""

from collections.abc import Iterator

from torch import nn

from internet.accelerate.replacement import Replacement

COMPILED = "_compiled_here"
"""The attribute that marks a module that was compiled here."""


def compile_convolutions(module: nn.Module) -> None:
    """Compile, at their first call, the parts of a module whose results depend only on weights and input."""
    for part in _parts(module):
        if part._compiled_call_impl is None:
            part.compile()
            setattr(part, COMPILED, True)


def restore(module: nn.Module) -> None:
    """Undo the compilation of a module and of all modules in it."""
    for part in module.modules():
        if vars(part).pop(COMPILED, False):
            vars(part).pop("_compiled_call_impl", None)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest submodules that have weights and no source cache."""
    for child in module.children():
        opened = isinstance(child, nn.ModuleList) or (isinstance(child, Replacement) and not child.compiled_whole)
        if opened:
            yield from _parts(child)
        elif any(True for _ in child.parameters()):
            yield child
