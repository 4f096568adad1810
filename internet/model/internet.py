"""The whole network: anchors, motion, frame."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from internet.model.anchors import AnchorDetector
from internet.model.background import BackgroundPredictor
from internet.model.config import INTERnetConfig
from internet.model.discriminator import Discriminator
from internet.model.first_order.config import FirstOrderConfig
from internet.model.first_order.networks import dense_motion_network, key_point_detector
from internet.model.generator import Generator
from internet.model.motion import MotionEstimator
from internet.model.transfer import MotionTransfer
from internet.model.weights import as_expected, check_weights

__all__ = ["INTERnet", "make_discriminator"]


class INTERnet(MotionTransfer):
    """INTERnet (arXiv 2012.06134)."""

    architecture = "internet"
    config: INTERnetConfig
    generator: Generator

    def __init__(self, config: INTERnetConfig) -> None:
        super().__init__(config)
        self.kp_detector, self.dense_motion_network = _stage_one(config)
        if config.background == "affine":
            self.background_predictor = BackgroundPredictor(_down(config))
        self.generator = Generator(
            config.channels, config.blocks, config.scales, config.blend, config.size if config.scene else None
        )

    def load_stage_one(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of first-order-motion's stage I; stage II stays as it is.

        Raises ValueError if the model's stage I is not first-order-motion's or has another number of anchors, and for
        weights that do not fit, which the message names.
        """
        if self.config.stage_one != "first-order":
            raise ValueError("these weights need a model with stage_one = 'first-order'")
        expected = {name: value for name, value in self.state_dict().items() if not name.startswith("generator.")}
        check_weights(state, expected, "first-order-motion's stage I")
        self.load_state_dict(as_expected(state, expected), strict=False)  # only stage II is missing


def make_discriminator(config: INTERnetConfig) -> Discriminator:
    """The discriminators for training a model of this size."""
    return Discriminator(config.discriminators, config.discriminator_width)


def _stage_one(config: INTERnetConfig) -> tuple[AnchorDetector, MotionEstimator]:
    if config.stage_one == "first-order":
        theirs = FirstOrderConfig(anchors=config.anchors, jacobian_maps=config.anchors)
        estimator = dense_motion_network(theirs)
        estimator.fine = config.blend
        return key_point_detector(theirs), estimator
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
        fine=config.blend,
        **shape,
    )
    return detector, estimator


def _down(config: INTERnetConfig) -> nn.Module:
    """The mean of each block of pixels: hardly any aliasing, and centred where the coordinates say."""
    return nn.AvgPool2d(config.factor)
