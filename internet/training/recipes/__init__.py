"""Configurations that come with the library, by name."""

import os
from pathlib import Path

from internet.utils.settings import SettingError

_FOLDER = Path(__file__).parent


def recipes() -> dict[str, Path]:
    """The file of each recipe."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def recipe_or_file(name: str | os.PathLike[str]) -> Path:
    """The file of that name or, if there is none, the recipe.

    Raises:
        SettingError: neither exists.
    """
    if (path := Path(name)).is_file():
        return path
    if str(name) in recipes():
        return recipes()[str(name)]
    raise SettingError(f"there is no file '{name}', and no recipe of that name; recipes are {', '.join(recipes())}")
