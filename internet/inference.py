"""Animate a picture with a video, from file to file. Memory does not grow with the length of the video."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.data.audio import open_audio
from internet.data.folders import VIDEO_SUFFIXES
from internet.data.image import WHITE, Colour, MediaError, read_image, square, to_array, to_channels, to_tensor
from internet.data.streaming import BrokenVideoError, stream_frames
from internet.data.video import iter_frames
from internet.data.video_writer import video_writer
from internet.model import MotionTransfer, Result

Stamped = tuple[int, np.ndarray]

OnResult = Callable[[int, Tensor, Tensor, Result], None]
"""Receives a frame's number, from 0, the source and the driving frame as the model saw them, and its result."""


def read_source(path: str | os.PathLike[str], background: Colour = WHITE) -> np.ndarray:
    """A picture, or the first frame of a video: uint8 (H, W, 3). Transparent pixels show `background`.

    The suffix decides which is tried first, and whose error is raised if the file is neither.
    """
    readers = [read_image, _first_frame]
    if Path(path).suffix.lower() in VIDEO_SUFFIXES:
        readers.reverse()
    try:
        return readers[0](path, background)
    except MediaError as error:
        try:
            return readers[1](path, background)
        except MediaError:
            raise error from None


def _first_frame(path: str | os.PathLike[str], background: Colour) -> np.ndarray:
    for frame in iter_frames(path, background):
        return frame
    raise MediaError(f"the video '{path}' has no frame that can be shown")


def animate_video(
    model: MotionTransfer,
    source: np.ndarray,
    driving: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int | None = None,
    start: int = 0,
    stop: int | None = None,
    relative: bool = False,
    adapt_scale: bool = True,
    side_by_side: bool = False,
    audio: bool = False,
    background: Colour = WHITE,
    incomplete: str | os.PathLike[str] | None = None,
    precision: torch.dtype = torch.float32,
    progress: Callable[[Iterable[Stamped]], Iterable[Stamped]] = iter,
    on_result: OnResult | None = None,
) -> int:
    """Write the video `out`: the person of `source` moving as in the video `driving`; returns its number of frames.

    Source and driving frames are cropped to their central squares and resized. Every frame is shown when its driving
    frame is. The file gets its name when it is complete. If the driving video is damaged from some frame on, the result
    for the frames before is kept.

    Args:
        model: in evaluation mode; its device is used.
        source: uint8 (H, W, 3).
        driving: a video; see :func:`~internet.data.streaming.stream_frames`.
        out: see :func:`~internet.data.video_writer.video_writer`.
        size: side of the frames, a multiple of ``model.config.multiple``; the model's own by default.
        start, stop: the driving frames to take, from number `start` to before `stop`.
        relative, adapt_scale: see :meth:`~internet.model.INTERnet.animate`.
        side_by_side: show source, driving frame and output side by side.
        audio: copy the audio of the driving video.
        background: the RGB levels behind transparent parts of the driving frames.
        incomplete: the name of the video, instead of `out`, if the driving video is damaged.
        precision: torch.bfloat16 runs the networks under autocast.
        progress: wraps what is iterated over, for instance a tqdm bar.
        on_result: called for every frame.

    Raises:
        ValueError: the model does not support pictures, or frames of this size; a video is missing or too short, or has
            no audio to copy.
        BrokenVideoError: the driving video is damaged; the message says where, and where the frames before it are.
        OutputError: `out` cannot be written.
    """
    size = model.config.size if size is None else size
    device = next(model.parameters()).device
    picture = _as_seen(source, size, model.frame_channels)
    written = 0
    with ExitStack() as stack:
        frames = stack.enter_context(stream_frames(driving, start, stop, background))
        track = stack.enter_context(open_audio(driving, frames.origin)) if audio else None
        video = stack.enter_context(
            video_writer(out, fps=frames.fps, clock=frames.clock, audio=track, incomplete=incomplete)
        )
        stack.enter_context(torch.autocast(device.type, precision, enabled=precision != torch.float32))
        how = {"relative": relative, "adapt_scale": adapt_scale}
        try:
            for stamp, frame, result in _transferred(model, picture, progress(frames), device, how):
                output = result.frame
                shown = torch.cat([picture, frame, output.cpu()], dim=3) if side_by_side else output
                video.write(to_array(shown), stamp)
                if on_result is not None:
                    on_result(written, picture, frame, result)
                written += 1
        except BrokenVideoError as error:
            kept = out if incomplete is None else incomplete
            raise BrokenVideoError(f"{error}; the result for the {written} frames before is '{kept}'") from error
    return written


def _as_seen(image: np.ndarray, size: int, channels: int) -> Tensor:
    """A picture as input of a model; prepared on the CPU, so that it is the same for every device."""
    return to_channels(square(to_tensor(image), size), channels)


def _transferred(
    model: MotionTransfer, source: Tensor, frames: Iterable[Stamped], device: torch.device, how: dict[str, bool]
) -> Iterator[tuple[int, Tensor, Result]]:
    """Each driving frame's stamp, the frame as the model saw it, and the result."""
    waiting: deque[tuple[int, Tensor]] = deque()

    def driving() -> Iterator[Tensor]:
        for stamp, image in frames:
            frame = _as_seen(image, source.shape[-1], source.shape[1])
            waiting.append((stamp, frame))
            yield frame.to(device)

    for result in model.transfer(source.to(device), driving(), **how):
        yield *waiting.popleft(), result
