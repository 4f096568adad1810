"""Nested dataclasses out of nested mappings, and out of words like `section.key=value`; every mistake is named."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeVar

from internet.utils.optional import require

T = TypeVar("T")


class SettingError(ValueError):
    """A setting does not exist or has a value that it cannot have; the message names it."""


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """`["run.batch=8", "out=runs/a"]` -> `{"run": {"batch": 8}, "out": "runs/a"}`; values are YAML."""
    yaml = require("yaml", "reading settings")
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise SettingError(f"'{word}' is no setting, expected key=value; a file or a recipe comes before them")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingError(f"{name} is '{text}', which is no YAML: {error}") from error
        for part in reversed(name.split(".")):
            value = {part: value}
        settings = merged(settings, value)
    return settings


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `changes` says: mappings are merged, everything else is replaced."""
    result = dict(base)
    for name, value in changes.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def settings(cls: type, prefix: str = "") -> Iterator[tuple[str, "dataclasses.Field[Any]"]]:
    """The dotted names of all settings below a dataclass, and their fields."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from settings(hints[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field


def meanings(cls: type, prefix: str = "") -> dict[str, str]:
    """What each setting below a dataclass means: as the field says, or else the docstring of its class."""
    hints = typing.get_type_hints(cls)
    found: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            found |= meanings(hints[field.name], f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = field.metadata.get("about") or _documented(cls).get(field.name, "")
    return found


def _documented(cls: type) -> dict[str, str]:
    """The entries `name: text` and `one, other: text` of a docstring, by name, each in one line without markup."""
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", inspect.getdoc(cls) or "")
    entries = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", text, re.MULTILINE)
    return {name: " ".join(about.split()).rstrip(".") for names, about in entries for name in names.split(", ")}


def read(cls: type[T], values: Mapping[str, Any], *, prefix: str = "", known: Iterable[str] = ()) -> T:
    """The dataclass `cls`, its defaults changed by `values`.

    known: names that exist besides those of `cls`, for the message about one that does not.

    Raises:
        SettingError: an unknown name, with the nearest known one; a value of a wrong type or out of range.
    """
    hints = typing.get_type_hints(cls)
    known = list(known) or [name for name, _ in settings(cls)]
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise SettingError(
                f"there is no setting '{prefix}{name}'; the nearest is '{_nearest(prefix + name, known)}'"
            )
        arguments[name] = _converted(value, hints[name], prefix + name, known)
    try:
        return cls(**arguments)
    except SettingError:
        raise
    except ValueError as error:  # says "name is value, expected ..." of one of its fields
        raise SettingError(f"{prefix}{error}") from error


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries and tuples as lists, all the way down: what YAML and a checkpoint hold."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _nearest(name: str, known: Iterable[str]) -> str:
    """The most similar of the known names, sections included, by the whole or by its last part."""
    sections = {name.rpartition(".")[0]: None for name in known if "." in name}

    def likeness(other: str) -> float:
        pairs = ((name, other), (name.rpartition(".")[2], other.rpartition(".")[2]))
        return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    return max([*known, *sections], key=likeness)


def _converted(value: Any, kind: Any, name: str, known: Iterable[str]) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SettingError(f"{name} is {value!r}, expected a section of settings")
        return read(typing.cast("type[Any]", kind), value, prefix=f"{name}.", known=known)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _converted(value, arguments[0], name, known)
    if origin is tuple and isinstance(value, (list, tuple)):
        if arguments[-1] is not ... and len(value) != len(arguments):
            raise SettingError(f"{name} is {value!r}, expected {len(arguments)} values")
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_converted(item, one, name, known) for item, one in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {key: _converted(item, arguments[1], f"{name}.{key}", known) for key, item in value.items()}
    return value if kind is Any else _scalar(value, origin or kind, name)


#: What a kind of value is called in a message.
_CALLED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list", dict: "a map"}


def _scalar(value: Any, kind: type, name: str) -> Any:
    if type(value) is kind and kind in (bool, int, str):
        return value
    if kind is str and (value is None or type(value) is int):  # nothing after the colon; a folder called 2026
        return "" if value is None else str(value)
    if kind is float and type(value) in (int, float, str):
        try:
            return float(value)  # also "2e-4", which YAML takes for text
        except ValueError:
            pass
    raise SettingError(f"{name} is {value!r}, expected {_CALLED[kind]}")
