"""Thin-plate-spline motion (Zhao and Zhang, CVPR 2022; TPSMM): coordinates with align_corners=True throughout.

Its local motions are splines, not affine maps, so they and their mixture with dropped-out weights are not replaced. The
memory format stays too: for an instance norm, torch copies a channels_last image to the other format and back.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from internet.accelerate.blocks import BLOCKS
from internet.accelerate.encoding import levels
from internet.accelerate.examples import Arguments, Random, hourglass_side, in_channels
from internet.accelerate.outputs import Outputs
from internet.accelerate.replacement import Part, Peer, Replacement
from internet.accelerate.source_cache import SourceCache
from internet.accelerate.warping import warp


class KPDetector(Replacement):
    """Its own code."""


class DenseMotionNetwork(Replacement):
    channels_last = False

    def create_deformed_source_image(self, source_image: Tensor, transformations: Tensor) -> Tensor:
        """(B, K+1, C, H, W): the source moved by each transformation (B, K+1, H, W, 2), without copying it."""
        count = transformations.shape[1]
        deformed = F.grid_sample(source_image, transformations.flatten(1, 2), align_corners=True)
        return deformed.unflatten(2, (count, -1)).transpose(1, 2).contiguous()


class InpaintingNetwork(Replacement):
    """Encodes the source once; warps and blends with `confidence_warp`."""

    channels_last = False
    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[list[Tensor]]

    def forward(self, source_image: Tensor, dense_motion: dict[str, Any]) -> dict[str, Any]:
        encoder = [self.first, *self.down_blocks]
        features = self._source_cache.get(source_image, encoder, lambda source: levels(encoder, source))[::-1]
        field, occlusion = dense_motion["deformation"], dense_motion["occlusion_map"]
        masks = occlusion if self.multi_mask else [occlusion[0]] * len(features)

        out = warp(features[0], field, masks[0], align_corners=True)
        for i in range(self.num_down_blocks):
            if i > 0:
                out = torch.cat([out, warp(features[i], field, masks[i], align_corners=True)], 1)
            out = self.up_blocks[i](self.resblock[2 * i + 1](self.resblock[2 * i](out)))
        out = warp(features[-1], field, masks[-1], blend=out, align_corners=True)
        out = torch.sigmoid(self.final(out))

        outputs = Outputs()
        outputs.share(dense_motion, "contribution_maps", "deformed_source", "occlusion_map")
        outputs.later("deformed", lambda: warp(source_image, field, align_corners=True), of=source_image)
        outputs.later("warped_encoder_maps", lambda: _warped_apart(features, field, masks))
        outputs["prediction"] = warp(source_image, field, masks[-1], blend=out, align_corners=True)
        return outputs.returned()


def _warped_apart(features: list[Tensor], field: Tensor, masks: list[Tensor]) -> list[Tensor]:
    """The warped features for a loss whose gradient reaches the field, but neither the encoder nor the masks."""
    pairs = zip(features, masks, strict=True)
    return [warp(level.detach(), field, mask.detach(), align_corners=True) for level, mask in pairs]


def _example_of_motion(module: Any, random: Random) -> Arguments:
    side = hourglass_side(module.hourglass, module.scale_factor)
    channels = (in_channels(module.hourglass) - 5 * module.num_tps - 1) // (module.num_tps + 1)
    return {
        "source_image": random.image(channels, side, side),
        "kp_driving": {"fg_kp": random.points(5 * module.num_tps, 2)},
        "kp_source": {"fg_kp": random.points(5 * module.num_tps, 2)},
        "bg_param": random.jacobians(1, 3)[:, 0],
    }


def _example_of_inpainting(module: Any, random: Random) -> Arguments:
    count = module.num_down_blocks
    side = 4 * 2**count
    sides = [side // 2 ** (count - i) for i in range(count + 1)] if module.multi_mask else [side // 4]
    return {
        "source_image": random.image(in_channels(module.first), side, side),
        "dense_motion": {
            "deformation": random.points((side // 4) ** 2, 2).view(1, side // 4, side // 4, 2),
            "occlusion_map": [random.image(1, side, side) for side in sides],
            "contribution_maps": random.image(2, side, side),
            "deformed_source": random.image(2, side, side),
        },
    }


PEER = Peer(
    "thin-plate-spline motion",
    (
        Part("KPDetector", ("num_tps", "fg_encoder"), KPDetector, "its own code, in channels_last"),
        Part(
            "DenseMotionNetwork",
            ("num_tps", "hourglass", "maps", "occlusion", "multi_mask"),
            DenseMotionNetwork,
            "one grid_sample without copies of the source",
            left="splines and their mixture: not affine; memory format: instance norms would copy",
            example=_example_of_motion,
        ),
        Part(
            "InpaintingNetwork",
            ("num_down_blocks", "multi_mask", "first", "down_blocks", "resblock", "up_blocks", "final"),
            InpaintingNetwork,
            "confidence_warp; the source encoded once; warped_encoder_maps and deformed made when asked for",
            left="memory format: instance norms would copy",
            where=lambda module: not module.multi_mask or module.num_down_blocks == 3,  # one mask per level
            example=_example_of_inpainting,
        ),
    ),
    blocks=BLOCKS,
)
