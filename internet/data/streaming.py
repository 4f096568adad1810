"""The frames of a video of any length, one at a time, with their times."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import numpy as np

from internet.data.container import decode, frame_rate, open_video, tells_display_time
from internet.data.image import WHITE, Colour, MediaError
from internet.data.pixels import displayed
from internet.utils.optional import require


class BrokenVideoError(MediaError):
    """A video cannot be decoded further; the frames before are good."""


class FrameStream:
    """Iterates over (stamp, frame): frames are uint8 (H, W, 3), stamps ascend from 0 in units of `clock`.

    Stamps are the file's own, so that irregular times are kept; a file without them has stamps from its frame rate.

    Attributes:
        fps: the average frame rate of the video.
        clock: seconds per unit of the stamps, exactly.
        origin: seconds in the file's own time at which the first frame is shown.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        container: Any,
        stream: Any,
        start: int = 0,
        stop: int | None = None,
        background: Colour = WHITE,
    ) -> None:
        self._path, self._stream, self._start, self._background = path, stream, start, background
        self._frames = islice(decode(container.demux(stream)), start, stop)
        first = next(self._frames, None)
        if first is None:
            raise MediaError(f"the video '{path}' has no frame {start}")
        self._first: Any = first
        self._timed = tells_display_time(container, stream) and self._first.pts is not None
        self.fps = frame_rate(stream)
        self.clock: Fraction = stream.time_base if self._timed else 1 / Fraction(self.fps).limit_denominator(1001)
        self.origin: Fraction = (self._first.pts if self._timed else start) * self.clock

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Raises :class:`BrokenVideoError` where the video cannot be decoded further."""
        last, count = -1, 0
        errors = require("av", "reading a video").error
        try:
            for frame in chain([self._first], self._frames):
                last = max(self._stamp(frame), last + 1)  # in some damaged files times decrease
                yield last, displayed(frame, self._stream.sample_aspect_ratio, self._background)
                count += 1
        except errors.FFmpegError as error:
            raise BrokenVideoError(
                f"the video '{self._path}' is damaged after frame {self._start + count - 1}, at "
                f"{float(last * self.clock):.2f} s: {error.strerror}"
            ) from error

    def _stamp(self, frame: Any) -> int:
        """The frame's own stamp; 0 if it has none (the caller then counts on from the last)."""
        return frame.pts - self._first.pts if self._timed and frame.pts is not None else 0


@contextmanager
def stream_frames(
    path: str | os.PathLike[str], start: int = 0, stop: int | None = None, background: Colour = WHITE
) -> Iterator[FrameStream]:
    """Open the frames number `start` to before `stop` of a video; the first is decoded here, the others as they come.

    Transparent pixels show `background`. Raises :class:`MediaError` if the video has no such frame or it cannot be
    decoded.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"start is {start} and stop is {stop}, expected 0 <= start < stop")
    with open_video(path) as (container, stream):
        yield FrameStream(path, container, stream, start, stop, background)
