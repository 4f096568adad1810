"""What a clip is, and its two kinds on disk: a video, and a folder of frames."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from internet.data.folders import pictures
from internet.data.image import read_image
from internet.data.video import read_indexed
from internet.data.video_index import VideoIndex, index_video


class Clip(Protocol):
    """A sequence of frames in time."""

    name: str

    @property
    def times(self) -> Sequence[float]:
        """When each frame is shown, in seconds after the first."""

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """The frames with these numbers, in the order of `numbers`: uint8 (H, W, 3) RGB."""


class VideoClip:
    """A video file. Only the times of its frames are read at first; decoding a frame starts at the key frame before it.

    Args:
        path: the file.
        name: for messages; by default the file's name without its suffix.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.stem if name is None else name

    @cached_property
    def _index(self) -> VideoIndex:
        return index_video(self.path)

    @property
    def times(self) -> Sequence[float]:
        return self._index.seconds

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        return read_indexed(self.path, self._index, numbers)


class FrameFolder:
    """A folder of pictures, ordered by the numbers in their names.

    Args:
        path: the folder.
        name: for messages; by default the folder's name.
        fps: frames per second.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None, *, fps: float = 25.0) -> None:
        self.path, self.fps = Path(path), fps
        self.name = self.path.name if name is None else name

    @cached_property
    def _pictures(self) -> list[Path]:
        return pictures(self.path)

    @property
    def times(self) -> Sequence[float]:
        return [number / self.fps for number in range(len(self._pictures))]

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        return [read_image(self._pictures[number]) for number in numbers]
