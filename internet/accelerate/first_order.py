"""First-order-motion (Siarohin et al., NeurIPS 2019), and DaGAN (Hong et al., CVPR 2022), whose motion is the same.

Their grid of coordinates is made with align_corners=True and sampled with False, the default of `grid_sample` since
torch 1.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from internet import ops
from internet.accelerate.blocks import BLOCKS
from internet.accelerate.encoding import encoded, in_turn
from internet.accelerate.examples import Arguments, Random, hourglass_side, in_channels
from internet.accelerate.outputs import Outputs
from internet.accelerate.replacement import Part, Peer, Replacement
from internet.accelerate.source_cache import SourceCache
from internet.accelerate.warping import warp

KeyPoints = dict[str, Tensor]


class KPDetector(Replacement):
    """Key points and Jacobians as expectations over heat maps: `soft_argmax`."""

    jacobian: nn.Module | None
    temperature: float

    def forward(self, x: Tensor) -> KeyPoints:
        if self.scale_factor != 1:
            x = self.down(x)
        features = self.predictor(x)
        logits = self.kp(features)
        maps = None
        if self.jacobian is not None:
            maps = self.jacobian(features).unflatten(1, (self.num_jacobian_maps, 4))
        value, jacobian = ops.soft_argmax(logits, maps, temperature=self.temperature, align_corners=True)
        return {"value": value} if jacobian is None else {"value": value, "jacobian": jacobian}


class DenseMotionNetwork(Replacement):
    """Heat maps and moved sources with `anchor_features`, the motion field with `affine_mixture`."""

    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[Tensor]
    occlusion: nn.Module | None
    kp_variance: float

    def forward(self, source_image: Tensor, kp_driving: KeyPoints, kp_source: KeyPoints) -> dict[str, Any]:
        if self.scale_factor != 1:
            source_image = encoded(self._source_cache, [self.down], source_image)
        anchors = _anchors(kp_source, kp_driving)
        features = ops.anchor_features(source_image, *anchors, variance=self.kp_variance, grid_align_corners=True)
        prediction = self.hourglass(features)
        logits = self.mask(prediction)

        outputs = Outputs()
        # each anchor's features are its heat map, then the source moved by it
        outputs["sparse_deformed"] = features.unflatten(1, (self.num_kp + 1, -1))[:, :, 1:]
        outputs.later("mask", lambda: torch.softmax(logits, dim=1))
        outputs["deformation"] = ops.affine_mixture(logits, *anchors, align_corners=True)
        if self.occlusion is not None:
            outputs["occlusion_map"] = torch.sigmoid(self.occlusion(prediction))
        return outputs.returned()


def _anchors(kp_source: KeyPoints, kp_driving: KeyPoints) -> tuple[Any, ...]:
    """Key points and Jacobians, in the order of the operators' arguments."""
    jacobians = (kp_source["jacobian"], kp_driving["jacobian"]) if "jacobian" in kp_driving else (None, None)
    return kp_source["value"], kp_driving["value"], *jacobians


class _Generator(Replacement):
    """Encodes the source once, and warps it with `confidence_warp`."""

    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[Tensor]
    dense_motion_network: nn.Module | None

    def _warped(
        self, source_image: Tensor, kp_driving: KeyPoints, kp_source: KeyPoints
    ) -> tuple[Tensor, Tensor | None, Outputs]:
        """The source's warped features, the field, and the outputs so far."""
        out = encoded(self._source_cache, [self.first, *self.down_blocks], source_image)
        outputs = Outputs()
        if self.dense_motion_network is None:
            return out, None, outputs
        motion = self.dense_motion_network(source_image=source_image, kp_driving=kp_driving, kp_source=kp_source)
        field = motion["deformation"]
        outputs.share(motion, "mask", "sparse_deformed", "occlusion_map")
        outputs.later("deformed", lambda: warp(source_image, field), of=source_image)
        return warp(out, field, outputs.get("occlusion_map")), field, outputs

    def _decoded(self, out: Tensor) -> Tensor:
        return torch.sigmoid(self.final(in_turn([self.bottleneck, *self.up_blocks], out)))


class OcclusionAwareGenerator(_Generator):
    def forward(self, source_image: Tensor, kp_driving: KeyPoints, kp_source: KeyPoints) -> dict[str, Any]:
        out, _, outputs = self._warped(source_image, kp_driving, kp_source)
        outputs["prediction"] = self._decoded(out)
        return outputs.returned()


