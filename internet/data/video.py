"""Read frames of a video with PyAV: by number, by time, or one after another.

Frames are uint8 (H, W, 3) RGB arrays, turned upright where the file says that the camera was held
sideways. Numbers count decoded frames from 0, times are seconds from the first frame.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from internet.data.container import frame_rate, open_video, tells_time, upright
from internet.data.image import MediaError

#: Two frames this far apart show a walking person's limbs clearly moved but still recognisable.
DEFAULT_GAP_SECONDS = 0.1


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds. ``fps`` is the average frame rate, ``frames`` the exact number of coded frames."""

    width: int
    height: int
    fps: float
    frames: int


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, rate and number of frames. The file's packets are counted: headers are often wrong or silent."""
    with open_video(path) as (container, stream):
        frames = sum(1 for packet in container.demux(stream) if packet.size)
        return VideoInfo(stream.codec_context.width, stream.codec_context.height, frame_rate(stream), frames)


def iter_frames(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """Yield every frame in order, holding only one at a time."""
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            yield upright(frame)


def read_frames(path: str | os.PathLike[str], numbers: Sequence[int]) -> list[np.ndarray]:
    """Read the frames with these numbers, in the order asked; a negative number counts from the end.

    Raises :class:`MediaError` when the video has no such frame.
    """
    if any(number < 0 for number in numbers):
        total = probe(path).frames
        numbers = [number + total if number < 0 else number for number in numbers]
    wanted = set(numbers)
    found: dict[int, np.ndarray] = {}
    decoded = 0
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            if decoded in wanted:
                found[decoded] = upright(frame)
            decoded += 1
            if len(found) == len(wanted):
                break
    for number in numbers:
        if number not in found:
            raise MediaError(f"the video '{path}' has {decoded} frames; it has no frame {number}")
    return [found[number] for number in numbers]


@dataclass(frozen=True)
class VideoIndex:
    """When each frame of a video is shown, found from its packets without decoding any.

    ``stamps`` are presentation times in units of the stream's clock, ascending; None where the file has none.
    """

    seconds: tuple[float, ...]
    stamps: tuple[int, ...] | None


def index_video(path: str | os.PathLike[str]) -> VideoIndex:
    """Read the times of all frames. Raises :class:`MediaError` when there is nothing to decode."""
    with open_video(path) as (container, stream):
        stamps = [packet.pts for packet in container.demux(stream) if packet.size]
        rate, timed = frame_rate(stream), tells_time(container)
        clock = float(stream.time_base or 0)
    if not stamps:
        raise MediaError(f"the video '{path}' has no frames")
    if not timed or None in stamps or len(set(stamps)) < len(stamps):
        return VideoIndex(tuple(number / rate for number in range(len(stamps))), None)
    stamps.sort()
    return VideoIndex(tuple((stamp - stamps[0]) * clock for stamp in stamps), tuple(stamps))


def read_indexed(path: str | os.PathLike[str], index: VideoIndex, numbers: Sequence[int]) -> list[np.ndarray]:
    """Read the frames with these numbers, in the order asked, each decoded from the key frame before it.

    Raises :class:`MediaError` when the video has no such frame or does not decode.
    """
    for number in numbers:
        if not 0 <= number < len(index.seconds):
            raise MediaError(f"the video '{path}' has {len(index.seconds)} frames; it has no frame {number}")
    if index.stamps is None:
        return read_frames(path, numbers)
    found: dict[int, np.ndarray] = {}
    wanted = {index.stamps[number] for number in numbers}
    with open_video(path) as (container, stream):
        for stamp in sorted(wanted, reverse=True):  # on the way to the last, earlier ones mostly come along
            if stamp not in found:
                _decode_until(container, stream, stamp, found, wanted)
    missing = [number for number in numbers if index.stamps[number] not in found]
    if missing:
        raise MediaError(f"the frames {missing} of the video '{path}' do not decode")
    return [found[index.stamps[number]] for number in numbers]


def _decode_until(container: Any, stream: Any, last: int, found: dict[int, np.ndarray], wanted: set[int]) -> None:
    """Seek to the key frame before ``last`` and decode up to it, keeping what is wanted on the way."""
    container.seek(last, stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts in wanted:
            found[frame.pts] = upright(frame)
        if frame.pts is not None and frame.pts >= last:
            return


def read_frame_at(path: str | os.PathLike[str], seconds: float) -> np.ndarray:
    """Read the frame that is on the screen ``seconds`` after the first one.

    Jumps to the key frame before it, so that a late frame of a long video comes quickly.
    Raises :class:`MediaError` for a time before the start or past the end.
    """
    with open_video(path) as (container, stream):
        start = float((stream.start_time or 0) * stream.time_base)
        length = float(stream.duration * stream.time_base) if stream.duration else None
        if seconds < 0 or (length is not None and seconds >= length):
            raise MediaError(f"the video '{path}' lasts {length or 0:.3f} s; it has no frame at {seconds:.3f} s")
        container.seek(int((start + seconds) / stream.time_base), stream=stream, backward=True)
        shown = None
        for frame in container.decode(stream):
            if frame.time is not None and frame.time > start + seconds + 1e-9:
                break
            shown = frame
        if shown is None:
            raise MediaError(f"the video '{path}' has no frame at {seconds:.3f} s")
        return upright(shown)


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
