"""The entries of a folder in natural order, and which of them are videos or pictures.

A usual suffix decides; a file with any other is opened, so that a video is found whatever its name.
"""

import re
from pathlib import Path
from typing import Literal

from internet.data.container import open_video
from internet.data.image import MediaError, is_picture

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

#: Not opened: files that accompany clips in most data sets.
OTHER_SUFFIXES = frozenset(
    {".txt", ".md", ".json", ".csv", ".tsv", ".yaml", ".yml", ".xml", ".npy", ".npz", ".pkl", ".pt", ".pth", ".py"}
    | {".zip", ".tar", ".gz", ".wav", ".mp3", ".flac", ".srt", ".log", ".pdf"}
)

#: Files of operating systems and storage devices (lower case), besides names that begin with a dot.
SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found"}
    | {"system volume information", "icon\r"}
)

Kind = Literal["video", "picture"]


def entries(folder: Path) -> list[Path]:
    """The user's files in a folder, frame 10 after frame 9. Raises :class:`MediaError` if it cannot be read."""
    try:
        found = [entry for entry in folder.iterdir() if not _of_the_system(entry.name)]
    except OSError as error:
        raise MediaError(f"the folder '{folder}' cannot be read: {error.strerror}") from error
    return sorted(found, key=natural_order)


def kind(path: Path) -> Kind | None:
    """Whether a file is a video or a picture, or neither."""
    suffix = path.suffix.lower()
    if not path.is_file() or suffix in OTHER_SUFFIXES:
        return None
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in PICTURE_SUFFIXES or _opens_as_picture(path):
        return "picture"
    return "video" if _opens_as_video(path) else None


def pictures(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in natural order."""
    return [entry for entry in entries(folder) if kind(entry) == "picture"]


def natural_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _of_the_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _opens_as_picture(path: Path) -> bool:
    try:
        return is_picture(path)
    except OSError:
        return False


def _opens_as_video(path: Path) -> bool:
    """Whether FFmpeg finds moving pictures: its formats for single pictures are called "..._pipe"."""
    try:
        with open_video(path) as (container, stream):
            return not container.format.name.endswith("_pipe") and stream.codec_context.width > 0
    except MediaError:
        return False
