"""Settings as people write them: in YAML, and as words like `run.batch=8`.

Values stay text until the type of their setting is known. So `010`, `12:30`, `2026-11-26`, `+5` and `run #1` can be
the names of folders; YAML would read 8, 750, a date, 5 and `run`.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from internet.utils.optional import require
from internet.utils.settings import SettingError

_NOTHING = ("", "~", "null", "Null", "NULL")


def read_file(path: Path) -> dict[str, Any]:
    """The sections of a YAML file. Raises OSError if it cannot be read, SettingError if it is malformed."""
    try:
        values = parse(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise SettingError(f"'{path}' is not a YAML file of settings: {error}") from error
    if isinstance(values, (list, str)):
        called = "a list" if isinstance(values, list) else "text"
        raise SettingError(f"'{path}' holds {called}, expected sections of settings")
    return values or {}


def read_words(words: Iterable[str], texts: Collection[str]) -> dict[str, Any]:
    """`["run.batch=8", "out=runs/a"]` -> `{"run": {"batch": "8"}, "out": "runs/a"}`.

    Args:
        words: `name=value`; the value is YAML or, for a text setting, the text itself.
        texts: the dotted names of the text settings.

    Raises:
        SettingError: a word is malformed.
    """
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise SettingError(f"'{word}' is not a setting, expected key=value; a file or a recipe comes before them")
        try:
            value = text if name in texts else parse(text)
        except ValueError as error:
            raise SettingError(f"{name} is '{text}', which is not YAML: {error}") from error
        settings = merged(settings, nested(name, value))
    return settings


def nested(name: str, value: Any) -> dict[str, Any]:
    """`"run.batch", 8` -> `{"run": {"batch": 8}}`."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: mappings are merged, everything else is replaced."""
    both = [name for name in changes if isinstance(base.get(name), Mapping) and isinstance(changes[name], Mapping)]
    return {**base, **changes, **{name: merged(base[name], changes[name]) for name in both}}


def parse(text: str) -> Any:
    """YAML as dictionaries and lists of text, with None for empty values. Raises ValueError for anything else."""
    yaml = require("yaml", "reading settings")
    try:
        return _plain(yaml.compose(text, Loader=yaml.BaseLoader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply, or holds itself") from None


def _plain(node: Any) -> Any:
    """A node of YAML's syntax tree as plain types, with scalars as text."""
    if node is None or (node.id == "scalar" and node.style is None and node.value in _NOTHING):
        return None
    if node.id == "scalar":
        return str(node.value)
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    found: dict[str, Any] = {}
    for key, item in node.value:
        name, line = _plain(key), key.start_mark.line + 1
        if not isinstance(name, str):
            raise ValueError(f"in line {line} a name is expected before the colon")
        if name in found:
            raise ValueError(f"'{name}' stands twice, the second time in line {line}")
        found[name] = _plain(item)
    return found
