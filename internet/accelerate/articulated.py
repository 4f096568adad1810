"""Articulated-animation (Siarohin et al., CVPR 2021; MRAA): regions instead of key points, and a moving background.

Its grid of coordinates is made with align_corners=True and sampled with False, as in first-order-motion.
"""

from typing import Any

import torch
from torch import Tensor, nn

from internet import ops
from internet.accelerate.blocks import BLOCKS
from internet.accelerate.encoding import encoded, levels
from internet.accelerate.examples import Arguments, Random, hourglass_side, in_channels
from internet.accelerate.outputs import Outputs
from internet.accelerate.replacement import Part, Peer, Replacement, original_class
from internet.accelerate.source_cache import SourceCache
from internet.accelerate.warping import warp

Regions = dict[str, Tensor]


class RegionPredictor(Replacement):
    """Centres and covariances of regions as moments of heat maps: `soft_argmax`."""

    jacobian: nn.Module | None
    temperature: float

    def forward(self, x: Tensor) -> dict[str, Any]:
        if self.scale_factor != 1:
            x = self.down(x)
        features = self.predictor(x)
        logits = self.regions(features)
        options: dict[str, Any] = {"temperature": self.temperature, "align_corners": True}

        outputs = Outputs()
        outputs.later("heatmap", lambda: torch.softmax(logits.flatten(2) / self.temperature, 2).view_as(logits))
        if self.jacobian is not None:
            maps = self.jacobian(features).unflatten(1, (1, 4))
            outputs["shift"], affine = ops.soft_argmax(logits, maps, **options)
            assert affine is not None
            outputs.update(affine=affine, covar=affine @ affine.mT)
        elif self.pca_based:
            outputs["shift"], _, covariance = ops.soft_argmax(logits, covariance=True, **options)
            outputs.update(covar=covariance, **self._principal_axes(covariance))
        else:
            outputs["shift"], _ = ops.soft_argmax(logits, **options)
        return outputs.returned()

    def _principal_axes(self, covariance: Tensor) -> Regions:
        """With the authors' own function: trained models depend on its choice of signs."""
        svd = original_class(self).forward.__globals__["svd"]
        u, s, _ = svd(covariance.view(-1, 2, 2), self.fast_svd)
        d = torch.diag_embed(s**0.5)
        return {"affine": (u @ d).view_as(covariance), "u": u, "d": d}


class PixelwiseFlowPredictor(Replacement):
    """Heat maps and moved sources with `anchor_features`, the motion field with `affine_mixture`."""

    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[Tensor]
    occlusion: nn.Module | None

    def forward(
        self,
        source_image: Tensor,
        driving_region_params: Regions,
        source_region_params: Regions,
        bg_params: Tensor | None = None,
    ) -> Regions:
        if self.scale_factor != 1:
            source_image = encoded(self._source_cache, [self.down], source_image)
        regions = self._regions(source_region_params, driving_region_params)
        covariances: dict[str, Any] = {}
        if self.use_covar_heatmap:
            covariances["covariance_source"] = source_region_params["covar"]
            covariances["covariance_driving"] = driving_region_params["covar"]
        features = ops.anchor_features(
            source_image,
            *regions,
            background=bg_params,
            variance=self.region_var,
            grid_align_corners=True,
            **covariances,
        )
        if not self.use_deformed_source:
            features = features.unflatten(1, (self.num_regions + 1, -1))[:, :, 0]  # the heat maps
        prediction = self.hourglass(features)
        field = ops.affine_mixture(self.mask(prediction), *regions, background=bg_params, align_corners=True)
        if self.occlusion is None:
            return {"optical_flow": field}
        return {"optical_flow": field, "occlusion_map": torch.sigmoid(self.occlusion(prediction))}

    def _regions(self, source: Regions, driving: Regions) -> tuple[Any, ...]:
        """Centres and affine maps, in the order of the operators' arguments."""
        if "affine" not in driving:
            return source["shift"], driving["shift"], None, None
        affine_source, affine_driving = source["affine"], driving["affine"]
        if self.revert_axis_swap:
            affine_source = affine_source * _sign_of_product(affine_source, affine_driving)
        return source["shift"], driving["shift"], affine_source, affine_driving


