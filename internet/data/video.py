"""Read frames of a video: by number, or one after another.

Frames are uint8 (H, W, 3) RGB arrays as a player shows them (:mod:`internet.data.pixels`). Numbers count the frames
that can be shown, from 0 (:mod:`internet.data.video_index`).
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from internet.data.container import decode, frame_rate, open_video
from internet.data.image import WHITE, Colour, MediaError
from internet.data.pixels import displayed
from internet.data.video_index import VideoIndex, decode_from, index_video
from internet.utils.optional import require

#: Two frames this far apart show a walking person's limbs clearly moved but still recognisable.
DEFAULT_GAP_SECONDS = 0.1

#: A decoder that starts at a key frame may need the one before it too, where encoders refresh the picture gradually.
ATTEMPTS = 2


@dataclass(frozen=True)
class VideoInfo:
    """What a video shows: its size in square pixels, its average frame rate, and how many frames can be shown."""

    width: int
    height: int
    fps: float
    frames: int


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, rate and number of frames. The frames are counted: headers are often wrong or silent."""
    frames = len(index_video(path).seconds)
    with open_video(path) as (container, stream):
        first = next(decode(container.demux(stream)))
        height, width = displayed(first, stream.sample_aspect_ratio).shape[:2]
        return VideoInfo(width, height, frame_rate(stream), frames)


def iter_frames(path: str | os.PathLike[str], background: Colour = WHITE) -> Iterator[np.ndarray]:
    """Yield every frame in order, holding only one at a time; what is transparent shows `background`."""
    with open_video(path) as (container, stream):
        for frame in decode(container.demux(stream)):
            yield displayed(frame, stream.sample_aspect_ratio, background)


def read_frames(path: str | os.PathLike[str], numbers: Sequence[int]) -> list[np.ndarray]:
    """Read the frames with these numbers, in the order asked; a negative number counts from the end.

    Raises :class:`MediaError` when the video has no such frame.
    """
    if not numbers:
        return []
    index = index_video(path)
    total = len(index.seconds)
    return read_indexed(path, index, [number + total if number < 0 else number for number in numbers])


def read_indexed(path: str | os.PathLike[str], index: VideoIndex, numbers: Sequence[int]) -> list[np.ndarray]:
    """Read the frames with these numbers, in the order asked, each decoded from the key frame before it.

    Raises :class:`MediaError` when the video has no such frame or it does not decode.
    """
    for number in numbers:
        if not 0 <= number < len(index.seconds):
            raise MediaError(f"the video '{path}' has {len(index.seconds)} frames; it has no frame {number}")
    found: dict[int, np.ndarray] = {}
    if index.stamps is not None:
        _seek_all(path, index, set(numbers), found)
    missing = set(numbers) - found.keys()
    if missing:  # no times to look for, or what the key frame promised did not come: from the start all frames do
        with open_video(path) as (container, stream):
            frames = enumerate(decode(container.demux(stream)))
            _collect(frames, stream, missing, found)
    missing -= found.keys()
    if missing:
        raise MediaError(f"the frames {sorted(missing)} of the video '{path}' do not decode")
    return [found[number] for number in numbers]


def _seek_all(path: str | os.PathLike[str], index: VideoIndex, wanted: set[int], found: dict[int, np.ndarray]) -> None:
    """Find frames from the key frames before them; on the way to the last, earlier ones mostly come along."""
    assert index.stamps is not None
    errors = require("av", "reading a video").error
    number_of = {stamp: number for number, stamp in enumerate(index.stamps)}
    with open_video(path) as (container, stream):
        for number in sorted(wanted, reverse=True):
            place = bisect_right(index.keys, index.stamps[number], key=lambda key: key.pts)
            for key in index.keys[max(0, place - ATTEMPTS) : place][::-1]:
                if number in found:
                    break
                frames = decode_from(container, stream, key)
                numbered = ((number_of[frame.pts], frame) for frame in frames if frame.pts in number_of)
                with suppress(errors.FFmpegError):
                    _collect(numbered, stream, {other for other in wanted - found.keys() if other <= number}, found)


def _collect(frames: Iterable[tuple[int, Any]], stream: Any, wanted: set[int], found: dict[int, np.ndarray]) -> None:
    """Keep the wanted ones of numbered frames, up to the last of them."""
    last = max(wanted)
    for number, frame in frames:
        if number in wanted:
            found[number] = displayed(frame, stream.sample_aspect_ratio)
        if number >= last:
            return


def choose_pair(info: VideoInfo, frames: tuple[int, int] | None = None, gap: int | None = None) -> tuple[int, int]:
    """The numbers of two frames to compare: ``frames`` if given, else ``gap`` apart around the middle.

    Without a gap it is what lies :data:`DEFAULT_GAP_SECONDS` apart at the video's own rate, at least one.
    Raises :class:`MediaError` when the video is too short for the request.
    """
    if info.frames < 2:
        raise MediaError(f"the video has {info.frames} frame(s); two are needed to see a motion")
    if frames is not None:
        for number in frames:
            if not 0 <= number < info.frames:
                raise MediaError(f"the video has frames 0 to {info.frames - 1}; it has no frame {number}")
        if frames[0] == frames[1]:
            raise MediaError(f"the same frame ({frames[0]}) was asked for twice; there is no motion to see")
        return frames
    if gap is None:
        gap = min(max(1, round(DEFAULT_GAP_SECONDS * info.fps)), info.frames - 1)
    if not 1 <= gap < info.frames:
        raise MediaError(f"the video has {info.frames} frames; two of them cannot be {gap} apart")
    first = (info.frames - 1 - gap) // 2
    return first, first + gap
