"""Small video files for the tests, made on the spot."""

import struct
from fractions import Fraction
from pathlib import Path

import av
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
    """Mark an MP4 as shot with the camera held sideways: "turn me a quarter clockwise when you show me".

    Writes the rotation matrix [0 1 0; -1 0 0; 0 0 1], in fixed point, into the track header (box "tkhd").
    """
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one, unit = 1 << 16, 1 << 30
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, unit)
    path.write_bytes(content)
    return path
