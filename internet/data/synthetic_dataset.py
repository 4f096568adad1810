"""An endless supply of training samples with known motion: `SyntheticDataset`."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from internet.data.augmentation import FLOWS
from internet.data.frame_sampler import FrameSampler
from internet.data.image import as_float
from internet.data.synthetic import WalkingClip, numbered_clip

SAMPLES_PER_CLIP = 8
"""Drawing a clip's background takes longer than drawing a sample, so this many samples share it ..."""

CLIPS_AT_ONCE = 8
"""... but consecutive samples, as in a batch, come from this many clips in turn."""


class SyntheticDataset(Dataset[dict[str, Any]]):
    """Samples of drawn clips: a pure function of a seed and an index, on any machine and for any number of workers.

    A sample is a dict of float32 tensors, and `name`, which states its origin in words. Pictures are (3, S, S)
    in [0, 1], flows (2, S, S) in pixels, x first:

    ================  ===============================================================================
    source            a clip's first frame, D_1, or any
    previous          the frame before the current one, D_{t-1}
    current           the driving frame, D_t
    flow              from previous to current, as :func:`internet.losses.temporal.temporal_loss` takes it
    flow_backward     from current to previous
    visible           (1, S, S), 1 where what previous shows is visible in current too: the true mask of Eq. 3
    motion            from current to source: the true motion field
    motion_visible    (1, S, S), 1 where what current shows is visible in source too
    source_anchors    (12, 2), the middles of the figure's parts in the source, x first, in [-1, 1]
    current_anchors   (12, 2), the same in the current frame
    source_turns      (12, 2, 2), rotations of the parts in the source, relative to a hanging limb
    current_turns     (12, 2, 2), the same in the current frame
    current_parts     (1, S, S), the part that current shows: 0 for the background, p for the p-th
    ================  ===============================================================================

    Args:
        size: S.
        length: how many samples; the default is more than anyone will draw.
        seed: of the clips.
        min_seconds: the least time between source and current.
        source: "first", the clip's first frame, or "random", any.
        moving_background: the fraction of clips whose background moves.
        previous: also draw the frame before the current one, with its flows and `visible`: half of the work, and needed
            only by the temporal loss.
        compact: pictures as uint8, masks as bool, parts as int8 and flows as float16, up to a thirtieth of a pixel
            off: a third of the bytes for a worker process to hand over. :func:`~internet.data.image.as_float` undoes
            it.
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
        source: str = "first",
        moving_background: float = 0.5,
        previous: bool = True,
        compact: bool = False,
        frames: int = 60,
        fps: float = 25.0,
    ) -> None:
        if size < 1 or length < 0:
            raise ValueError(f"size and length must be positive, got {size} and {length}")
        self._sampler = FrameSampler(min_seconds, source=source)
        self._times = [number / fps for number in range(frames)]
        if not self._sampler.driving(self._times):
            raise ValueError(f"a clip of {frames} frames at {fps:g} per second is too short: {self._sampler.need}")
        self.size, self.length, self.seed = size, length, seed
        self.previous, self.compact = previous, compact
        self._options: dict[str, Any] = {"frames": frames, "fps": fps, "moving_background": moving_background}
        self._clip = lru_cache(maxsize=CLIPS_AT_ONCE)(self._draw)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"the data set has {self.length} samples, {index} was asked for")
        drawn = clip_of(index)
        clip = self._clip(drawn)
        entropy = np.random.SeedSequence([self.seed, 1, index]).generate_state(1)
        first, number = self._sampler.draw(self._times, torch.Generator("cpu").manual_seed(int(entropy[0])))
        source, current = clip.time(first), clip.time(number)
        motion = clip.flow(current, source)
        sample = {
            "name": f"synthetic clip {drawn} of seed {self.seed}, frame {number} by frame {first}",
            "source": _picture(clip.render(source)),
            "current": _picture(clip.render(current)),
            "motion": torch.from_numpy(motion),
            "motion_visible": _mask(clip.visible(current, source, motion)),
            "source_anchors": torch.from_numpy(clip.middles(source)),
            "current_anchors": torch.from_numpy(clip.middles(current)),
            "source_turns": torch.from_numpy(clip.rotations(source)),
            "current_turns": torch.from_numpy(clip.rotations(current)),
            "current_parts": torch.from_numpy(clip.labels(current).astype(np.int8))[None],
        }
        if self.previous:
            sample |= self._before(clip, clip.time(number - 1), current)
        return {name: self._packed(name, value) for name, value in sample.items()}

    def _packed(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if self.compact:
            return value.half() if name in FLOWS else value
        return as_float(value)

    @staticmethod
    def _before(clip: WalkingClip, previous: float, current: float) -> dict[str, Tensor]:
        """A sample's entries for the frame before the current one."""
        flow = clip.flow(previous, current)
        return {
            "previous": _picture(clip.render(previous)),
            "flow": torch.from_numpy(flow),
            "flow_backward": torch.from_numpy(clip.flow(current, previous)),
            "visible": _mask(clip.visible(previous, current, flow)),
        }

    def _draw(self, number: int) -> WalkingClip:
        return numbered_clip(self.seed, number, self.size, **self._options)

    def __getstate__(self) -> dict[str, object]:
        """Worker processes get the arguments, not the clips drawn last."""
        return {**self.__dict__, "_clip": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._clip = lru_cache(maxsize=CLIPS_AT_ONCE)(self._draw)


def clip_of(index: int) -> int:
    """The number of the clip that a sample shows."""
    return index // (CLIPS_AT_ONCE * SAMPLES_PER_CLIP) * CLIPS_AT_ONCE + index % CLIPS_AT_ONCE


def _picture(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def _mask(visible: np.ndarray) -> Tensor:
    return torch.from_numpy(visible)[None]
