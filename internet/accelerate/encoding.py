"""Modules that encode a source, one after the other."""

from collections.abc import Sequence

from torch import Tensor, nn

from internet.accelerate.source_cache import SourceCache


def in_turn(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def levels(modules: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """The results of all modules, applied one after the other."""
    made = []
    for module in modules:
        x = module(x)
        made.append(x)
    return made


def encoded(cache: SourceCache[Tensor], encoder: Sequence[nn.Module], source: Tensor) -> Tensor:
    """The encoding of a source; for the same source, the cached one."""
    return cache.get(source, encoder, lambda source: in_turn(encoder, source))
