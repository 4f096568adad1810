"""The audio track of a video, copied as it is: packets are moved in time, not decoded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from internet.data.container import decoding, open_media
from internet.data.image import MediaError


class AudioTrack:
    """The packets of an audio stream from `origin` (seconds) on; their times are counted from there.

    A packet that begins before 0 and ends after it is kept whole: a player decodes it and drops what is before 0.
    """

    def __init__(self, path: str | os.PathLike[str], container: Any, stream: Any, origin: Fraction) -> None:
        self.stream = stream
        self._path, self._shift = path, round(origin / stream.time_base)
        self._packets = self._shifted(container)
        self._next = next(self._packets, None)

    def before(self, seconds: Fraction) -> Iterator[Any]:
        """The packets that begin before this time and have not been returned yet."""
        end = seconds / self.stream.time_base
        while self._next is not None and self._next.pts < end:
            packet, self._next = self._next, next(self._packets, None)
            yield packet

    def _shifted(self, container: Any) -> Iterator[Any]:
        with decoding(self._path):
            for packet in container.demux(self.stream):
                if packet.pts is None or packet.pts + (packet.duration or 0) < self._shift:
                    continue
                packet.pts -= self._shift
                packet.dts = packet.pts  # audio packets are in display order
                yield packet


@contextmanager
def open_audio(path: str | os.PathLike[str], origin: Fraction = Fraction(0)) -> Iterator[AudioTrack]:
    """Open the first audio track of a video for copying; MediaError if there is none.

    `origin` is the time in the video that becomes 0, such as :attr:`FrameStream.origin`.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise MediaError(f"the video '{path}' has no audio track")
        yield AudioTrack(path, container, container.streams.audio[0], origin)
