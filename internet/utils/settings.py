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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, TypeVar, get_args, get_origin

T = TypeVar("T")

#: No setting is counted further than this, which torch and numpy hold in 64 bits.
LARGEST = 2**63 - 1

#: Names less alike than this, of 1, are not taken for misspellings of one another.
ALIKE = 0.6

#: What a kind of value is called in a message.
_CALLED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    tuple: "a list",
    dict: "a map",
}


class SettingError(ValueError):
    """A setting does not exist or has a value that it cannot have; the message names it."""


@dataclass(frozen=True)
class Allowed:
    """What a setting can be: one of some words, or a number in a range, of which `below` is not part."""

    choices: Sequence[str] = ()
    least: float = -math.inf
    most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float | str) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        return isinstance(value, bool) or (self.least <= value <= self.most and value < self.below)

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.most < math.inf:
            return f"{self.least:g} to {self.most}"
        words = [f"at least {self.least:g}"] * (self.least > -math.inf) + [f"below {self.below:g}"] * (
            self.below < math.inf
        )
        return " and ".join(words)


def setting(default: Any, about: str, *, resumable: bool = False, **allowed: Any) -> Any:
    """A field of a :class:`Section`.

    Args:
        default: its value, unless another is given.
        about: what it means, in a line.
        resumable: whether a training run may be resumed with another value.
        allowed: what it can be, or all text and numbers in it: see :class:`Allowed`.
    """
    metadata = {"about": about, "allowed": Allowed(**allowed), "resumable": resumable}
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
        for field in dataclasses.fields(self):
            value = _converted(getattr(self, field.name), field.type, field.name)
            allowed = field.metadata.get("allowed", Allowed())
            if any(leaf not in allowed for leaf in _leaves(value)):
                each = "each " if isinstance(value, tuple) else ""
                raise ValueError(f"{field.name} is {plain(value)!r}, expected {each}{allowed}")
            object.__setattr__(self, field.name, value)


def settings(cls: Any, prefix: str = "") -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """The dotted names of all settings below a section, and their fields."""
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.type):
            yield from settings(field.type, f"{prefix}{field.name}.")
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
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    arguments = {}
    for name, value in values.items():
        if name not in kinds:
            near = _nearest(f"{prefix}{name}", known)
            hint = f"the nearest is '{near}'" if near else f"here there are {', '.join(kinds)}"
            raise SettingError(f"there is no setting '{prefix}{name}'; {hint}")
        if dataclasses.is_dataclass(kinds[name]) and isinstance(value, Mapping):
            value = read(kinds[name], value, prefix=f"{prefix}{name}.", known=known)
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


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name, sections included, whose last part is most like this one's; None if none is like it."""

    def likeness(other: str) -> tuple[float, float]:
        lasts = (name.rpartition(".")[2], other.rpartition(".")[2])
        return SequenceMatcher(None, *lasts).ratio(), SequenceMatcher(None, name, other).ratio()

    nearest = max([*known, *(name.rpartition(".")[0] for name in known)], key=likeness)
    return nearest if likeness(nearest)[0] >= ALIKE else None


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
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(value) != len(kinds):
            raise ValueError(f"{name} is {plain(value)!r}, expected {len(kinds)} values")
        return tuple(_converted(item, one, name) for item, one in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _converted(item, arguments[1], f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, kind):  # type: ignore[arg-type]
        return value
    try:
        return _scalar(value, kind)
    except (KeyError, TypeError, ValueError, OverflowError):
        expected = _CALLED.get(origin or kind, "a section of settings")
        raise ValueError(f"{name} is {plain(value)!r}, expected {expected}") from None


def _scalar(value: Any, kind: Any) -> bool | int | float | str:
    """A value as a boolean, number or text; an error of some kind where it is something else."""
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False}[value.lower()]
    if isinstance(value, bool) or kind is bool:
        if isinstance(value, bool) and kind is bool:
            return value
    elif kind is str and (value is None or isinstance(value, (str, int))):  # None: nothing after the colon
        return "" if value is None else str(value)
    elif kind is int and isinstance(value, (str, int)) and abs(number := int(value)) <= LARGEST:
        return number
    elif kind is float and math.isfinite(real := float(value)):
        return real
    raise ValueError
