"""Folders of commands that go on where they were stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from internet.utils.files import OutputError, atomic_write, output_folder


def open_resumable(folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Make the folder and write its settings there, or go on in one that has the same.

    Args:
        folder: where results go.
        name: of the file of settings, by which the folder is recognised.
        settings: what results depend on, as JSON has it.

    Raises:
        OutputError: it holds something else, or results of other settings, which the message names.
    """
    output_folder(folder, overwrite=True)
    path = folder / name
    if not path.is_file():
        if any(folder.iterdir()):
            raise OutputError(f"the folder '{folder}' is not empty, and nothing that could be gone on with: no {name}")
        atomic_write(path, json.dumps(settings, indent=1).encode())
        return
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise OutputError(f"'{path}' is damaged: {error}") from error
    changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if changed:
        changes = "; ".join(f"{key} was {before.get(key)!r}, is {settings.get(key)!r}" for key in changed)
        raise OutputError(f"'{folder}' holds results of other settings: {changes}. Choose another folder")
