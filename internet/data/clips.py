"""Clips on disk: videos and folders of frames, read frame by frame without decoding what lies between."""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from internet.data.image import MediaError, read_image
from internet.data.moments import Moments
from internet.data.video import VideoIndex, index_video, read_indexed

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
SPLITS = ("train", "test")


class Clip(Protocol):
    """A sequence of frames in time."""

    name: str

    @property
    def times(self) -> Sequence[float]:
        """When each frame is shown: seconds from the first."""

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """The frames with these numbers, in the order asked: uint8 (H, W, 3) RGB."""


class VideoClip:
    """A video file. Only the packets' times are read at first; a frame is decoded from the key frame before it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = self.path.stem

    @cached_property
    def _index(self) -> VideoIndex:
        return index_video(self.path)

    @property
    def times(self) -> Sequence[float]:
        return self._index.seconds

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        return read_indexed(self.path, self._index, numbers)


class FrameFolder:
    """A folder of pictures, in the order of the numbers in their names, at so many frames per second."""

    def __init__(self, path: str | os.PathLike[str], *, fps: float = 25.0) -> None:
        self.path, self.fps = Path(path), fps
        self.name = self.path.name

    @cached_property
    def _pictures(self) -> list[Path]:
        return sorted((entry for entry in _entries(self.path) if _is_picture(entry)), key=_natural)

    @property
    def times(self) -> Sequence[float]:
        return [number / self.fps for number in range(len(self._pictures))]

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        return [read_image(self._pictures[number]) for number in numbers]


class Excerpt:
    """The frames `start` to `stop` of a clip, as a clip: as in ``slice``, negative numbers from the end."""

    def __init__(self, clip: Clip, start: int | None = None, stop: int | None = None) -> None:
        self._clip, self._range = clip, range(len(clip.times))[start:stop]
        self.name = clip.name

    @property
    def times(self) -> Sequence[float]:
        seconds = self._clip.times
        return [seconds[number] - seconds[self._range[0]] for number in self._range]

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        return self._clip.read([self._range[number] for number in numbers])


def find_clips(root: str | os.PathLike[str], split: str = "train") -> list[Clip]:
    """The clips of a data set on disk.

    ``root`` is a video, a folder of frames, or a folder of these. A folder's split is what the list
    ``root/<split>.txt`` names, a path a line relative to the root, # begins a comment; without a list what the
    folder ``root/<split>`` holds, which is how DanceFashion is laid out; with neither for any split, everything is
    for training.

    Raises:
        MediaError: there is no such place, a list names what is not there, or no clip was found.
        ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected {' or '.join(map(repr, SPLITS))}")
    root = Path(root)
    if not root.exists():
        raise MediaError(f"'{root}' does not exist: expected a video, a folder of frames or a folder of clips")
    if root.is_file() and _clip(root) is None:
        raise MediaError(f"'{root}' is no video: its name ends in none of {', '.join(sorted(VIDEO_SUFFIXES))}")
    clips = [clip for path in _paths(root, split) if (clip := _clip(path)) is not None]
    if not clips:
        raise MediaError(f"'{root}' holds no clip for the split '{split}': no video and no folder of pictures")
    return clips


def usable_clips(clips: Sequence[Clip], moments: Moments) -> list[Clip]:
    """The clips that have frames for a sample.

    Each other, too short or unreadable, is reported once by a warning.

    Raises:
        MediaError: none is left.
    """
    good = []
    for clip in clips:
        try:
            times = clip.times
        except MediaError as error:
            warnings.warn(f"skipped: {error}", stacklevel=2)
            continue
        if moments.driving(times):
            good.append(clip)
        else:
            length = times[-1] if times else 0.0
            warnings.warn(
                f"skipped: the clip '{clip.name}' has {len(times)} frames in {length:.2f} s; {moments.need}",
                stacklevel=2,
            )
    if not good:
        raise MediaError(f"none of the {len(clips)} clips can be used; the warnings say why")
    return good


def _paths(root: Path, split: str) -> Iterator[Path]:
    listed = root / f"{split}.txt"
    if listed.is_file():
        return _listed(root, listed)
    if _clip(root) is not None:
        return iter([root] if split == "train" else [])
    if (root / split).is_dir():
        return iter(_entries(root / split))
    others = any((root / f"{name}.txt").is_file() or (root / name).is_dir() for name in SPLITS)
    return iter(_entries(root) if split == "train" and not others else [])


def _listed(root: Path, listed: Path) -> Iterator[Path]:
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), start=1):
        entry = line.split("#", 1)[0].strip()
        if not entry:
            continue
        if _clip(root / entry) is None:
            raise MediaError(f"'{listed}', line {number}: '{entry}' is no video and no folder of pictures")
        yield root / entry


def _clip(path: Path) -> Clip | None:
    if path.is_file():
        return VideoClip(path) if path.suffix.lower() in VIDEO_SUFFIXES else None
    if path.is_dir() and any(_is_picture(entry) for entry in path.iterdir()):
        return FrameFolder(path)
    return None


def _entries(folder: Path) -> list[Path]:
    return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=_natural)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts frame 10 after frame 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
