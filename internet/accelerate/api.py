"""`accelerate` and `restore`."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from internet.accelerate import check, compiling, layout
from internet.accelerate.known import PEERS
from internet.accelerate.replacement import Part, Peer, Replacement, original_class, put_back
from internet.accelerate.report import Report, Row
from internet.accelerate.source_cache import SourceCache

MEMORY_FORMATS = ("channels_last", None)


def accelerate(
    module: Any,
    *,
    cache_source: bool = True,
    memory_format: str | None = "channels_last",
    compile: bool = False,
    strict: bool = True,
) -> Report:
    """Make a published model compute the same, faster; in place.

    Its modules are recognised by class name and attributes, and then compute their motion and their warps with
    `internet.ops`. Each is first compared with its own code on a small random input, and left as it is if it differs.
    Parameters, state-dict keys, hooks and classes (`isinstance`) stay, and results up to rounding. It works in
    training and inference, under autocast, in DataParallel and DistributedDataParallel, before and after
    `torch.compile`; an accelerated model can be copied and pickled. :func:`restore` undoes it.

    Args:
        module: the model, or any module that contains or wraps it (DataParallel, a compiled module, a training
            module), or LivePortrait's `LivePortraitWrapper`.
        cache_source: keep what depends only on the source for the next frame, in evaluation mode, when no
            gradients are required. One source is kept. Everything is recomputed when the source, the weights, the
            device or autocast change.
        memory_format: "channels_last" for the weights, and thereby for all convolutions; None to leave them as they
            are. They are left inside DistributedDataParallel too: accelerate a model before wrapping it.
        compile: compile the convolutional parts with `torch.compile` when they are first called.
        strict: raise if nothing was recognised.

    Returns:
        A report of what was replaced, and what was left as it was and why. `print` shows it as a table.

    Raises:
        TypeError: `module` is neither a module nor a LivePortraitWrapper.
        ValueError: nothing was recognised and `strict` is True, or `memory_format` is unknown.

    If it ends early, by an error or Ctrl-C, the model is left as it was.
    """
    if memory_format not in MEMORY_FORMATS:
        raise ValueError(f'accelerate: memory_format is {memory_format!r}, expected "channels_last" or None')
    roots = _roots(module)
    before = {part for _, root in roots for part in _replaced(root)}
    try:
        rows = [row for path, root in roots for row in _Walk(path, cache_source).rows_of(root)]
        if strict and not any(row.model for row in rows):
            raise ValueError(_nothing_recognised(module))
        for _, root in roots:
            for part in _outermost(root):
                if memory_format is not None and part.channels_last and not _has_gradient_buckets(root):
                    layout.to_channels_last(part)
                if compile:
                    compiling.compile_convolutions(part)
    except BaseException:
        for part in {part for _, root in roots for part in _replaced(root)} - before:
            _restore(part)
        raise
    return Report(tuple(rows))


def restore(module: Any) -> None:
    """Undo :func:`accelerate`: every module has its former code, memory format and compilation again.

    Args:
        module: the argument of `accelerate`, or a copy of it. A module that was not accelerated does not change.

    Raises:
        TypeError: `module` is neither a module nor a LivePortraitWrapper.
    """
    for _, root in _roots(module):
        _restore(root)


def _restore(module: nn.Module) -> None:
    layout.restore(module)
    compiling.restore(module)
    for part in _replaced(module):
        put_back(part)


def _has_gradient_buckets(root: nn.Module) -> bool:
    """Whether DistributedDataParallel has laid out buckets for gradients in the layout that the weights have now.

    With a static graph it does not notice that they have another, and mixes the gradients up.
    """
    return any(isinstance(module, DistributedDataParallel) for module in root.modules())


def _replaced(root: nn.Module) -> list[Replacement]:
    return [module for module in root.modules() if isinstance(module, Replacement)]


class _Walk:
    """One walk over the modules of a model, children first: a module is compared after its children are replaced."""

    def __init__(self, path: str, cache_source: bool) -> None:
        self._path = path
        self._cache_source = cache_source
        self._seen: set[nn.Module] = set()

    def rows_of(self, root: nn.Module) -> list[Row]:
        return list(self._visit(root, self._path, None))

    def _visit(self, module: nn.Module, path: str, inside: Peer | None) -> Iterator[Row]:
        if module in self._seen:
            return
        self._seen.add(module)
        peer, part = _recognised(module, inside)
        below = [
            row
            for name, child in module.named_children()
            for row in self._visit(child, f"{path}.{name}" if path else name, peer or inside)
        ]
        yield from below
        if peer is not None and part is not None:
            done, left = (True, part.left) if isinstance(module, Replacement) else check.replace_if_equal(module, part)
            if done:
                self._set_up(module)
            yield Row(path, part.class_name, peer.name, part.replaced if done else "", left)
        elif inside is None and not below and (why := _why_not(module)) is not None:
            yield Row(path, original_class(module).__name__, "", "", why)

    def _set_up(self, module: nn.Module) -> None:
        for value in vars(module).values():
            if isinstance(value, SourceCache):
                value.enabled = self._cache_source
                value.clear()


def _recognised(module: nn.Module, inside: Peer | None) -> tuple[Peer, Part] | tuple[None, None]:
    """The part whose class is nearest: a class that is derived from a known one may be known itself."""
    parts = [(peer, part) for peer in PEERS for part in peer.parts]
    parts += [(inside, part) for part in inside.blocks] if inside is not None else []
    found = [(peer, part) for peer, part in parts if part.describes(module)]
    return min(found, key=lambda pair: pair[1].generations(module)) if found else (None, None)


def _why_not(module: nn.Module) -> str | None:
    """For a module with the class name of a known part but other attributes: the differences."""
    name = original_class(module).__name__
    parts = [(peer, part) for peer in PEERS for part in peer.parts if part.class_name == name]
    if not parts:
        return None
    return "all: " + "; ".join(
        f"not {peer.name}'s, which has {', '.join(part.attributes)}"
        + (f" and not {', '.join(part.absent)}" if part.absent else "")
        for peer, part in parts
    )


def _roots(module: Any) -> list[tuple[str, nn.Module]]:
    """The modules of the argument, each with its path."""
    if isinstance(module, nn.Module):
        return [("", module)]
    roots = (
        [(name, value) for name, value in vars(module).items() if isinstance(value, nn.Module)]
        if hasattr(module, "__dict__")
        else []
    )
    if not roots:
        raise TypeError(
            f"accelerate: module is {type(module).__name__}, expected a torch.nn.Module or LivePortrait's "
            "LivePortraitWrapper"
        )
    return roots


def _outermost(root: nn.Module) -> Iterator[Replacement]:
    """The replaced modules that are not inside another replaced module."""
    if isinstance(root, Replacement):
        yield root
    else:
        for child in root.children():
            yield from _outermost(child)


def _nothing_recognised(module: Any) -> str:
    looked_for = "; ".join(
        f"{peer.name}: {', '.join(sorted({part.class_name for part in peer.parts}))}" for peer in PEERS
    )
    return (
        f"accelerate: no module of {type(module).__name__} is one that is known here. Looked for {looked_for}. "
        "strict=False lets such a model be."
    )
