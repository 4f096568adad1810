"""Replace a module's code and nothing else: its class becomes a subclass of its class.

Parameters, state-dict keys, hooks, `isinstance` and the methods that are not replaced remain. A `forward` set on the
instance would not work: replicas of DataParallel would all run the first one's.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from torch import nn

from internet.accelerate.examples import Arguments, Random


class Replacement(nn.Module):
    """The code that replaces that of a class: `forward`, or methods that it calls. Never instantiated itself.

    A subclass may name instance attributes of its own in `state`, each with a function that makes it; they are set when
    a module is accelerated, and deleted when it is restored.
    """

    state: dict[str, Callable[[], Any]] = {}  # noqa: RUF012  # of the class, never written to
    channels_last = True
    """Whether its convolutions are faster in channels_last."""
    compiled_whole = False
    """Whether `accelerate(compile=True)` compiles it, and not what it calls."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """For type checkers: the attributes of the replaced class."""

    def forget(self) -> None:
        """Clear the caches of sources and weights."""
        for name in self.state:
            getattr(self, name).clear()

    def train(self, mode: bool = True) -> Any:
        if mode != self.training:
            self.forget()
        return super().train(mode)

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self.forget()
        super()._load_from_state_dict(*arguments, **options)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """The subclass is made at run time: a pickle names the two classes it is made of."""
        state = super().__reduce_ex__(protocol)[2:]
        return (_new, replacement_and_original(self), *state)


@dataclass(frozen=True)
class Part:
    """A class of a published model, and the code that replaces its own.

    Args:
        class_name: of the class, in any package (all of these repositories call theirs `modules`), or of one that it
            is derived from.
        attributes: an instance has all of these.
        replacement: the code.
        replaced: for the report: what computes it now.
        absent: an instance has none of these.
        where: a further condition on an instance.
        left: for the report: what of it stays as it is, and why.
        example: makes arguments for an instance, with which its code and the replacement are compared; None: they are
            not compared.
    """

    class_name: str
    attributes: tuple[str, ...]
    replacement: type[Replacement]
    replaced: str
    absent: tuple[str, ...] = ()
    where: Callable[[Any], bool] = lambda _: True
    left: str = ""
    example: Callable[[Any, Random], Arguments | None] = lambda *_: None

    def describes(self, module: nn.Module) -> bool:
        return (
            any(base.__name__ == self.class_name for base in original_class(module).__mro__)
            and all(hasattr(module, name) for name in self.attributes)
            and not any(hasattr(module, name) for name in self.absent)
            and self.where(module)
        )

    def generations(self, module: nn.Module) -> int:
        """The number of classes between this class and that of an instance."""
        return len(self._derived(module))

    def overridden_in(self, module: nn.Module) -> set[str]:
        """The methods that would be replaced and that an instance's derived class overrides."""
        ours = itertools.takewhile(lambda base: base is not Replacement, self.replacement.__mro__)
        replaced = {name for base in ours for name, value in vars(base).items() if callable(value)}
        return {name for base in self._derived(module) for name in vars(base)} & replaced

    def _derived(self, module: nn.Module) -> list[type]:
        bases = original_class(module).__mro__
        return list(itertools.takewhile(lambda base: base.__name__ != self.class_name, bases))


@dataclass(frozen=True)
class Peer:
    """A published model.

    Args:
        name: of the model.
        parts: its classes that are replaced wherever they are found.
        blocks: classes that are replaced only inside these parts, as other models have classes of the same names.
    """

    name: str
    parts: tuple[Part, ...]
    blocks: tuple[Part, ...] = ()


def original_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module before the replacement."""
    return replacement_and_original(module)[1] if isinstance(module, Replacement) else type(module)


def replacement_and_original(module: Replacement) -> tuple[type[Replacement], type[nn.Module]]:
    """The two classes of which the class of a replaced module was made."""
    replacement, original = type(module).__bases__
    return replacement, original


def replace(module: nn.Module, replacement: type[Replacement]) -> None:
    """Make a module use the code of a replacement."""
    module.__class__ = _subclass(replacement, original_class(module))
    for name, make in replacement.state.items():
        setattr(module, name, make())


def put_back(module: Replacement) -> None:
    """Make a module use its own code again."""
    replacement, original = replacement_and_original(module)
    module.__class__ = original  # type: ignore[assignment]  # no Replacement any more
    for name in replacement.state:
        delattr(module, name)


_SUBCLASSES: dict[tuple[type, type], type[nn.Module]] = {}


def _subclass(replacement: type[Replacement], original: type[nn.Module]) -> type[nn.Module]:
    """The subclass of both, the replacement first; there is one for each pair."""
    pair = (replacement, original)
    if pair not in _SUBCLASSES:
        _SUBCLASSES[pair] = type(original.__name__, pair, {"__module__": replacement.__module__})
    return _SUBCLASSES[pair]


def _new(replacement: type[Replacement], original: type[nn.Module]) -> nn.Module:
    subclass = _subclass(replacement, original)
    return subclass.__new__(subclass)
