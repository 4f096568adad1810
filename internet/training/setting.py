"""One setting: a field that describes itself, and the limits of its value."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def setting(default: Any, about: str, *, free: bool = False) -> Any:
    """A field with its description. `free`: a run may be resumed with another value."""
    metadata = {"about": about, "free": free}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def one_of(section: Any, name: str, allowed: Sequence[str]) -> None:
    """Raise a ValueError if a field is not one of these."""
    if getattr(section, name) not in allowed:
        raise ValueError(f"{name} is {getattr(section, name)!r}, expected one of {', '.join(allowed)}")


def at_least(section: Any, least: float, *names: str) -> None:
    """Raise a ValueError if one of these fields, where it is set, is below `least`."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name} is {value}, expected at least {least:g}")
