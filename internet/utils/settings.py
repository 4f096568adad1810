"""Settings as dataclasses, described once: a field tells its type, its default, its range and what it means.

.. code-block:: python

    @dataclass(frozen=True)
    class Optimizer(Section):
        lr: float = setting(2e-4, "rate of the model", least=0)

Whoever makes an ``Optimizer`` gets values of the right types within their ranges, or an error that names the field.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

#: No setting is counted further than this, which torch and numpy hold in 64 bits.
LARGEST = 2**63 - 1


class SettingError(ValueError):
    """A setting does not exist or has a value that it cannot have; the message names it."""


@dataclass(frozen=True)
class Allowed:
    """What a setting can be: one of some words, or a finite number in a range."""

    choices: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        return isinstance(value, bool) or (self.least <= value <= self.most and (value < self.below))

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.most < math.inf:
            return f"{self.least:g} to {self.most}"
        words = [f"at least {self.least:g}"] if self.least > -math.inf else []
        words += [f"below {self.below:g}"] if self.below < math.inf else []
        return " and ".join(words)


def setting(
    default: Any,
    about: str,
    *,
    choices: Iterable[str] = (),
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    resumable: bool = False,
) -> Any:
    """A field of a :class:`Section`.

    Args:
        default: its value, unless another is given.
        about: what it means, in a line.
        choices: the words that it can be, where it is text.
        least, most, below: the range of it, or of all numbers in it.
        resumable: whether a training run may be resumed with another value.
    """
    allowed = Allowed(tuple(choices), least, most, below)
    metadata = {"about": about, "allowed": allowed, "resumable": resumable}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Section:
    """A dataclass whose fields are settings or sections. Numbers may come as text, as in files and command lines.

    Raises:
        ValueError: "name is value, expected ...", for the first field whose value is of a wrong type or out of range.
    """

    def __post_init__(self) -> None:
        types_of = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _converted(getattr(self, field.name), types_of[field.name], field.name)
            allowed = field.metadata.get("allowed", Allowed())
            if any(leaf not in allowed for leaf in _leaves(value)):
                each = "each " if isinstance(value, tuple) else ""
                raise ValueError(f"{field.name} is {plain(value)!r}, expected {each}{allowed}")
            object.__setattr__(self, field.name, value)


def settings(cls: type, prefix: str = "") -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """The dotted names of all settings below a section, and their fields."""
    for field in dataclasses.fields(cls):
        kind = get_type_hints(cls)[field.name]
        if dataclasses.is_dataclass(kind):
            yield from settings(typing.cast("type", kind), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field


def read(cls: type[T], values: Mapping[str, Any], *, prefix: str = "", known: Sequence[str] = ()) -> T:
    """A section of nested mappings, as :func:`plain` makes them; what they leave out has its default.

    Args:
        cls: the section.
        values: values or, for sections, mappings, by name.
        prefix: what the names of its settings begin with in messages.
        known: all names that exist, for the message about one that does not.

    Raises:
        SettingError: an unknown name, with the nearest known one; a value of a wrong type or out of range.
    """
    known = known or [name for name, _ in settings(cls)]
    arguments = {}
    for name, value in values.items():
        kind = get_type_hints(cls).get(name)
        if kind is None:
            raise SettingError(
                f"there is no setting '{prefix}{name}'; the nearest is '{_nearest(f'{prefix}{name}', known)}'"
            )
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            value = read(typing.cast("type[Any]", kind), value, prefix=f"{prefix}{name}.", known=known)
        arguments[name] = value
    try:
        return cls(**arguments)
    except SettingError:
        raise
    except ValueError as error:  # it begins with the name of one of the fields
        raise SettingError(f"{prefix}{error}") from error


def plain(value: Any) -> Any:
    """Sections as dictionaries and tuples as lists, all the way down: what YAML and a checkpoint hold."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _nearest(name: str, known: Sequence[str]) -> str:
    """The most similar of the known names, sections included, by the whole or by its last part."""
    sections = {name.rpartition(".")[0]: None for name in known if "." in name}

    def likeness(other: str) -> float:
        pairs = ((name, other), (name.rpartition(".")[2], other.rpartition(".")[2]))
        return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    return max([*known, *sections], key=likeness)


def _leaves(value: Any) -> list[Any]:
    """The text and numbers in a value."""
    if isinstance(value, (Mapping, tuple)):
        items = value.values() if isinstance(value, Mapping) else value
        return [leaf for item in items for leaf in _leaves(item)]
    return [value] if isinstance(value, (str, int, float)) else []


def _converted(value: Any, kind: Any, name: str) -> Any:
    """A value as the type of its field has it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _converted(value, arguments[0], name)
    if origin is tuple and isinstance(value, (list, tuple)):
        if arguments[-1] is not ... and len(value) != len(arguments):
            raise ValueError(f"{name} is {plain(value)!r}, expected {len(arguments)} values")
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_converted(item, one, name) for item, one in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _converted(item, arguments[1], f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, typing.cast("type", kind)):
        return value
    try:
        return _SCALARS[kind](value)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} is {plain(value)!r}, expected {_CALLED.get(origin or kind, 'a section of settings')}"
        ) from None


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else {"true": True, "false": False}[value.lower()]


def _whole_number(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if type(number) is not int or abs(number) > LARGEST:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _text(value: Any) -> str:
    if value is None:  # nothing after the colon
        return ""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ValueError
    return str(value)


_SCALARS: dict[Any, Callable[[Any], Any]] = {bool: _boolean, int: _whole_number, float: _number, str: _text}

#: What a kind of value is called in a message.
_CALLED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    tuple: "a list",
    dict: "a map",
}
