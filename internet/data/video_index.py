"""Which frames of a video can be shown, and when: what reading them by number needs.

Numbers count the frames that decoding from the start of the file gives, in the order of display. Decoding all of a
long video takes minutes, so its packets are listed instead, which takes milliseconds, and only what packets do not
tell is decoded:

* the start: frames before the first key frame, and those after it that refer to what came before (an open group of
  pictures), have packets but cannot be shown;
* the end, where a packet is damaged, such as the last one of a download that broke off, or where the format does not
  tell (MPEG program and transport streams, which have a key frame at least every second or so);
* everything, in files without display times (raw streams, AVI with B-frames) or without marked key frames.

Packets that an edit list hides, as in a clip that was cut without encoding it again, are marked by the demuxer.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from internet.data.container import decode, frame_rate, open_video, tells_display_time
from internet.data.image import MediaError
from internet.utils.optional import require

#: Formats whose demuxer does not mark the packet in which a file breaks off.
UNMARKED_END = frozenset({"mpeg", "mpegts"})


class KeyFrame(NamedTuple):
    """Where decoding can begin: presentation and decoding time of a packet, in units of the stream's clock."""

    pts: int
    dts: int | None


@dataclass(frozen=True)
class VideoIndex:
    """When each frame of a video is shown.

    Attributes:
        seconds: from the first frame, ascending.
        stamps: presentation times in units of the stream's clock, strictly ascending; None if the file has none that
            tell its frames apart.
        keys: the key frames, by ascending presentation time.
    """

    seconds: tuple[float, ...]
    stamps: tuple[int, ...] | None
    keys: tuple[KeyFrame, ...]


def index_video(path: str | os.PathLike[str]) -> VideoIndex:
    """List the frames of a video. Raises :class:`MediaError` when none can be shown."""
    with open_video(path) as (container, stream):
        packets = list(_packets(container, stream))
        timed, unmarked = tells_display_time(container, stream), container.format.name in UNMARKED_END
        rate, clock = frame_rate(stream), float(stream.time_base or 0)
    listed = _shown(path, packets, check_end=unmarked) if timed else None
    decoded = list(_decoded(path)) if listed is None else listed
    if not decoded:
        raise MediaError(f"the video '{path}' has no frame that can be shown")
    stamps = _ascending(decoded) if timed else None
    if stamps is None:
        return VideoIndex(tuple(number / rate for number in range(len(decoded))), None, ())
    seconds = tuple((stamp - stamps[0]) * clock for stamp in stamps)
    return VideoIndex(seconds, tuple(stamps), tuple(sorted(_keys(packets))))


def decode_from(container: Any, stream: Any, key: KeyFrame) -> Iterator[Any]:
    """The frames of a stream from a key frame on; none where it is not found, or turns out not to be one.

    Frames that are decoded after it and shown before it refer to what was not decoded: they are left out.
    """
    frames = (frame for frame in decode(_packets_from(container, stream, key)) if (frame.pts or 0) >= key.pts)
    first = next(frames, None)
    if first is not None and first.key_frame:  # some formats mark every packet
        yield first
        yield from frames


def _packets_from(container: Any, stream: Any, key: KeyFrame) -> Iterator[Any]:
    """The packets of a stream from a key frame on; none where the demuxer does not find it.

    Some formats look for a presentation time and some for a decoding time; those without an index land anywhere before.
    """
    errors = require("av", "reading a video").error
    for stamp in (key.pts, key.dts):
        if stamp is None:
            continue
        try:
            container.seek(stamp, stream=stream, backward=True)
        except errors.FFmpegError:
            continue
        packets = container.demux(stream)
        for packet in packets:
            if packet.pts == key.pts and packet.is_keyframe:
                yield packet
                yield from packets
                return
            if packet.is_keyframe and packet.pts is not None and packet.pts > key.pts:
                break


class _Packet(NamedTuple):
    pts: int | None
    dts: int | None
    key: bool
    hidden: bool
    damaged: bool


def _packets(container: Any, stream: Any) -> Iterator[_Packet]:
    """What a stream's packets tell, up to where the file breaks off."""
    errors = require("av", "reading a video").error
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield _Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)
    except errors.FFmpegError:
        return


def _keys(packets: Sequence[_Packet]) -> list[KeyFrame]:
    return [KeyFrame(packet.pts, packet.dts) for packet in packets if packet.key and packet.pts is not None]


def _ascending(stamps: Sequence[int | None]) -> list[int] | None:
    """The times themselves if all are known and each is later than the one before."""
    known = [stamp for stamp in stamps if stamp is not None]
    return known if len(known) == len(stamps) and all(one < other for one, other in pairwise(known)) else None


def _shown(path: str | os.PathLike[str], packets: list[_Packet], *, check_end: bool) -> list[int] | None:
    """The times of the frames that can be shown, ascending; None if only decoding all of them tells."""
    keys = _keys(packets)
    if not keys or any(packet.pts is None for packet in packets):
        return None
    stamps = _ascending(sorted(packet.pts for packet in packets if packet.pts is not None and not packet.hidden))
    if not stamps:
        return None
    begin = _ascending(list(_decoded(path, until=max(keys[0].pts, stamps[0]))))
    if not begin:
        return None
    shown = begin + [stamp for stamp in stamps if stamp > begin[-1]]
    damaged = next((number for number, packet in enumerate(packets) if packet.damaged), None)
    if damaged is None and not check_end:
        return shown
    last = max(_keys(packets[:damaged]), default=None)
    if last is None:
        return None
    with open_video(path) as (container, stream):
        end = _ascending(list(_stamps(decode_from(container, stream, last))))
    if not end:
        return None
    return [stamp for stamp in shown if stamp < last.pts] + end


def _decoded(path: str | os.PathLike[str], until: int | None = None) -> Iterator[int | None]:
    """The times of the frames that decoding from the start gives, up to the first that is shown at `until` or later."""
    with open_video(path) as (container, stream):
        for stamp in _stamps(decode(container.demux(stream))):
            yield stamp
            if until is not None and stamp is not None and stamp >= until:
                return


def _stamps(frames: Iterator[Any]) -> Iterator[int | None]:
    """When frames are shown, up to where they no longer decode."""
    with suppress(require("av", "reading a video").error.FFmpegError):
        for frame in frames:
            yield frame.pts
