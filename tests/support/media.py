"""Realistic video files: various codecs and containers, cut, shifted, truncated, tagged."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE = 64


def pictures(count: int, side: int = SIDE) -> Iterator[np.ndarray]:
    """Different pictures (side, side, 3): moving noise, and a stripe that shows their number."""
    noise = np.random.default_rng(0).integers(0, 128, (side, side, 3), np.uint8)
    for number in range(count):
        picture = np.roll(noise, 2 * number, axis=1)
        picture[:8] = 4 * number % 256
        yield picture


def encode(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    form: str | None = None,
    pixels: str = "yuv420p",
    aspect: Fraction = Fraction(1),
    rate: int = 25,
) -> Path:
    """Write RGB or RGBA frames as a video, with an encoder's and a muxer's options."""
    with av.open(str(path), "w", format=form, options=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixels
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width = frame.shape[:2]
                stream.codec_context.sample_aspect_ratio = aspect
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=("rgb24", "rgba")[frame.shape[2] == 4])))
        file.mux(stream.encode())
    return path


def remux(
    source: Path, path: Path, *, skip: int = 0, seconds: float = 0, container: dict[str, str] | None = None
) -> Path:
    """Copy a video's packets from number `skip` on, delayed by some seconds."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=container) as new:
        template = old.streams.video[0]
        stream = new.add_stream_from_template(template)
        shift = round(seconds / template.time_base)
        packets = [packet for packet in old.demux(template) if packet.size]
        for packet in packets[skip:]:
            packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
            new.mux(packet)
    return path


def break_off(path: Path, fraction: float) -> Path:
    """The file as left by a download that stops after this fraction."""
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    return path
