"""Write videos with PyAV, a frame at a time, so that memory does not grow with their length."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from internet.data.audio import AudioTrack
from internet.data.container import file_url
from internet.data.pixels import SCALER_THREADS
from internet.data.streaming import BrokenVideoError
from internet.utils.files import OutputError, replacement
from internet.utils.optional import require

CRF = "17"
"""H.264's constant rate factor: what the eye cannot tell from the original."""

REC709 = 1
"""Matrix, primaries and transfer curve of Rec. 709 (ITU-T H.273): what players take wide pictures for, told or not."""

RGB_MATRIX = 0
LIMITED, FULL = 1, 2
"""Ranges of levels: 16 to 235, and 0 to 255."""


class VideoWriter:
    """Appends frames to an H.264 video; made by :func:`video_writer`."""

    def __init__(
        self, path: Path, fps: float, lossless: bool, clock: Fraction | None, audio: AudioTrack | None
    ) -> None:
        self._av = require("av", "writing a video")
        self._path, self._lossless = path, lossless
        self._rate = Fraction(fps).limit_denominator(1001)
        self._clock, self._audio = clock or 1 / self._rate, audio
        self._container: Any = None
        self._stream: Any = None
        self._audio_stream: Any = None
        self._next = 0

    def write(self, frame: np.ndarray, stamp: int | None = None) -> None:
        """Append a frame, uint8 (H, W, 3) RGB, of the size of the first, shown at `stamp` on the writer's clock.

        Stamps ascend; without one it is shown a unit after the frame before it.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"expected a uint8 (H, W, 3) frame, got {frame.dtype} {frame.shape}")
        if self._container is None:
            self._open(*frame.shape[:2])
        expected = (self._stream.height, self._stream.width)
        if frame.shape[:2] != expected:
            raise ValueError(f"a frame is {frame.shape[:2]}, those before it are {expected} (height, width)")
        picture = self._coded(np.ascontiguousarray(frame))
        picture.pts, picture.time_base = self._next if stamp is None else stamp, self._clock
        self._next = picture.pts + 1
        self._copy_audio(picture.pts * self._clock)
        self._container.mux(self._stream.encode(picture))

    def close(self, *, complete: bool) -> None:
        """Write what the encoder still holds, if the video is `complete`, and close the file."""
        if self._container is None:
            if complete:
                raise ValueError("a video needs at least one frame; none was written")
            return
        if complete:
            self._copy_audio((self._next - 1) * self._clock + 1 / self._rate)
            self._container.mux(self._stream.encode())
        self._container.close()

    def _coded(self, frame: np.ndarray) -> Any:
        """A frame in the colours that the stream is tagged with."""
        picture = self._av.VideoFrame.from_ndarray(frame, format="rgb24")
        if self._lossless:
            return picture
        kinds = self._av.video.reformatter
        options = {"dst_colorspace": kinds.Colorspace.ITU709, "dst_color_range": kinds.ColorRange.MPEG}
        return picture.reformat(format=self._stream.pix_fmt, threads=SCALER_THREADS, **options)

    def _add_audio(self, audio: AudioTrack) -> None:
        try:
            self._audio_stream = self._container.add_stream_from_template(audio.stream)
            self._container.start_encoding()
        except ValueError as error:
            codec = audio.stream.codec_context.name
            raise ValueError(
                f"a file that ends in '{self._path.suffix}' cannot hold this audio ({codec}); one that ends in .mkv can"
            ) from error

    def _copy_audio(self, end: Fraction) -> None:
        """Write the packets of audio before `end` (seconds): picture and audio lie side by side in the file."""
        if self._audio is not None:
            for packet in self._audio.before(end):
                packet.stream = self._audio_stream
                self._container.mux(packet)

    def _open(self, height: int, width: int) -> None:
        if not self._lossless and (height % 2 or width % 2):
            raise ValueError(f"a frame is {height}x{width}; a video that every player shows has even sides")
        codec, pixels, crf = ("libx264rgb", "rgb24", "0") if self._lossless else ("libx264", "yuv420p", CRF)
        self._container = self._av.open(file_url(self._path), "w")
        self._stream = self._container.add_stream(codec, rate=self._rate, options={"crf": crf})
        self._stream.pix_fmt = pixels
        self._stream.height, self._stream.width = height, width
        coder = self._stream.codec_context
        coder.time_base = self._clock
        coder.colorspace, coder.color_range = (RGB_MATRIX, FULL) if self._lossless else (REC709, LIMITED)
        coder.color_primaries = coder.color_trc = REC709
        if self._audio is not None:
            self._add_audio(self._audio)


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise a ValueError if no format for H.264 video has the suffix of ``path``."""
    av, suffix = require("av", "writing a video"), Path(path).suffix
    with tempfile.TemporaryDirectory() as folder:
        try:
            with av.open(str(Path(folder, f"video{suffix}")), "w") as container:
                container.add_stream("libx264")
        except ValueError as error:
            raise ValueError(f"'{path}': no format for H.264 video has the suffix '{suffix}' (use .mp4)") from error


@contextmanager
def video_writer(
    path: str | os.PathLike[str],
    *,
    fps: float,
    lossless: bool = False,
    clock: Fraction | None = None,
    audio: AudioTrack | None = None,
    incomplete: str | os.PathLike[str] | None = None,
) -> Iterator[VideoWriter]:
    """Write a video, ``with video_writer(path, fps=25) as video: video.write(frame)``, frame by frame.

    The video takes its name when the block ends well: one that raises or is killed leaves neither half a video nor a
    changed old one.

    Args:
        path: ends in .mp4, .mov, .mkv or what else FFmpeg knows.
        fps: frames per second.
        lossless: RGB kept exactly, which few players show; otherwise yuv420p, which all do, with even sides.
        clock: seconds between one stamp of a frame and the next, for frames at irregular times; 1 / fps without it.
        audio: copied into the file, as long as the frames are shown.
        incomplete: the name that the video gets instead if the block raises
            :class:`~internet.data.streaming.BrokenVideoError`, for what was written up to there; None: `path` itself.

    Raises:
        OutputError: the file cannot be written.
        MissingExtraError: PyAV is not installed.
        ValueError: no format has the suffix, or not with this audio; there was no frame, or one of a wrong shape,
            dtype or size.
    """
    errors = require("av", "writing a video").error
    check_suffix(path)
    with replacement(path) as part:
        video = VideoWriter(part, fps, lossless, clock, audio)
        try:
            yield video
            video.close(complete=True)
        except errors.FFmpegError as error:
            raise OutputError(f"cannot write the video '{path}': {error.strerror}") from error
        except BrokenVideoError:
            video.close(complete=True)
            with replacement(path if incomplete is None else incomplete) as kept:
                os.replace(part, kept)
            raise
        except BaseException:
            video.close(complete=False)
            raise


def write_video(
    path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, fps: float, lossless: bool = False
) -> None:
    """Write all frames, as :func:`video_writer` does."""
    with video_writer(path, fps=fps, lossless=lossless) as video:
        for frame in frames:
            video.write(frame)
