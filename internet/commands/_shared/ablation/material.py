"""The clips that an ablation trains and is measured on, and where the person is in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from internet.data.clip import Clip
from internet.data.clip_search import find_clips
from internet.data.image import MediaError
from internet.data.synthetic import numbered_clip
from internet.data.video_writer import write_video
from internet.evaluation.person import moving_person
from internet.training.config.sections import SYNTHETIC
from internet.utils.files import atomic_write

#: Drawn clips: how many to train on and to test on, their frames, and of what their numbers are counted.
TRAINED, TESTED, FRAMES, SEED = 24, 3, 30, 1 << 22
#: Half of the backgrounds move and half have no texture, because flow fails on those.
BACKGROUNDS: dict[str, float] = {"moving_background": 0.5, "plain_background": 0.5}
#: If clips are not split into train and test, this share of each is trained on.
SHARE = 0.7

PersonMask = Callable[[str, int, Tensor, Tensor], Tensor]
"""A clip's name, a frame's number, source and frame (1, 3, S, S) -> where the person is, bool (1, 1, S, S)."""


@dataclass(frozen=True)
class Material:
    """settings: of the training, by dotted names. clips: to measure on. driving: which of their frames.

    person: where the person is. about: a description of all this.
    """

    settings: dict[str, Any]
    clips: Sequence[Clip]
    driving: tuple[int, int | None]
    person: PersonMask
    about: str


def prepare(data: str, folder: Path, size: int) -> Material:
    """The material that `data` names: "synthetic", or clips on disk.

    Args:
        data: clips that are split into train and test, or whose frames are: the first 70 % for training.
        folder: where drawn clips are written.
        size: of the model's frames.

    Raises:
        MediaError: there are no clips, or too few frames.
    """
    if data == SYNTHETIC:
        return _drawn(folder, size)
    try:
        tested = find_clips(data, "test")
    except MediaError:
        return _divided(data)
    about = f"clips of '{data}', trained on its split train, measured on {len(tested)} of its split test"
    return Material({"data.path": data}, tested, (0, None), _moving, about)


def _divided(data: str) -> Material:
    """Clips whose last frames are held out."""
    clips = find_clips(data)
    least = min(len(clip.times) for clip in clips)
    cut = round(SHARE * least)
    if cut < 3 or least - cut < 3:
        raise MediaError(f"'{data}' has a clip of {least} frames: too few to train on some and hold out others")
    about = f"{len(clips)} clips of '{data}', trained on frames 0 to {cut - 1}, measured on the others; source: frame 0"
    return Material({"data.path": data, "data.frames": [0, cut]}, clips, (cut, None), _moving, about)


def _drawn(folder: Path, size: int) -> Material:
    """Drawn figures as videos: training treats them like any others, and estimates their flow."""
    names = [f"{number:03d}.mp4" for number in range(TRAINED + TESTED)]
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        if not (folder / name).exists():
            clip = numbered_clip(SEED, number, size, frames=FRAMES, **BACKGROUNDS)
            write_video(folder / name, clip, fps=clip.fps, lossless=True)
    for split, listed in (("train", names[:TRAINED]), ("test", names[TRAINED:])):
        atomic_write(folder / f"{split}.txt", "".join(f"{name}\n" for name in listed).encode())

    def person(name: str, number: int, source: Tensor, frame: Tensor) -> Tensor:
        clip = numbered_clip(SEED, int(name), frame.shape[-1], frames=FRAMES, **BACKGROUNDS)
        return torch.from_numpy(clip.labels(clip.time(number)) > 0)[None, None]

    about = (
        f"{TRAINED} drawn clips of {FRAMES} frames for training, {TESTED} others to measure; half of the backgrounds "
        "move, half have no texture; flow is estimated (DIS)"
    )
    return Material({"data.path": str(folder)}, find_clips(folder, "test"), (0, None), person, about)


def _moving(name: str, number: int, source: Tensor, frame: Tensor) -> Tensor:
    """Where frame and source differ: for filmed clips nothing better is known."""
    return moving_person(source, frame)
