"""Folders of commands that continue where they were stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from internet.utils.files import OutputError, atomic_write, output_folder


def open_resumable(folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Create the folder with its settings, or continue in one with the same settings.

    Args:
        folder: where results go.
        name: of the file of settings, which identifies the folder.
        settings: what results depend on, as JSON values.

    Raises:
        OutputError: it holds something else, or results with other settings, which the message names.
    """
    output_folder(folder, overwrite=True)
    path = folder / name
    if not path.is_file():
        if any(folder.iterdir()):
            raise OutputError(f"the folder '{folder}' is not empty, and holds nothing to continue from: no {name}")
        atomic_write(path, json.dumps(settings, indent=1).encode())
        return
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise OutputError(f"'{path}' is damaged: {error}") from error
    changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if changed:
        changes = "; ".join(f"{key} was {before.get(key)!r}, is {settings.get(key)!r}" for key in changed)
        raise OutputError(f"'{folder}' holds results with other settings: {changes}. Choose another folder")
