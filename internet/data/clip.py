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
        """When each frame is shown: seconds from the first."""

    def read(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """The frames with these numbers, in the order asked: uint8 (H, W, 3) RGB."""


class VideoClip:
    """A video file. Only the times of its frames are read at first; a frame is decoded from the key frame before it.

    Args:
        path: the file.
        name: what messages call it; the file's name without its suffix by default.
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
    """A folder of pictures, in the order of the numbers in their names.

    Args:
        path: the folder.
        name: what messages call it; the folder's own name by default.
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