class DepthAwareGenerator(_Generator):
    """DaGAN's version: the warped features attend to the source's depth, which is also encoded once."""

    state = {"_source_cache": SourceCache, "_depth_cache": SourceCache}  # noqa: RUF012
    _depth_cache: SourceCache[Tensor]

    def forward(
        self,
        source_image: Tensor,
        kp_driving: KeyPoints,
        kp_source: KeyPoints,
        source_depth: Tensor,
        driving_depth: Tensor,
    ) -> dict[str, Any]:
        out, field, outputs = self._warped(source_image, kp_driving, kp_source)
        if field is not None:
            depth = encoded(self._depth_cache, [self.src_first, *self.src_down_blocks], source_depth)
            out, attention = self.AttnModule(depth, out)
            outputs["attention"] = attention
        outputs["prediction"] = self._painted(out, source_image, field, outputs)
        return outputs.returned()

    def _painted(self, out: Tensor, source_image: Tensor, field: Tensor | None, outputs: Outputs) -> Tensor:
        return self._decoded(out)


class SPADEDepthAwareGenerator(DepthAwareGenerator):
    """DaGAN's version whose decoder also gets the warped source image."""

    def _painted(self, out: Tensor, source_image: Tensor, field: Tensor | None, outputs: Outputs) -> Tensor:
        assert field is not None, "a SPADEDepthAwareGenerator has a dense_motion_network"
        return self.decoder(out, warp(source_image, field, outputs.get("occlusion_map")))


def _key_points(random: Random, count: int, jacobians: bool) -> KeyPoints:
    value = {"value": random.points(count, 2)}
    return {**value, "jacobian": random.jacobians(count, 2)} if jacobians else value


def _motion_example(channels: int, motion: Any, side: int, random: Random) -> Arguments:
    sides = (side, side)
    return {
        "source_image": random.image(channels, *sides),
        "kp_driving": _key_points(random, motion.num_kp, True),
        "kp_source": _key_points(random, motion.num_kp, True),
    }


def _example_of_key_points(module: Any, random: Random) -> Arguments:
    side = hourglass_side(module.predictor, module.scale_factor)
    return {"x": random.image(in_channels(module.predictor), side, side)}


def _example_of_motion(module: Any, random: Random) -> Arguments:
    channels = in_channels(module.hourglass) // (module.num_kp + 1) - 1
    return _motion_example(channels, module, hourglass_side(module.hourglass, module.scale_factor), random)


def _example_of_generator(module: Any, random: Random) -> Arguments | None:
    motion = module.dense_motion_network
    if motion is None:
        return None
    return _motion_example(
        in_channels(module.first), motion, hourglass_side(motion.hourglass, motion.scale_factor), random
    )


def _example_of_depth_generator(module: Any, random: Random) -> Arguments | None:
    arguments = _example_of_generator(module, random)
    if arguments is None:
        return None
    depth = random.image(1, *arguments["source_image"].shape[2:])
    return {**arguments, "source_depth": depth, "driving_depth": depth}


ENCODER = ("first", "down_blocks")
MOTION = "anchor_features, affine_mixture; the source downsampled once; mask made when asked for"
GENERATOR = "confidence_warp; the source encoded once; deformed made when asked for"

PEER = Peer(
    "first-order-motion",
    (
        Part(
            "KPDetector",
            ("predictor", "kp", "jacobian", "temperature"),
            KPDetector,
            "soft_argmax",
            absent=("num_tps",),
            where=lambda module: isinstance(module.kp, nn.Conv2d),
            example=_example_of_key_points,
        ),
        Part(
            "DenseMotionNetwork",
            ("hourglass", "mask", "occlusion", "kp_variance", "num_kp"),
            DenseMotionNetwork,
            MOTION,
            absent=("num_tps", "compress"),
            example=_example_of_motion,
        ),
        Part(
            "OcclusionAwareGenerator",
            (*ENCODER, "bottleneck", "up_blocks", "final", "dense_motion_network"),
            OcclusionAwareGenerator,
            GENERATOR,
            absent=("resblocks_3d",),
            example=_example_of_generator,
        ),
        Part(
            "DepthAwareGenerator",
            (*ENCODER, "src_first", "src_down_blocks", "AttnModule", "bottleneck", "up_blocks", "final"),
            DepthAwareGenerator,
            GENERATOR,
            left="attention to depth: matrix products",
            example=_example_of_depth_generator,
        ),
        Part(
            "SPADEDepthAwareGenerator",
            (*ENCODER, "src_first", "src_down_blocks", "AttnModule", "decoder"),
            SPADEDepthAwareGenerator,
            GENERATOR,
            left="attention to depth: matrix products",
            example=_example_of_depth_generator,
        ),
    ),
    blocks=BLOCKS,
)
