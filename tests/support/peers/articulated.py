"""Articulated-animation."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.peers.blocks import (
    AntiAliasInterpolation2d,
    DownBlock2d,
    Hourglass,
    ResBlock2d,
    SameBlock2d,
    UpBlock2d,
    gaussians,
    grid,
    resized,
)

SCALE, REGIONS = 0.5, 3


def svd(covariance: Tensor, fast: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = torch.svd(covariance)
    return u, s, v


class RegionPredictor(nn.Module):
    def __init__(self, *, pca_based: bool, estimate_affine: bool = True):
        super().__init__()
        self.predictor = Hourglass(3)
        self.regions = nn.Conv2d(self.predictor.out_filters, REGIONS, 7, padding=3)
        has_jacobian = estimate_affine and not pca_based
        self.jacobian = nn.Conv2d(self.predictor.out_filters, 4, 7, padding=3) if has_jacobian else None
        self.temperature, self.scale_factor, self.pca_based, self.fast_svd = 0.1, SCALE, pca_based, False
        self.down = AntiAliasInterpolation2d(3, SCALE)

    def forward(self, x):
        features = self.predictor(self.down(x))
        logits = self.regions(features)
        batch, count, *size = logits.shape
        heat = torch.softmax(logits.flatten(2) / self.temperature, 2).view(batch, count, *size)
        points = grid(*size, like=heat)
        out = {"heatmap": heat, "shift": (heat.unsqueeze(-1) * points).sum((2, 3))}
        if self.pca_based:
            offset = (points - out["shift"][:, :, None, None]).unsqueeze(-1)
            covariance = (offset @ offset.mT * heat[..., None, None]).sum((2, 3))
            u, s, _ = svd(covariance.view(-1, 2, 2), self.fast_svd)
            d = torch.diag_embed(s**0.5)
            out |= {"covar": covariance, "u": u, "d": d, "affine": (u @ d).view_as(covariance)}
        elif self.jacobian is not None:
            maps = self.jacobian(features).reshape(batch, 1, 4, *size)
            affine = (heat.unsqueeze(2) * maps).flatten(3).sum(-1).view(batch, count, 2, 2)
            out |= {"affine": affine, "covar": affine @ affine.mT}
        return out


class PixelwiseFlowPredictor(nn.Module):
    def __init__(
        self,
        *,
        estimate_occlusion_map: bool = True,
        use_covar_heatmap: bool = True,
        use_deformed_source: bool = True,
        revert_axis_swap: bool = True,
    ):
        super().__init__()
        self.hourglass = Hourglass((REGIONS + 1) * (1 + 3 * use_deformed_source))
        self.mask = nn.Conv2d(self.hourglass.out_filters, REGIONS + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_filters, 1, 7, padding=3) if estimate_occlusion_map else None
        self.num_regions, self.scale_factor, self.region_var = REGIONS, SCALE, 0.01
        self.use_covar_heatmap, self.use_deformed_source = use_covar_heatmap, use_deformed_source
        self.revert_axis_swap = revert_axis_swap
        self.down = AntiAliasInterpolation2d(3, SCALE)

    def heat_map(self, regions, size):
        return gaussians(regions["shift"], size, regions["covar"] if self.use_covar_heatmap else self.region_var)

    def forward(self, source_image, driving_region_params, source_region_params, bg_params=None):
        driving, origin, source = driving_region_params, source_region_params, self.down(source_image)
        batch, channels, *size = source.shape
        heat = self.heat_map(driving, size) - self.heat_map(origin, size)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1)

        identity = grid(*size, like=source)
        offset = identity - driving["shift"][:, :, None, None]
        if "affine" in driving:
            affine = origin["affine"] @ torch.inverse(driving["affine"])
            if self.revert_axis_swap:
                affine = affine * torch.sign(affine[:, :, :1, :1])
            offset = (affine[:, :, None, None] @ offset.unsqueeze(-1)).squeeze(-1)
        background = identity.expand(batch, 1, *size, 2)
        if bg_params is not None:
            homogeneous = torch.cat([background, torch.ones_like(background[..., :1])], -1).unsqueeze(-1)
            homogeneous = (bg_params[:, None, None, None] @ homogeneous).squeeze(-1)
            background = homogeneous[..., :2] / homogeneous[..., 2:]
        motions = torch.cat([background, offset + origin["shift"][:, :, None, None]], 1)

        repeated = source.unsqueeze(1).expand(-1, self.num_regions + 1, -1, -1, -1).flatten(0, 1)
        deformed = F.grid_sample(repeated, motions.flatten(0, 1), align_corners=False)
        inputs = heat.unsqueeze(2)
        if self.use_deformed_source:
            inputs = torch.cat([inputs, deformed.view(batch, self.num_regions + 1, channels, *size)], 2)
        prediction = self.hourglass(inputs.flatten(1, 2))
        mask = torch.softmax(self.mask(prediction), 1)
        out = {"optical_flow": (motions * mask.unsqueeze(-1)).sum(1)}
        if self.occlusion is not None:
            out["occlusion_map"] = torch.sigmoid(self.occlusion(prediction))
        return out


class Generator(nn.Module):
    def __init__(self, *, skips: bool = True, has_motion: bool = True, **options: Any):
        super().__init__()
        self.pixelwise_flow_predictor = PixelwiseFlowPredictor(**options) if has_motion else None
        self.first = SameBlock2d(3, 8, kernel=7)
        self.down_blocks = nn.ModuleList(DownBlock2d(8 * 2**i, 16 * 2**i) for i in range(2))
        self.up_blocks = nn.ModuleList(UpBlock2d(16 * 2**i, 8 * 2**i) for i in (1, 0))
        self.bottleneck = nn.Sequential(ResBlock2d(32))
        self.final = nn.Conv2d(8, 3, 7, padding=3)
        self.skips = skips

    def deform_input(self, x, field):
        if field.shape[1:3] != x.shape[2:]:
            field = F.interpolate(field.permute(0, 3, 1, 2), x.shape[2:], mode="bilinear").permute(0, 2, 3, 1)
        return F.grid_sample(x, field, align_corners=False)

    def apply_optical(self, input_previous=None, input_skip=None, motion_params=None):
        if motion_params is None:
            return input_skip if input_previous is None else input_previous
        out = self.deform_input(input_skip, motion_params["optical_flow"])
        if "occlusion_map" not in motion_params:
            return out
        occlusion = resized(motion_params["occlusion_map"], out)
        return out * occlusion + (0 if input_previous is None else input_previous * (1 - occlusion))

    def forward(self, source_image, driving_region_params, source_region_params, bg_params=None):
        skips = [self.first(source_image)]
        for block in self.down_blocks:
            skips.append(block(skips[-1]))
        outputs, motion = {}, None
        if self.pixelwise_flow_predictor is not None:
            motion = self.pixelwise_flow_predictor(
                source_image, driving_region_params, source_region_params, bg_params=bg_params
            )
            outputs = {"deformed": self.deform_input(source_image, motion["optical_flow"])}
            outputs |= {name: motion[name] for name in ("occlusion_map",) if name in motion}
        out = self.bottleneck(self.apply_optical(None, skips[-1], motion))
        for i, block in enumerate(self.up_blocks):
            out = block(self.apply_optical(out, skips[-1 - i], motion) if self.skips else out)
        if self.skips:
            out = self.apply_optical(out, skips[0], motion)
        out = torch.sigmoid(self.final(out))
        return {**outputs, "prediction": self.apply_optical(out, source_image, motion) if self.skips else out}


class Model(nn.Module):
    """Both networks, called as in training, with a background that moves."""

    def __init__(self, *, pca_based: bool = True, estimate_affine: bool = True, bg: bool = True, **generator: Any):
        super().__init__()
        self.region_predictor = RegionPredictor(pca_based=pca_based, estimate_affine=estimate_affine)
        self.generator = Generator(**generator)
        background = torch.eye(3) + torch.tensor([[0.1, 0, 0.05], [-0.05, 0, 0.1], [0.03, -0.05, 0]])
        self.background = nn.Parameter(background) if bg else None

    def forward(self, source, driving):
        regions = [self.region_predictor(image) for image in (source, driving)]
        background = None if self.background is None else self.background.expand(len(source), 3, 3)
        outputs = self.generator(
            source, source_region_params=regions[0], driving_region_params=regions[1], bg_params=background
        )
        return {**outputs, "heatmap": regions[1]["heatmap"], "shift": regions[1]["shift"]}
