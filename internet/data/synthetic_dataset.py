"""An endless supply of training samples whose every motion is known: `SyntheticDataset`."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from internet.data.synthetic import WalkingClip, numbered_clip

SAMPLES_PER_CLIP = 8
"""Drawing a clip's background costs more than a sample: so many samples share it."""


class SyntheticDataset(Dataset[dict[str, Any]]):
    """Samples of drawn clips: a pure function of a seed and an index, on any machine and for any number of workers.

    A sample is a dict of float32 tensors, and `name`, which says in words where it comes from. Pictures are (3, S, S)
    in [0, 1], flows (2, S, S) in pixels, x first:

    ================  ===============================================================================
    source            a clip's first frame, D_1
    previous          the frame before the current one, D_{t-1}
    current           the driving frame, D_t
    flow              from previous to current, as :func:`internet.losses.temporal.temporal_loss` takes it
    flow_backward     from current to previous
    visible           (1, S, S), 1 where what previous shows is seen in current too: the truth of Eq. 3's mask
    motion            from current to source: the truth of the motion field
    motion_visible    (1, S, S), 1 where what current shows is seen in source too
    source_anchors    (12, 2), the figure's joints in the source, x first, in [-1, 1]
    current_anchors   (12, 2), and in the current frame
    ================  ===============================================================================

    Args:
        size: S.
        length: how many samples; the default is more than anyone will draw.
        seed: another seed, other clips.
        min_seconds: the least time between source and current.
        moving_background: the fraction of clips whose background moves.
        frames, fps: of each clip.

    Raises:
        ValueError: the clip is too short for `min_seconds`, or a number is out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        length: int = 1_000_000,
        seed: int = 0,
        min_seconds: float = 0.4,
        moving_background: float = 0.5,
        frames: int = 60,
        fps: float = 25.0,
    ) -> None:
        if size < 1 or length < 0:
            raise ValueError(f"size and length must be positive, got {size} and {length}")
        self._first = max(2, round(min_seconds * fps))  # the earliest current frame; previous is not the source
        if self._first >= frames:
            raise ValueError(
                f"a clip of {frames} frames at {fps:g} per second has none {min_seconds:g} s after its first"
            )
        self.size, self.length, self.seed = size, length, seed
        self._options: dict[str, Any] = {"frames": frames, "fps": fps, "moving_background": moving_background}
        self._clip = lru_cache(maxsize=1)(self._draw)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"the data set has {self.length} samples, {index} was asked for")
        clip = self._clip(index // SAMPLES_PER_CLIP)
        number = int(np.random.default_rng([self.seed, 1, index]).integers(self._first, len(clip)))
        source, previous, current = 0.0, clip.time(number - 1), clip.time(number)
        flow, motion = clip.flow(previous, current), clip.flow(current, source)
        return {
            "name": f"synthetic clip {index // SAMPLES_PER_CLIP} of seed {self.seed}, frame {number} by frame 0",
            "source": _picture(clip.render(source)),
            "previous": _picture(clip.render(previous)),
            "current": _picture(clip.render(current)),
            "flow": torch.from_numpy(flow),
            "flow_backward": torch.from_numpy(clip.flow(current, previous)),
            "visible": _mask(clip.visible(previous, current, flow)),
            "motion": torch.from_numpy(motion),
            "motion_visible": _mask(clip.visible(current, source, motion)),
            "source_anchors": torch.from_numpy(clip.joints(source)),
            "current_anchors": torch.from_numpy(clip.joints(current)),
        }

    def _draw(self, number: int) -> WalkingClip:
        return numbered_clip(self.seed, number, self.size, **self._options)

    def __getstate__(self) -> dict[str, object]:
        """Workers are sent the arguments, not the clip that was drawn last."""
        return {**self.__dict__, "_clip": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._clip = lru_cache(maxsize=1)(self._draw)


def _picture(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255


def _mask(visible: np.ndarray) -> Tensor:
    return torch.from_numpy(visible)[None].float()
