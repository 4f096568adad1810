"""Animate a picture by a video, from file to file. Memory does not grow with the length of the video."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.data.clips import VIDEO_SUFFIXES
from internet.data.image import read_image, square, to_array, to_tensor
from internet.data.sound import open_sound
from internet.data.streaming import stream_frames
from internet.data.video import read_frames
from internet.data.video_writer import video_writer
from internet.model import INTERnet

Stamped = tuple[int, np.ndarray]


def read_source(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture, or the first frame of a video, by the file's suffix: uint8 (H, W, 3)."""
    return read_frames(path, [0])[0] if Path(path).suffix.lower() in VIDEO_SUFFIXES else read_image(path)


def animate_video(
    model: INTERnet,
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
    precision: torch.dtype = torch.float32,
    progress: Callable[[Iterable[Stamped]], Iterable[Stamped]] = iter,
) -> int:
    """Write the video `out`: the person of `source` moving as in the video `driving`; returns its number of frames.

    Source and driving frames are cropped to their central squares and resized. Every frame is shown when its driving
    frame is. The file takes its name when it is complete.

    Args:
        model: in evaluation mode; its device does the work.
        source: uint8 (H, W, 3).
        driving: a video; see :func:`~internet.data.streaming.stream_frames`.
        out: see :func:`~internet.data.video_writer.video_writer`.
        size: side of the frames, a multiple of ``model.config.multiple``; the model's own by default.
        start, stop: the driving frames to take, from number `start` to before `stop`.
        relative, adapt_scale: see :meth:`~internet.model.INTERnet.animate`.
        side_by_side: show source, driving frame and output beside each other.
        audio: copy the sound of the driving video.
        precision: torch.bfloat16 runs the networks under autocast.
        progress: wraps what is iterated over, for instance a tqdm bar.

    Raises:
        ValueError: the model cannot take frames of this size, or a video is missing, damaged, too short, or silent.
        OutputError: `out` cannot be written.
    """
    size = model.config.size if size is None else size
    device = next(model.parameters()).device
    picture = square(to_tensor(source), size)
    written = 0
    with ExitStack() as stack:
        frames = stack.enter_context(stream_frames(driving, start, stop))
        sound = stack.enter_context(open_sound(driving, frames.origin)) if audio else None
        video = stack.enter_context(video_writer(out, fps=frames.fps, clock=frames.clock, sound=sound))
        stack.enter_context(torch.autocast(device.type, precision, enabled=precision != torch.float32))
        how = {"relative": relative, "adapt_scale": adapt_scale}
        for stamp, frame, output in _transferred(model, picture, progress(frames), device, how):
            shown = torch.cat([picture, frame, output.cpu()], dim=3) if side_by_side else output
            video.write(to_array(shown), stamp)
            written += 1
    return written


def _transferred(
    model: INTERnet, source: Tensor, frames: Iterable[Stamped], device: torch.device, how: dict[str, bool]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each driving frame's stamp, the frame as the model saw it, and what the model made of it."""
    waiting: deque[tuple[int, Tensor]] = deque()

    def driving() -> Iterator[Tensor]:
        for stamp, image in frames:
            frame = square(to_tensor(image), source.shape[-1])  # on the CPU: the same frames on every device
            waiting.append((stamp, frame))
            yield frame.to(device)

    for output in model.animate(source.to(device), driving(), **how):
        yield *waiting.popleft(), output
