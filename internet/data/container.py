"""Opening a media file with PyAV, for reading frames, streaming them and copying audio."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from internet.data.image import MediaError, check_file
from internet.utils.optional import require

#: Formats that FFmpeg opens as video but that are not: text (drawn as ANSI art) and lists of other files.
NOT_VIDEO = frozenset({"tty", "concat", "hls", "dash", "sdp", "rtsp", "image2"})

#: Formats that store one time per packet, in the order of decoding, not of display.
DECODING_ORDER = frozenset({"avi", "asf", "mxf", "mxf_opatom", "wtv"})


@contextmanager
def open_media(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file as a PyAV container; every failure of the demuxer or a decoder becomes a MediaError."""
    av = require("av", "reading a video")
    path = check_file(path, "video")
    options = {"protocol_whitelist": "file"}  # a playlist must not open network addresses
    with decoding(path), av.open(file_url(path), options=options, metadata_errors="replace") as container:
        yield container


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """Open a video and its first track of moving pictures, skipping covers and thumbnails."""
    with open_media(path) as container:
        yield container, moving_pictures(path, container)


def moving_pictures(path: str | os.PathLike[str], container: Any) -> Any:
    """The video stream of an open container; :class:`MediaError` if there is none."""
    av = require("av", "reading a video")
    if container.format.name in NOT_VIDEO:
        raise MediaError(f"'{path}' is not a video")
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    tracks = [stream for stream in container.streams.video if not stream.disposition & still]
    if not tracks:
        raise MediaError(f"'{path}' has no video track")
    if tracks[0].codec_context is None:
        raise MediaError(f"the video '{path}' cannot be decoded: FFmpeg has no decoder for it here")
    return tracks[0]


@contextmanager
def decoding(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors of a video's demuxer or decoder into a MediaError that names the video."""
    errors = require("av", "reading a video").error
    try:
        yield
    except errors.FFmpegError as error:
        raise MediaError(f"the video '{path}' cannot be decoded: {error.strerror}") from error


def decode(packets: Iterable[Any]) -> Iterator[Any]:
    """The frames of a stream's packets, in the order of display.

    A recording may begin in the middle of a stream: packets that do not decode are skipped until there is a first
    frame. After that such a packet is an error, raised when the frames that the decoder still holds have been yielded.
    """
    errors = require("av", "reading a video").error
    begun, failed = False, None
    for packet in packets:
        try:
            frames = packet.decode()
        except errors.FFmpegError as error:
            if not begun:
                failed = error
                continue
            with suppress(errors.FFmpegError):
                yield from packet.stream.codec_context.decode(None)
            raise
        begun = begun or bool(frames)
        yield from frames
    if failed and not begun:
        raise failed


def file_url(path: str | os.PathLike[str]) -> str:
    """A path in a form that FFmpeg takes for a file: without the scheme, "12:30.mp4" would mean a protocol "12"."""
    return f"file:{os.fspath(Path(path))}"


def frame_rate(stream: Any) -> float:
    """The average number of frames per second, as the file states it; 25 if it does not."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def tells_display_time(container: Any, stream: Any) -> bool:
    """Whether the times of a file's packets are the times at which frames are shown."""
    return container.format.name not in DECODING_ORDER or not stream.codec_context.has_b_frames
