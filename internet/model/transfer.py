"""The base of all models that transfer motion: anchors, motion, frame."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from internet import ops
from internet.model.anchors import AnchorDetector, Anchors
from internet.model.background import BackgroundPredictor
from internet.model.motion import Motion, MotionEstimator
from internet.model.relative import RelativeMotion


class Result(NamedTuple):
    """A generated frame (B, C, H, W) in [0, 1], and the motion and the anchors that it was generated from."""

    frame: Tensor
    motion: Motion
    source_anchors: Anchors
    driving_anchors: Anchors


class ModelConfig(Protocol):
    """What the settings of every model provide."""

    @property
    def size(self) -> int:
        """Side of the frames that the model is meant for."""

    @property
    def multiple(self) -> int:
        """A frame's sides are multiples of this."""

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types."""


class SecondStage(Protocol):
    """Stage II: a frame, from features of the source and a motion."""

    def encode(self, source: Tensor) -> list[Tensor]:
        """Source (B, C, H, W) -> the features that are warped; computed once per source."""

    def __call__(self, features: list[Tensor], motion: Motion) -> Tensor:
        """Features of the source and a motion -> frame (B, C, H, W) in [0, 1]."""

    def compile(self) -> None:
        """``torch.nn.Module.compile``."""


class MotionTransfer(nn.Module):
    """The source's appearance in the driving frame's pose, O_t = G(S; D_t).

    Stage I is `kp_detector` and `dense_motion_network`, and `background_predictor` where the background may move; stage
    II is `generator`. Each can be used alone. Runs in float32, under bfloat16 autocast, with channels_last weights and
    compiled.
    """

    #: The name in checkpoints.
    architecture: ClassVar[str]
    kp_detector: AnchorDetector
    dense_motion_network: MotionEstimator
    generator: SecondStage

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.background_predictor: BackgroundPredictor | None = None

    @property
    def frame_channels(self) -> int:
        """Channels of a frame."""
        return 3

    def forward(self, source: Tensor, driving: Tensor) -> Result:
        """Frames (B, C, H, W) in [0, 1], H and W multiples of `config.multiple`."""
        self.check(source)
        anchors = self.kp_detector(source)
        background = self.background_motion(source, driving)
        return self.imitate(source, anchors, self.generator.encode(source), self.kp_detector(driving), background)

    def move(self, source: Tensor, driving: Tensor) -> Result:
        """Stage I alone, at a fraction of the cost; its frame is the source, warped by F and gated by M."""
        self.check(source)
        anchors, driving_anchors = self.kp_detector(source), self.kp_detector(driving)
        background = self.background_motion(source, driving)
        motion = self.dense_motion_network(source, anchors, driving_anchors, background)
        return Result(self.warp(source, motion), motion, anchors, driving_anchors)

    def warp(self, image: Tensor, motion: Motion) -> Tensor:
        """An image (B, C, H, W) -> warped by the field, times the confidence."""
        return ops.confidence_warp(image, motion.field, motion.confidence)

    def background_motion(self, before: Tensor, driving: Tensor) -> Tensor | None:
        """The background's motion between two frames, (B, 3, 3), from driving to before; None if it is still."""
        return None if self.background_predictor is None else self.background_predictor(before, driving)

    def imitate(
        self,
        source: Tensor,
        anchors: Anchors,
        features: list[Tensor],
        driving_anchors: Anchors,
        background: Tensor | None = None,
    ) -> Result:
        """One frame, from what is computed once per source: its anchors and its features."""
        motion = self.dense_motion_network(source, anchors, driving_anchors, background)
        return Result(self.generator(features, motion), motion, anchors, driving_anchors)

    def animate(
        self, source: Tensor, driving: Iterable[Tensor], *, relative: bool = False, adapt_scale: bool = True
    ) -> Iterator[Tensor]:
        """Yield a frame (B, C, H, W) in [0, 1] for every driving frame, one after the other.

        Anchors and features of the source are computed once, and nothing accumulates from frame to frame: memory
        does not grow with the length of the clip. A moving background follows the movement of the driving camera
        since the first driving frame.

        Args:
            source: (B, C, H, W) in [0, 1].
            driving: frames of the same shape, for instance from a decoder.
            relative: transfer the movement of the driving anchors since the first driving frame, not their positions.
            adapt_scale: with `relative`, scale the movement to the source's size (:class:`RelativeMotion`).

        Raises:
            ValueError: the model is in training mode, or a shape does not fit.
        """
        for result in self.transfer(source, driving, relative=relative, adapt_scale=adapt_scale):
            yield result.frame

    @torch.no_grad()
    def transfer(
        self, source: Tensor, driving: Iterable[Tensor], *, relative: bool = False, adapt_scale: bool = True
    ) -> Iterator[Result]:
        """:meth:`animate` with all that each frame was made by. The anchors of a result are those that were used."""
        if self.training:
            raise ValueError("the model is in training mode; call eval() before animate()")
        self.check(source)
        anchors, features = self.kp_detector(source), self.generator.encode(source)
        transfer: RelativeMotion | None = None
        first: Tensor | None = None  # where the camera was
        for frame in driving:
            if frame.shape != source.shape:
                raise ValueError(f"a driving frame is {tuple(frame.shape)}, the source is {tuple(source.shape)}")
            if first is None and self.background_predictor is not None:
                first = frame
            moved = self.kp_detector(frame)
            if relative:
                transfer = transfer or RelativeMotion(anchors, moved, adapt_scale)
                moved = transfer(moved)
            background = None if first is None else self.background_motion(first, frame)
            yield self.imitate(source, anchors, features, moved, background)

    def compile_parts(self) -> None:
        """Compile, in place, what runs once per frame; the first frame then takes longer.

        Weights keep their names, and what runs once per source is not compiled.
        """
        for part in (self.kp_detector, self.background_predictor, self.dense_motion_network, self.generator):
            if part is not None:
                part.compile()

    def check(self, frame: Tensor) -> None:
        """Raise a ValueError for a frame whose shape the network does not support."""
        multiple, channels = self.config.multiple, self.frame_channels
        if frame.dim() != 4 or frame.shape[1] != channels or frame.shape[2] % multiple or frame.shape[3] % multiple:
            expected = f"(B, {channels}, H, W), H and W multiples of {multiple}"
            raise ValueError(f"a frame has shape {tuple(frame.shape)}, expected {expected}")
