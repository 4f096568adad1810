"""A clip that a run does not train on, animated before and after training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from internet.data.clip_search import Clip, find_clips
from internet.data.image import square, to_tensor
from internet.data.synthetic import numbered_clip
from internet.model import MotionTransfer
from internet.training.config import Config
from internet.training.config.sections import SYNTHETIC
from internet.training.data import HELD_OUT_SEED

#: The largest number of driving frames: three seconds at a typical rate.
LONGEST = 75


@dataclass(frozen=True)
class HeldOutClip:
    """Driving frames and, as the source, the first frame of their clip. Each driving frame is also the target.

    title: which clip, and which of its frames. source: (1, 3, S, S) in [0, 1]. driving: (N, 3, S, S), at `fps`.
    numbers: of the driving frames in their clip.
    """

    title: str
    source: Tensor
    driving: Tensor
    numbers: Sequence[int]
    fps: float

    @classmethod
    def of(cls, config: Config) -> "HeldOutClip":
        """The first validation clip, or those of its first frames that training leaves out."""
        return cls._drawn(config) if config.validation.path == SYNTHETIC else cls._filmed(config)

    @classmethod
    def _drawn(cls, config: Config) -> "HeldOutClip":
        drawn, size = config.data.synthetic, config.model.size
        options: dict[str, Any] = {"frames": drawn.frames, "moving_background": drawn.moving_background}
        clip = numbered_clip(config.seed + HELD_OUT_SEED, 0, size, **options)
        numbers = range(1, min(drawn.frames, LONGEST + 1))
        return cls._made("Drawn figure", clip[0], [clip[number] for number in numbers], numbers, clip.fps, size)

    @classmethod
    def _filmed(cls, config: Config) -> "HeldOutClip":
        clip: Clip = find_clips(config.validation.path, config.validation.split)[0]
        numbers = range(len(clip.times))[slice(*config.validation.frames)][:LONGEST]
        source, *driving = clip.read([0, *numbers])
        if not numbers:
            frames = config.validation.frames
            raise ValueError(f"validation.frames is {frames}: the clip '{clip.name}' has none of them")
        fps = (len(clip.times) - 1) / (clip.times[-1] - clip.times[0]) if len(clip.times) > 1 else 25.0
        return cls._made(clip.name, source, driving, numbers, fps, config.model.size)

    @classmethod
    def _made(
        cls, name: str, source: np.ndarray, driving: list[np.ndarray], numbers: range, fps: float, size: int
    ) -> "HeldOutClip":
        frames = torch.cat([square(to_tensor(frame), size) for frame in driving])
        title = f"{name}, frames {numbers[0]} to {numbers[-1]}, source frame 0"
        return cls(title, square(to_tensor(source), size), frames, numbers, fps)

    def animated_by(self, model: MotionTransfer) -> list[Tensor]:
        """The output for each driving frame, (1, 3, S, S), on the CPU, of a model, which is set to evaluation mode."""
        device = next(model.parameters()).device
        driving = (frame[None].to(device) for frame in self.driving)
        return [frame.cpu() for frame in model.eval().animate(self.source.to(device), driving)]

    def spread(self, count: int) -> list[int]:
        """Indices of at most `count` equally spaced driving frames, including the last."""
        places = np.linspace(0, len(self.driving), count + 1).round().astype(int)[1:] - 1
        return sorted({int(place) for place in places if place >= 0})