def _sign_of_product(a: Tensor, b: Tensor) -> Tensor:
    """(B, K, 1, 1): the sign of the first element of a b^-1, without a gradient."""
    with torch.no_grad():
        (p, q), ((r, s), (t, u)) = a[..., 0, :].unbind(-1), (row.unbind(-1) for row in b.unbind(-2))
        return torch.sign((p * u - q * t) * (r * u - s * t))[..., None, None]


class Generator(Replacement):
    """Encodes the source once; warps and blends with `confidence_warp`."""

    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[list[Tensor]]
    pixelwise_flow_predictor: nn.Module | None

    def forward(
        self,
        source_image: Tensor,
        driving_region_params: Regions,
        source_region_params: Regions,
        bg_params: Tensor | None = None,
    ) -> dict[str, Any]:
        encoder = [self.first, *self.down_blocks]
        *skips, out = self._source_cache.get(source_image, encoder, lambda source: levels(encoder, source))
        skips.append(out)
        outputs, motion = Outputs(), None
        if self.pixelwise_flow_predictor is not None:
            motion = self.pixelwise_flow_predictor(
                source_image=source_image,
                driving_region_params=driving_region_params,
                source_region_params=source_region_params,
                bg_params=bg_params,
            )
            outputs.later("deformed", lambda: warp(source_image, motion["optical_flow"]), of=source_image)
            outputs.share(motion, "occlusion_map")

        out = self.bottleneck(self.apply_optical(None, out, motion))
        for block in self.up_blocks:
            skip = skips.pop()
            out = block(self.apply_optical(out, skip, motion) if self.skips else out)
        if self.skips:
            out = self.apply_optical(out, skips.pop(), motion)
        out = torch.sigmoid(self.final(out))
        outputs["prediction"] = self.apply_optical(out, source_image, motion) if self.skips else out
        return outputs.returned()

    def apply_optical(
        self,
        input_previous: Tensor | None = None,
        input_skip: Any = None,
        motion_params: Regions | None = None,
    ) -> Any:
        """The warped source where it is visible, and painted features elsewhere."""
        if motion_params is None:
            return input_skip if input_previous is None else input_previous
        occlusion = motion_params.get("occlusion_map")
        blend = None if occlusion is None else input_previous
        return warp(input_skip, motion_params["optical_flow"], occlusion, blend=blend)


def _random_regions(random: Random, count: int) -> Regions:
    affine = random.jacobians(count, 2)
    return {"shift": random.points(count, 2), "affine": affine, "covar": 0.1 * affine @ affine.mT}


def _motion_example(channels: int, motion: Any, random: Random) -> Arguments:
    side = hourglass_side(motion.hourglass, motion.scale_factor)
    return {
        "source_image": random.image(channels, side, side),
        "driving_region_params": _random_regions(random, motion.num_regions),
        "source_region_params": _random_regions(random, motion.num_regions),
        "bg_params": random.jacobians(1, 3)[:, 0],
    }


def _example_of_regions(module: Any, random: Random) -> Arguments:
    side = hourglass_side(module.predictor, module.scale_factor)
    return {"x": random.image(in_channels(module.predictor), side, side)}


def _example_of_motion(module: Any, random: Random) -> Arguments:
    channels = module.down.groups if module.scale_factor != 1 else 3
    return _motion_example(channels, module, random)


def _example_of_generator(module: Any, random: Random) -> Arguments | None:
    motion = module.pixelwise_flow_predictor
    return None if motion is None else _motion_example(in_channels(module.first), motion, random)


PEER = Peer(
    "articulated-animation",
    (
        Part(
            "RegionPredictor",
            ("predictor", "regions", "jacobian", "temperature", "pca_based", "fast_svd"),
            RegionPredictor,
            "soft_argmax; heatmap made when asked for",
            left="svd: its signs are part of the model",
            example=_example_of_regions,
        ),
        Part(
            "PixelwiseFlowPredictor",
            ("hourglass", "mask", "occlusion", "num_regions", "region_var", "use_covar_heatmap", "revert_axis_swap"),
            PixelwiseFlowPredictor,
            "anchor_features, affine_mixture; the source downsampled once",
            example=_example_of_motion,
        ),
        Part(
            "Generator",
            ("pixelwise_flow_predictor", "first", "down_blocks", "bottleneck", "up_blocks", "final", "skips"),
            Generator,
            "confidence_warp; the source encoded once; deformed made when asked for",
            example=_example_of_generator,
        ),
    ),
    blocks=BLOCKS,
)
