"""The whole of first-order-motion."""

from torch import Tensor

from internet.model.first_order.config import FirstOrderConfig
from internet.model.first_order.generator import FirstOrderGenerator
from internet.model.first_order.networks import dense_motion_network, key_point_detector
from internet.model.motion import Motion
from internet.model.transfer import MotionTransfer


class FirstOrderMotion(MotionTransfer):
    """First-order-motion (Siarohin et al., NeurIPS 2019), or zero-order without Jacobians, on the fused operators.

    It computes the same values as its authors' code, whose checkpoints
    :func:`internet.model.first_order.import_checkpoint` converts.

    Args:
        config: sizes of the networks.
    """

    architecture = "first-order-motion"
    config: FirstOrderConfig
    generator: FirstOrderGenerator

    def __init__(self, config: FirstOrderConfig) -> None:
        super().__init__(config)
        self.kp_detector = key_point_detector(config)
        self.dense_motion_network = dense_motion_network(config)
        self.generator = FirstOrderGenerator(config)

    @property
    def frame_channels(self) -> int:
        """Channels of a frame."""
        return self.config.frame_channels

    def warp(self, image: Tensor, motion: Motion) -> Tensor:
        """An image (B, C, H, W) -> warped by the field, times the confidence."""
        return self.generator.warp(image, motion)

    def check(self, frame: Tensor) -> None:
        """Raise a ValueError for a frame whose shape the networks do not support."""
        super().check(frame)
        smallest = self.config.smallest
        if min(frame.shape[2:]) < smallest:
            raise ValueError(f"a frame has shape {tuple(frame.shape)}, expected sides of at least {smallest}")
