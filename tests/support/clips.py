"""Small video files, created by the tests."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def write_video(path: Path, frames: list[np.ndarray], fps: int = 25) -> Path:
    """A lossless H.264 file of uint8 (H, W, 3) frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps), options={"crf": "0", "g": "8"})
        stream.pix_fmt = "rgb24"
        stream.height, stream.width = frames[0].shape[:2]
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_image(path: Path, image: np.ndarray) -> Path:
    """A picture of a uint8 (H, W, 3) RGB array."""
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))
    return path


def write_sound(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path


def turn_clockwise(path: Path) -> Path:
    """Mark an MP4 as recorded with the camera held sideways, to be rotated clockwise by a quarter turn for display.

    Writes the rotation matrix [0 1 0; -1 0 0; 0 0 1], in fixed point, into the track header (box "tkhd").
    """
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one, unit = 1 << 16, 1 << 30
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, unit)
    path.write_bytes(content)
    return path


def write_talkie(path: Path, frames: list[np.ndarray], stamps: list[int] | None = None, codec: str = "aac") -> Path:
    """A video, 25 frames per second or at these times in milliseconds, with a rising tone of the same length."""
    clock = Fraction(1, 25 if stamps is None else 1000)
    stamps = list(range(len(frames))) if stamps is None else stamps
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "bf": "2"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = frames[0].shape[:2]
        stream.codec_context.time_base = clock
        sound = container.add_stream(codec, rate=48000, layout="mono")
        for image, stamp in zip(frames, stamps, strict=True):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = stamp, clock
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        seconds = np.arange(round(48000 * stamps[-1] * clock) + 1920) / 48000
        samples = np.sin(2 * np.pi * (200 + 300 * seconds) * seconds)
        if codec == "aac":
            wave, form = (0.5 * samples).astype(np.float32), "flt"
        else:
            wave, form = (16000 * samples).astype(np.int16), "s16"
        tone = av.AudioFrame.from_ndarray(wave[None], format=form, layout="mono")
        tone.sample_rate, tone.pts = 48000, 0
        container.mux(sound.encode(tone))
        container.mux(sound.encode())
    return path


def heard(path: Path) -> tuple[float, np.ndarray]:
    """The start of a file's audio, in seconds, and its samples."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return frames[0].time, np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def shown(path: Path) -> list[float]:
    """The times in seconds at which the frames of a file are shown."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]
