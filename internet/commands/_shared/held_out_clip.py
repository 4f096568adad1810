"""The clip that `internet demo` animates: one that the model was not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from internet.data.image import square, to_tensor
from internet.data.synthetic import numbered_clip
from internet.data.video import probe, read_frames
from internet.data.video_writer import write_video
from internet.inference import read_source
from internet.training.config import Config
from internet.training.data import OTHER


@dataclass(frozen=True)
class HeldOutClip:
    """Driving frames and, as the source, the first frame of their video: each driving frame is also the truth.

    driving: the video. start, stop: its driving frames.
    """

    driving: Path
    start: int
    stop: int

    @classmethod
    def end_of(cls, video: Path, start: int) -> "HeldOutClip":
        """The frames of a video from `start` on."""
        return cls(video, start, probe(video).frames)

    @classmethod
    def drawn(cls, config: Config, path: Path) -> "HeldOutClip":
        """Write the first of the drawn clips that validation takes, without loss."""
        drawn = config.data.synthetic
        options: dict[str, Any] = {"frames": drawn.frames, "moving_background": drawn.moving_background}
        clip = numbered_clip(config.seed + OTHER, 0, config.model.size, **options)
        write_video(path, clip, fps=clip.fps, lossless=True)
        return cls(path, 0, drawn.frames)

    @property
    def source(self) -> np.ndarray:
        """The picture that is animated, uint8 (H, W, 3)."""
        return read_source(self.driving)

    def numbers(self, count: int) -> list[int]:
        """Frames at equal distances, the last one among them; the first one may be the source itself."""
        spread = np.linspace(self.start, self.stop - 1, count + 1).round().astype(int)
        return sorted({int(number) for number in spread[1:]})

    def pictures(self, numbers: list[int], size: int) -> tuple[Tensor, Tensor]:
        """Source and driving frames as a model takes them, (B, 3, size, size) each."""
        frames = [square(to_tensor(frame), size) for frame in read_frames(self.driving, numbers)]
        return square(to_tensor(self.source), size).repeat(len(frames), 1, 1, 1), torch.cat(frames)
