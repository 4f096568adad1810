"""Clips to measure: pairs of generated and real frames, generated or read one after another."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from internet.data.clip import Clip, VideoClip
from internet.data.clip_search import SPLITS, find_clips
from internet.data.image import MediaError, square, to_channels, to_tensor
from internet.data.video import iter_frames
from internet.model import MotionTransfer


@dataclass(frozen=True)
class ClipPair:
    """A clip whose pairs of frames can be iterated over.

    name: of the real clip. length: its number of frames. fps: of the clip.
    source: the picture that was animated, (1, 3, S, S) in [0, 1]: the real clip's first frame.
    frames: begins a pass over (generated, reference), each (1, 3, S, S) in [0, 1].
    """

    name: str
    length: int
    fps: float
    source: Callable[[], Tensor]
    frames: Callable[[], Iterator[tuple[Tensor, Tensor]]]


def self_imitations(
    model: MotionTransfer, clips: Sequence[Clip], size: int, driving: tuple[int, int | None] = (0, None)
) -> list[ClipPair]:
    """The first frame of each clip, animated by all of its frames, or by those from one number to before another.

    For a model of grey frames, the real ones are converted to grey, too.
    """
    return [_self_imitation(model, clip, size, driving) for clip in clips]


def _self_imitation(model: MotionTransfer, clip: Clip, size: int, numbers: tuple[int, int | None]) -> ClipPair:
    device = next(model.parameters()).device

    def seen() -> Iterator[Tensor]:
        """The clip's frames as input of the model."""
        return (to_channels(frame, model.frame_channels).to(device) for frame in clip_frames(clip, size))

    def source() -> Tensor:
        return _rgb(next(seen()))

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        kept: list[Tensor] = []

        def driving() -> Iterator[Tensor]:
            for frame in islice(seen(), *numbers):
                kept.append(frame)
                yield frame

        for generated in model.animate(next(seen()), driving()):
            yield _rgb(generated.float().clamp(0, 1)), _rgb(kept.pop())

    return ClipPair(clip.name, len(range(len(clip.times))[slice(*numbers)]), frame_rate(clip), source, frames)


def _rgb(frame: Tensor) -> Tensor:
    """(1, 3, S, S), from three channels or one."""
    return frame.expand(-1, 3, -1, -1)


def paired_clips(
    generated: str | os.PathLike[str], reference: str | os.PathLike[str], size: int, device: torch.device
) -> list[ClipPair]:
    """The clips of two folders (or two videos) that have the same names, the videos' suffixes aside.

    Raises:
        MediaError: a folder has no clips; a clip is only in one folder, or has more frames in one.
    """
    ours, theirs = ({clip.name: clip for clip in all_clips(place)} for place in (generated, reference))
    if len(ours) == len(theirs) == 1:  # two videos, whatever their names
        ours = dict(zip(theirs, ours.values(), strict=True))
    if alone := sorted(set(ours) ^ set(theirs)):
        named = ", ".join(f"'{name}'" for name in alone[:5]) + (f" and {len(alone) - 5} more" if alone[5:] else "")
        raise MediaError(f"'{generated}' and '{reference}' must hold clips of the same names; in one alone: {named}")
    return [_pair(ours[name], theirs[name], size, device) for name in theirs]


def _pair(ours: Clip, theirs: Clip, size: int, device: torch.device) -> ClipPair:
    lengths = len(ours.times), len(theirs.times)
    if lengths[0] != lengths[1]:
        raise MediaError(
            f"the generated clip of '{theirs.name}' has {lengths[0]} frames, the real one {lengths[1]}: frames are "
            "compared by their numbers; cut one of them"
        )

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        for pair in zip(clip_frames(ours, size), clip_frames(theirs, size), strict=True):
            yield pair[0].to(device), pair[1].to(device)

    def source() -> Tensor:
        return next(clip_frames(theirs, size)).to(device)

    return ClipPair(theirs.name, lengths[1], frame_rate(theirs), source, frames)


def all_clips(root: str | os.PathLike[str], split: str | None = None) -> list[Clip]:
    """The clips of one split, or of all splits that exist.

    Raises:
        MediaError: there are none.
    """
    if split is not None:
        return find_clips(root, split)
    found: dict[str, Clip] = {}
    failures = []
    for part in SPLITS:
        try:
            found |= {clip.name: clip for clip in find_clips(root, part)}
        except MediaError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return list(found.values())


def clip_frames(clip: Clip, size: int) -> Iterator[Tensor]:
    """A clip's frames, cropped to their central squares and resized, (1, 3, size, size) in [0, 1], one at a time."""
    images = iter_frames(clip.path) if isinstance(clip, VideoClip) else _read_one_by_one(clip)
    return (square(to_tensor(image), size).clamp(0, 1) for image in images)


def _read_one_by_one(clip: Clip) -> Iterator[np.ndarray]:
    return (clip.read([number])[0] for number in range(len(clip.times)))


def frame_rate(clip: Clip) -> float:
    """The average number of frames per second."""
    times = clip.times
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 25.0
