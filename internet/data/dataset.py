"""Training samples out of clips: the first frame, a driving frame and the one before it."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from internet import ops
from internet.data.augmentation import Augmentation
from internet.data.body_parts import BodyParts, PoseFunction
from internet.data.clip import Clip
from internet.data.clip_search import usable_clips
from internet.data.frame_cache import FrameCache
from internet.data.frame_sampler import FrameSampler
from internet.data.image import MediaError, square, to_array, to_tensor
from internet.data.pose_augmentation import PoseAugmentation, clip_background
from internet.flow.chain import chain_visible, chained, flow_chain

FlowFunction = Callable[[Tensor, Tensor], Tensor]
"""Two images (1, 3, H, W) in [0, 1] -> flow (1, 2, H, W) in pixels: a FlowEstimator or a FlowCache."""


BACKGROUND_FRAMES = 50
"""At most this many frames are used to find what is behind a clip's person."""

ATTEMPTS = 8
"""If frames cannot be used, a sample is drawn again: this often, or once for each clip if there are more."""


class ClipDataset(Dataset[dict[str, Any]]):
    """Random frames of clips, as the paper trains on them.

    A sample is a dict of float32 tensors: `source` D_1, the clip's first frame, `current` D_t, `previous` D_{t-1},
    (3, S, S) in [0, 1]; with a `flow` function also `flow` from previous to current and `flow_backward`, (2, S, S) in
    pixels; and its `name`, a string that states the clip and the frames. Frames are cropped to their central square
    and resized.

    The frames of sample i depend only on the seed, the epoch and i, not on the worker that reads it or on what
    was read before: a resumed run sees the samples it would have seen. Where frames are damaged, frames of the
    next clip take their place, chosen in the same way.

    Args:
        clips: from :func:`~internet.data.find_clips`; those too short or unreadable are reported and skipped.
        size: S.
        min_seconds: the least time between source and current; the paper's 2 seconds make for large displacements.
        frames, source: which frames of a clip (see :class:`~internet.data.frame_sampler.FrameSampler`).
        samples_per_clip: how often an epoch shows each clip.
        flow: estimates flow between the frames as they are before augmentation, so that it can be cached.
        motion: estimate `motion` too, the flow from current to source, and `motion_visible`, (1, S, S), 1 where it
            agrees with the flow back: the target of flow guidance. `motion_reliable` is the same here; for drawn
            figures it is 1 everywhere, as their motion is known also where the source hides them.
        chain: estimate `motion` through all frames between the two (:mod:`internet.flow.chain`), which can follow arms
            and legs where a single estimate between two poses cannot.
        pose: finds the person in a frame. `motion` is then that of the body's parts (:mod:`internet.data.body_parts`),
            and `motion_visible` where the source shows them; the parts themselves are `source_anchors`,
            `source_turns`, `current_anchors`, `current_turns` and `current_parts`, as for drawn figures. A frame in
            which nobody is found is treated like one that does not decode.
        pose_augmentation: shows that person in poses that are not in the clip, a different one in source and current;
            `previous` stays as it is. It needs a `pose` function, and excludes `flow`.
        augmentation: None leaves the samples as they are.
        seed: of the choice of frames and of the augmentation.
        memory: bytes of decoded frames that each worker process keeps, so that short clips are decoded once.

    Raises:
        MediaError: no clip can be used.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        size: int,
        *,
        min_seconds: float = 2.0,
        frames: tuple[int | None, int | None] = (None, None),
        source: str = "first",
        samples_per_clip: int = 1,
        flow: FlowFunction | None = None,
        motion: bool = False,
        chain: bool = False,
        pose: PoseFunction | None = None,
        pose_augmentation: PoseAugmentation | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        memory: int = 256 << 20,
    ) -> None:
        if size < 1 or samples_per_clip < 1:
            raise ValueError(f"size and samples_per_clip must be positive, got {size} and {samples_per_clip}")
        if motion and flow is None:
            raise ValueError("motion needs a flow function to estimate it by")
        if pose is not None and augmentation is not None and augmentation.flip:
            raise ValueError(f"flip is {augmentation.flip}, expected 0: a pose tells left from right")
        if pose_augmentation is not None and (pose is None or flow is not None):
            raise ValueError("pose_augmentation needs a pose function, and no flow, which is that of other poses")
        self._sampler = FrameSampler(min_seconds, frames, source)
        self.clips = usable_clips(clips, self._sampler)
        self.size, self.samples_per_clip = size, samples_per_clip
        self.flow, self.motion, self.chain, self.pose = flow, motion, chain, pose
        self.pose_augmentation, self.augmentation = pose_augmentation, augmentation
        self.seed, self.epoch = seed, 0
        self._cache = FrameCache(memory)
        self._reported: set[int] = set()

    def set_epoch(self, epoch: int) -> None:
        """Choose other frames of the same clips. To be called before the epoch's workers start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.clips) * self.samples_per_clip

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"the data set has {len(self)} samples, {index} was asked for")
        entropy = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        draws = max(len(self.clips), ATTEMPTS)
        for place in range(draws):  # draw again if frames cannot be used
            number = (index + place) % len(self.clips)
            try:
                return self._sample(number, generator)
            except MediaError as error:
                self._report(number, error)
        raise MediaError(f"none of {draws} draws of frames for sample {index} can be used; the warnings say why")

    def _report(self, number: int, error: MediaError) -> None:
        """Warn once for each clip that some of its frames cannot be used."""
        if number not in self._reported:
            self._reported.add(number)
            warnings.warn(f"skipped, and other frames taken: {error}", stacklevel=3)

    def _read(self, clip: Clip, numbers: list[int]) -> list[Tensor]:
        return [square(to_tensor(frame), self.size) for frame in clip.read(numbers)]

    def _direct(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from one frame to another, and where it agrees with the flow back."""
        assert self.flow is not None
        flow = self.flow(start, end)
        return flow, ops.flow_confidence(flow, self.flow(end, start))

    def _chained(self, number: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """The same, through all frames of the clip between the two."""
        flow, back = (flow_chain(*ends, functools.partial(self._span, number)) for ends in ((start, end), (end, start)))
        return flow, chain_visible(flow, back)

    def _span(self, number: int, at: int, length: int) -> Tensor:
        """Flow from a frame to the one `length` frames later (earlier if negative); cached."""
        key = (number, "span", length)
        (flow,) = self._cache.read(key, [at], lambda _: [self._linked(number, at, length)])
        return flow

    def _linked(self, number: int, at: int, length: int) -> Tensor:
        if abs(length) > 1:
            half = length // 2
            return chained(self._span(number, at, half), self._span(number, at + half, half))
        assert self.flow is not None
        read = functools.partial(self._read, self.clips[number])
        return self.flow(*self._cache.read(number, [at, at + length], read))

    def _sample(self, number: int, generator: torch.Generator) -> dict[str, Any]:
        clip = self.clips[number]
        source, current = self._sampler.draw(clip.times, generator)
        frames = self._cache.read(number, [source, current - 1, current], functools.partial(self._read, clip))
        sample: dict[str, Any] = {"name": f"{clip.name}, frame {current} by frame {source}"}
        sample |= zip(("source", "previous", "current"), (frame[0] for frame in frames), strict=True)
        if self.flow is not None:
            first, before, after = frames
            sample["flow"], sample["flow_backward"] = self.flow(before, after)[0], self.flow(after, before)[0]
            if self.motion:
                motion, visible = self._chained(number, current, source) if self.chain else self._direct(after, first)
                sample |= {"motion": motion[0], "motion_visible": visible[0], "motion_reliable": visible[0]}
        if self.pose is not None:
            first, _, after = frames
            sample |= self._posed(number, (source, first), (current, after), generator)
        return sample if self.augmentation is None else self.augmentation(sample, generator)

    def _posed(
        self, number: int, source: tuple[int, Tensor], current: tuple[int, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A sample's entries from the person's parts in two numbered frames, as they are or in other poses."""
        (first_at, first), (after_at, after) = source, current
        before, now = self._parts(number, [first_at, after_at])
        if self.pose_augmentation is not None:
            background = self.background(number)
            first, before = self.pose_augmentation(first, before, background, generator)
            after, now = self.pose_augmentation(after, now, background, generator)
        motion, visible = now.motion(before)
        return {
            "source": first[0],
            "current": after[0],
            "motion": motion,
            "motion_visible": visible,
            "source_anchors": before.middles,
            "source_turns": before.turns,
            "current_anchors": now.middles,
            "current_turns": now.turns,
            "current_parts": now.labels.float()[None],
        }

    def background(self, number: int) -> Tensor:
        """What is behind the person in a clip, (1, 3, S, S) (:func:`clip_background`); cached.

        Raises MediaError if nobody is found in the clip. It needs a pose function.
        """
        (background,) = self._cache.read((number, "background"), [0], lambda _: [self._behind(number)])
        return background

    def _behind(self, number: int) -> Tensor:
        clip = self.clips[number]
        usable = self._sampler.numbers(clip.times)
        frames, parts = [], []
        for at in usable[:: -(-len(usable) // BACKGROUND_FRAMES)]:
            try:
                parts += self._parts(number, [at])
            except MediaError:  # the person may be there, but was not found
                continue
            frames += self._cache.read(number, [at], functools.partial(self._read, clip))
        if not frames:
            raise MediaError(f"nobody is found in {len(usable)} frames of the clip '{clip.name}'")
        return clip_background(frames, parts)

    def _parts(self, number: int, at: list[int]) -> list[BodyParts]:
        """The parts of the person in frames of a clip; cached."""
        return self._cache.read((number, "parts"), at, functools.partial(self._find, self.clips[number]))

    def _find(self, clip: Clip, numbers: list[int]) -> list[BodyParts]:
        """The parts of the person in each of these frames, at the size of the samples."""
        assert self.pose is not None
        found = []
        for number, frame in zip(numbers, clip.read(numbers), strict=True):
            pose = self.pose(to_array(square(to_tensor(frame), min(frame.shape[:2]))))
            if pose is None:
                raise MediaError(f"nobody is found in frame {number} of the clip '{clip.name}'")
            found.append(BodyParts.of(pose, self.size))
        return found
