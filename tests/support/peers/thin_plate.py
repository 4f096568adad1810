"""Thin-plate-spline motion."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.peers.blocks import (
    AntiAliasInterpolation2d,
    DownBlock2d,
    Hourglass,
    ResBlock2d,
    SameBlock2d,
    UpBlock2d,
    gaussians,
    grid,
)

SCALE, SPLINES, POINTS = 0.5, 2, 5
INSTANCE = {"norm": "instance"}


class KPDetector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_tps = SPLINES
        encoder = nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        self.fg_encoder = nn.Sequential(*encoder, nn.Linear(32, SPLINES * POINTS * 2))

    def forward(self, image):
        return {"fg_kp": (torch.sigmoid(self.fg_encoder(image)) * 2 - 1).view(len(image), -1, 2)}


class DenseMotionNetwork(nn.Module):
    def __init__(self, multi_mask: bool):
        super().__init__()
        self.down = AntiAliasInterpolation2d(3, SCALE)
        self.hourglass = Hourglass(3 * (SPLINES + 1) + SPLINES * POINTS + 1, width=8, depth=2, **INSTANCE)
        width = self.hourglass.out_filters
        self.maps = nn.Conv2d(width, SPLINES + 1, 7, padding=3)
        self.multi_mask = multi_mask
        self.up = nn.ModuleList([UpBlock2d(width, 4, **INSTANCE)]) if multi_mask else None
        widths = [width, width, width, 4] if multi_mask else [width]
        self.occlusion = nn.ModuleList(nn.Conv2d(w, 1, 7, padding=3) for w in widths)
        self.num_tps, self.scale_factor, self.kp_variance = SPLINES, SCALE, 0.01

    def create_deformed_source_image(self, source_image, transformations):
        batch, channels, *size = source_image.shape
        repeated = source_image.unsqueeze(1).repeat(1, self.num_tps + 1, 1, 1, 1).flatten(0, 1)
        deformed = F.grid_sample(repeated, transformations.flatten(0, 1), align_corners=True)
        return deformed.view(batch, self.num_tps + 1, channels, *size)

    def transformations(self, kp_driving, kp_source, size, bg_param):
        """Any motions would do; these are curved."""
        batch = len(kp_driving)
        points = grid(*size, like=kp_driving)
        shift = (kp_source - kp_driving).view(batch, SPLINES, POINTS, 1, 1, 2)
        near = gaussians(kp_driving, size, 0.3).view(batch, SPLINES, POINTS, *size, 1)
        identity = points.expand(batch, 1, *size, 2)
        if bg_param is not None:
            homogeneous = torch.cat([identity, torch.ones_like(identity[..., :1])], -1).unsqueeze(-1)
            homogeneous = (bg_param[:, None, None, None] @ homogeneous).squeeze(-1)
            identity = homogeneous[..., :2] / homogeneous[..., 2:]
        return torch.cat([identity, points + (shift * near).sum(2)], 1)

    def forward(self, source_image, kp_driving, kp_source, bg_param=None, dropout_flag=False, dropout_p=0):
        source = self.down(source_image)
        size = tuple(source.shape[2:])
        driving, origin = kp_driving["fg_kp"], kp_source["fg_kp"]
        heat = gaussians(driving, size, self.kp_variance) - gaussians(origin, size, self.kp_variance)
        motions = self.transformations(driving, origin, size, bg_param)
        deformed = self.create_deformed_source_image(source, motions)
        inputs = torch.cat([torch.zeros_like(heat[:, :1]), heat, deformed.flatten(1, 2)], 1)
        prediction = self.hourglass(inputs, mode=1)[-1]
        maps = torch.softmax(self.maps(prediction), 1)
        out = {"deformed_source": deformed, "contribution_maps": maps}
        out["deformation"] = (motions * maps.unsqueeze(-1)).sum(1)
        if self.multi_mask:
            levels = [F.avg_pool2d(prediction, 4), F.avg_pool2d(prediction, 2), prediction, self.up[0](prediction)]
        else:
            levels = [prediction]
        out["occlusion_map"] = [torch.sigmoid(conv(x)) for conv, x in zip(self.occlusion, levels, strict=True)]
        return out


class InpaintingNetwork(nn.Module):
    def __init__(self, multi_mask: bool):
        super().__init__()
        self.num_down_blocks, self.multi_mask = 3, multi_mask
        self.first = SameBlock2d(3, 4, kernel=7, **INSTANCE)
        widths = [4 * 2**i for i in range(4)]
        pairs = list(itertools.pairwise(widths))
        self.down_blocks = nn.ModuleList(DownBlock2d(a, b, **INSTANCE) for a, b in pairs)
        inside = [b if i == 2 else 2 * b for i, (_, b) in enumerate(pairs)]  # features join from the second on
        self.up_blocks = nn.ModuleList(
            UpBlock2d(b, a, **INSTANCE) for (a, _), b in reversed(list(zip(pairs, inside, strict=True)))
        )
        self.resblock = nn.ModuleList(ResBlock2d(b, **INSTANCE) for b in reversed(inside) for _ in range(2))
        self.final = nn.Conv2d(4, 3, 7, padding=3)

    def deform_input(self, x, field):
        if field.shape[1:3] != x.shape[2:]:
            field = field.permute(0, 3, 1, 2)
            field = F.interpolate(field, x.shape[2:], mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
        return F.grid_sample(x, field, align_corners=True)

    def occlude_input(self, x, occlusion):
        if occlusion.shape[2:] != x.shape[2:]:
            occlusion = F.interpolate(occlusion, x.shape[2:], mode="bilinear", align_corners=True)
        return x * occlusion

    def forward(self, source_image, dense_motion):
        features = [self.first(source_image)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        features = features[::-1]
        field, occlusion = dense_motion["deformation"], dense_motion["occlusion_map"]
        masks = occlusion if self.multi_mask else occlusion * 4

        def level(i):
            return self.occlude_input(self.deform_input(features[i], field), masks[i])

        apart = [
            self.occlude_input(self.deform_input(x.detach(), field), mask.detach())
            for x, mask in zip(features, masks, strict=True)
        ]
        out = level(0)
        for i, block in enumerate(self.up_blocks):
            out = block(self.resblock[2 * i + 1](self.resblock[2 * i](out)))
            if i < 2:
                out = torch.cat([out, level(i + 1)], 1)
        last = self.occlude_input(torch.ones_like(out[:, :1]), masks[-1])
        out = torch.sigmoid(self.final(out * (1 - last) + level(3)))
        deformed = self.deform_input(source_image, field)
        return {
            "contribution_maps": dense_motion["contribution_maps"],
            "deformed_source": dense_motion["deformed_source"],
            "occlusion_map": occlusion,
            "deformed": deformed,
            "warped_encoder_maps": apart,
            "prediction": out * (1 - last) + deformed * last,
        }

    def get_encode(self, driver_image, occlusion_map):
        return self.occlude_input(self.first(driver_image), occlusion_map[-1])


class Model(nn.Module):
    def __init__(self, multi_mask: bool = True):
        super().__init__()
        self.kp_detector = KPDetector()
        self.dense_motion_network = DenseMotionNetwork(multi_mask)
        self.inpainting_network = InpaintingNetwork(multi_mask)

    def forward(self, source, driving):
        points = self.kp_detector(source), self.kp_detector(driving)
        motion = self.dense_motion_network(source, kp_source=points[0], kp_driving=points[1])
        return self.inpainting_network(source, motion)
