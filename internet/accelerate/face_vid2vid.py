"""face-vid2vid (Wang et al., CVPR 2021) in its public implementation, and SadTalker (Zhang et al., CVPR 2023).

They warp volumes of features. Their grid of coordinates is made with align_corners=True and sampled with False.
"""

import inspect
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from internet import ops
from internet.accelerate.blocks import BLOCKS
from internet.accelerate.encoding import in_turn
from internet.accelerate.examples import Arguments, Random, hourglass_side, in_channels
from internet.accelerate.outputs import Outputs
from internet.accelerate.replacement import Part, Peer, Replacement, original_class
from internet.accelerate.source_cache import SourceCache
from internet.accelerate.volumes import VolumeMotion, warped

KeyPoints = dict[str, Any]


class KPDetector(Replacement):
    """Key points and Jacobians as expectations over volume heat maps: `soft_argmax`."""

    channels_last = False
    jacobian: nn.Module | None
    temperature: float

    def forward(self, x: Tensor) -> KeyPoints:
        if self.scale_factor != 1:
            x = self.down(x)
        features = self.predictor(x)
        logits, maps = self.kp(features), None
        if self.jacobian is not None:
            maps = self.jacobian(features).unflatten(1, (self.num_jacobian_maps, 9))
        value, jacobian = ops.soft_argmax(logits, maps, temperature=self.temperature, align_corners=True)
        return {"value": value} if jacobian is None else {"value": value, "jacobian": jacobian}


class DenseMotionNetwork(VolumeMotion):
    def forward(self, feature: Tensor, kp_driving: KeyPoints, kp_source: KeyPoints) -> dict[str, Any]:
        jacobians: tuple[Any, Any] = (None, None)
        if kp_driving.get("jacobian") is not None:
            jacobians = kp_source["jacobian"], kp_driving["jacobian"]
        return self._motion(feature, kp_source["value"], kp_driving["value"], *jacobians)


class SadTalkerMotion(DenseMotionNetwork):
    """SadTalker's version, which sets weights below 0.001 to 0 without rescaling the others to sum to 1."""

    def _weights(self, logits: Tensor) -> Tensor:
        weights = torch.softmax(logits, dim=1)
        return torch.where(weights < 1e-3, 0, weights)

    def _field(self, logits: Tensor, *anchors: Any) -> Tensor:
        """`affine_mixture` rescales the remaining weights to sum to 1; the result is multiplied by their sum."""
        weights = self._weights(logits)
        remaining = logits.masked_fill(weights == 0, -torch.inf)
        return super()._field(remaining, *anchors) * weights.sum(1).unsqueeze(-1)


class _Generator(Replacement, ABC):
    """Encodes the source's volume once, and warps it with `volume_warp`."""

    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[Tensor]
    dense_motion_network: nn.Module | None

    def forward(self, source_image: Tensor, kp_driving: KeyPoints, kp_source: KeyPoints) -> dict[str, Any]:
        encoder = [self.first, *self.down_blocks, self.second, self.resblocks_3d]
        volume = self._source_cache.get(source_image, encoder, self._encoded)
        outputs = Outputs()
        if self.dense_motion_network is None:
            out = volume.flatten(1, 2)
        else:
            motion = self.dense_motion_network(feature=volume, kp_driving=kp_driving, kp_source=kp_source)
            outputs.share(motion, "mask", "occlusion_map")
            out = warped(self, volume, motion["deformation"], outputs.get("occlusion_map"))
        outputs["prediction"] = self._decoded(out)
        return outputs.returned()

    def _encoded(self, source: Tensor) -> Tensor:
        out = in_turn([self.first, *self.down_blocks, self.second], source)
        return self.resblocks_3d(out.unflatten(1, (self.reshape_channel, self.reshape_depth)).contiguous())

    @abstractmethod
    def _decoded(self, out: Tensor) -> Tensor:
        """Decode warped features (B, C, H, W) to the picture (B, 3, H, W)."""


class OcclusionAwareGenerator(_Generator):
    def _decoded(self, out: Tensor) -> Tensor:
        return torch.sigmoid(self.final(in_turn([self.resblocks_2d, *self.up_blocks], out)))


class OcclusionAwareSPADEGenerator(_Generator):
    channels_last = False

    def _decoded(self, out: Tensor) -> Tensor:
        return self.decoder(out)


def _leaves_out_weights(module: nn.Module) -> bool:
    """Whether its code calls `torch.where`, which no attribute shows."""
    code = getattr(inspect.unwrap(original_class(module).forward), "__code__", None)
    return code is not None and "where" in code.co_names


def _key_points(random: Random, count: int) -> KeyPoints:
    return {"value": random.points(count, 3), "jacobian": random.jacobians(count, 3)}


def _example_of_key_points(module: Any, random: Random) -> Arguments:
    side = int(64 / module.scale_factor)
    return {"x": random.image(in_channels(module.predictor), side, side)}


def _example_of_motion(module: Any, random: Random) -> Arguments:
    side, depth = hourglass_side(module.hourglass), 2
    if module.occlusion is not None:
        depth = module.occlusion.in_channels // module.hourglass.out_filters
    return {
        "feature": random.image(module.compress.in_channels, depth, side, side),
        "kp_driving": _key_points(random, module.num_kp),
        "kp_source": _key_points(random, module.num_kp),
    }


def _example_of_generator(module: Any, random: Random) -> Arguments | None:
    motion = module.dense_motion_network
    if motion is None:
        return None
    side = hourglass_side(motion.hourglass) * 2 ** len(module.down_blocks)
    return {
        "source_image": random.image(in_channels(module.first), side, side),
        "kp_driving": _key_points(random, motion.num_kp),
        "kp_source": _key_points(random, motion.num_kp),
    }


MOTION = ("hourglass", "mask", "compress", "norm", "occlusion", "num_kp")
ENCODER = ("first", "down_blocks", "second", "resblocks_3d", "third", "fourth", "dense_motion_network")
GENERATOR = "volume_warp; the source encoded once"

PEER = Peer(
    "face-vid2vid",
    (
        Part(
            "KPDetector",
            ("predictor", "kp", "jacobian", "temperature"),
            KPDetector,
            "soft_argmax",
            where=lambda module: isinstance(module.kp, nn.Conv3d),
            example=_example_of_key_points,
        ),
        Part(
            "DenseMotionNetwork",
            MOTION,
            SadTalkerMotion,
            "anchor_features, affine_mixture; mask made when asked for",
            absent=("flag_estimate_occlusion_map",),
            left="softmax: small weights are left out",
            where=_leaves_out_weights,
            example=_example_of_motion,
        ),
        Part(
            "DenseMotionNetwork",
            MOTION,
            DenseMotionNetwork,
            "anchor_features, affine_mixture; mask made when asked for",
            absent=("flag_estimate_occlusion_map",),
            where=lambda module: not _leaves_out_weights(module),
            example=_example_of_motion,
        ),
        Part(
            "OcclusionAwareGenerator",
            (*ENCODER, "resblocks_2d", "up_blocks", "final"),
            OcclusionAwareGenerator,
            GENERATOR,
            example=_example_of_generator,
        ),
        Part(
            "OcclusionAwareSPADEGenerator",
            (*ENCODER, "decoder"),
            OcclusionAwareSPADEGenerator,
            GENERATOR,
            left="the SPADE decoder: convolutions; memory format: instance norms would copy",
            example=_example_of_generator,
        ),
    ),
    blocks=BLOCKS,
)
