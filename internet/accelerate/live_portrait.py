"""LivePortrait (Guo et al., 2024): volumes as in face-vid2vid, without Jacobians, encoded once by its own pipeline."""

from typing import Any

from torch import Tensor, nn

from internet.accelerate.blocks import BLOCKS
from internet.accelerate.examples import Arguments, Random, hourglass_side
from internet.accelerate.replacement import Part, Peer, Replacement
from internet.accelerate.volumes import VolumeMotion, warped


class DenseMotionNetwork(VolumeMotion):
    def forward(self, feature: Tensor, kp_driving: Tensor, kp_source: Tensor) -> dict[str, Any]:
        return self._motion(feature, kp_source, kp_driving)


class WarpingNetwork(Replacement):
    """Warps with `volume_warp`."""

    channels_last = False
    dense_motion_network: nn.Module

    def forward(self, feature_3d: Tensor, kp_driving: Tensor, kp_source: Tensor) -> dict[str, Any]:
        motion = self.dense_motion_network(feature=feature_3d, kp_driving=kp_driving, kp_source=kp_source)
        field, occlusion = motion["deformation"], motion.get("occlusion_map")
        out = warped(self, feature_3d, field, occlusion if self.flag_use_occlusion_map else None)
        return {"occlusion_map": occlusion, "deformation": field, "out": out}


def _motion_example(motion: Any, feature: str, random: Random) -> Arguments:
    side, depth = hourglass_side(motion.hourglass), 2
    if motion.occlusion is not None:
        depth = motion.occlusion.in_channels // motion.hourglass.out_filters
    return {
        feature: random.image(motion.compress.in_channels, depth, side, side),
        "kp_driving": random.points(motion.num_kp, 3),
        "kp_source": random.points(motion.num_kp, 3),
    }


PEER = Peer(
    "LivePortrait",
    (
        Part(
            "DenseMotionNetwork",
            ("hourglass", "mask", "compress", "norm", "flag_estimate_occlusion_map", "num_kp"),
            DenseMotionNetwork,
            "anchor_features, affine_mixture",
            example=lambda module, random: _motion_example(module, "feature", random),
        ),
        Part(
            "WarpingNetwork",
            ("dense_motion_network", "third", "fourth", "flag_use_occlusion_map"),
            WarpingNetwork,
            "volume_warp",
            where=lambda module: module.dense_motion_network is not None,
            example=lambda module, random: _motion_example(module.dense_motion_network, "feature_3d", random),
        ),
    ),
    blocks=BLOCKS,
)
