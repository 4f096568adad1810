"""The whole network: anchors, motion, frame."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from internet import ops
from internet.model import first_order
from internet.model.anchors import AnchorDetector, Anchors
from internet.model.config import INTERnetConfig
from internet.model.discriminator import Discriminator
from internet.model.generator import Generator
from internet.model.motion import Motion, MotionEstimator
from internet.model.relative import RelativeMotion


class Result(NamedTuple):
    """A generated frame (B, 3, H, W) in [0, 1], and the motion and the anchors that it was generated from."""

    frame: Tensor
    motion: Motion
    source_anchors: Anchors
    driving_anchors: Anchors


class INTERnet(nn.Module):
    """The source's appearance in the driving frame's pose, O_t = G(S; D_t).

    Stage I is `kp_detector` and `dense_motion_network`, stage II is `generator`; each can be used alone. Runs in
    float32, under bfloat16 autocast, with channels_last weights and compiled.
    """

    def __init__(self, config: INTERnetConfig) -> None:
        super().__init__()
        self.config = config
        self.kp_detector, self.dense_motion_network = _stage_one(config)
        self.generator = Generator(config.channels, config.blocks, config.scales, config.blend)

    def forward(self, source: Tensor, driving: Tensor) -> Result:
        """Frames (B, 3, H, W) in [0, 1], H and W multiples of `config.multiple`."""
        self.check(source)
        anchors = self.kp_detector(source)
        return self.imitate(source, anchors, self.generator.encode(source), self.kp_detector(driving))

    def move(self, source: Tensor, driving: Tensor) -> Result:
        """Stage I alone, at a fraction of the cost; its frame is the source, warped by F and gated by M."""
        self.check(source)
        anchors, driving_anchors = self.kp_detector(source), self.kp_detector(driving)
        motion = self.dense_motion_network(source, anchors, driving_anchors)
        moved = ops.confidence_warp(source, motion.field, motion.confidence)
        return Result(moved, motion, anchors, driving_anchors)

    def imitate(self, source: Tensor, anchors: Anchors, features: list[Tensor], driving_anchors: Anchors) -> Result:
        """One frame, from what is computed once for a source: its anchors and its features."""
        motion = self.dense_motion_network(source, anchors, driving_anchors)
        return Result(self.generator(features, motion), motion, anchors, driving_anchors)

    def animate(
        self, source: Tensor, driving: Iterable[Tensor], *, relative: bool = False, adapt_scale: bool = True
    ) -> Iterator[Tensor]:
        """Yield a frame (B, 3, H, W) in [0, 1] for every driving frame, as they come.

        Anchors and features of the source are computed once, and nothing is kept from one frame to the next:
        memory does not grow with the length of the clip.

        Args:
            source: (B, 3, H, W) in [0, 1].
            driving: frames of the same shape, for instance while they are decoded.
            relative: transfer how the driving anchors have moved since the first driving frame, not where they are.
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
        for frame in driving:
            if frame.shape != source.shape:
                raise ValueError(f"a driving frame is {tuple(frame.shape)}, the source is {tuple(source.shape)}")
            moved = self.kp_detector(frame)
            if relative:
                transfer = transfer or RelativeMotion(anchors, moved, adapt_scale)
                moved = transfer(moved)
            yield self.imitate(source, anchors, features, moved)

    def load_stage_one(self, state: Mapping[str, Tensor]) -> None:
        """Load what `internet import-fomm` wrote; stage II stays as it is.

        Raises ValueError for a model whose stage I is not first-order-motion's, or that has other anchors, and for
        weights that do not fit, naming them.
        """
        if self.config.stage_one != "first-order":
            raise ValueError("these weights need a model with stage_one = 'first-order'")
        weights = first_order.checked_stage_one(state, self.config.anchors)
        self.load_state_dict(weights, strict=False)  # what is missing now is stage II

    def check(self, frame: Tensor) -> None:
        """Raise a ValueError for a frame of a shape that the network cannot take."""
        multiple = self.config.multiple
        if frame.dim() != 4 or frame.shape[1] != 3 or frame.shape[2] % multiple or frame.shape[3] % multiple:
            raise ValueError(
                f"a frame has shape {tuple(frame.shape)}, expected (B, 3, H, W), H and W multiples of {multiple}"
            )


def make_discriminator(config: INTERnetConfig) -> Discriminator:
    """The discriminators that a model of this size is trained against."""
    return Discriminator(config.discriminators, config.discriminator_width)


def _stage_one(config: INTERnetConfig) -> tuple[AnchorDetector, MotionEstimator]:
    if config.stage_one == "first-order":
        return first_order.key_point_detector(config.anchors), first_order.dense_motion_network(config.anchors)
    shape: dict[str, Any] = {"depth": config.depth, "widest": config.widest}
    detector = AnchorDetector(
        config.anchors, _down(config), config.anchor_width, temperature=config.temperature, **shape
    )
    estimator = MotionEstimator(
        config.anchors,
        _down(config),
        config.motion_width,
        variance=config.variance,
        threshold=config.threshold,
        **shape,
    )
    return detector, estimator


def _down(config: INTERnetConfig) -> nn.Module:
    """The mean of each block of pixels: no aliasing worth the name, and centred where the coordinates say."""
    return nn.AvgPool2d(config.factor)
