"""What reading frames, streaming them and copying sound have in common: a file opened with PyAV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from internet.data.image import MediaError, check_file
from internet.utils.optional import require


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """Open a video and its first picture stream; every failure of the decoder becomes a MediaError."""
    av = require("av", "reading a video")
    path = check_file(path, "video")
    with decoding(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise MediaError(f"'{path}' has no picture stream")
        yield container, container.streams.video[0]


@contextmanager
def decoding(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the decoder of a video raises into a MediaError that names the video."""
    errors = require("av", "reading a video").error
    try:
        yield
    except errors.FFmpegError as error:
        raise MediaError(f"the video '{path}' cannot be decoded: {error.strerror}") from error


def frame_rate(stream: Any) -> float:
    """The average number of frames per second, as far as the file says."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def tells_time(container: Any) -> bool:
    """Whether the times of a file's frames are its own. AVI has none: the demuxer numbers frames as they are stored."""
    return bool(container.format.name != "avi")


def upright(frame: Any) -> np.ndarray:
    """uint8 (H, W, 3), rotated by the quarter turns that the file asks for (counter-clockwise)."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
