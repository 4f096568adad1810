"""First-order-motion and DaGAN."""

from collections.abc import Mapping
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

SCALE, KEY_POINTS = 0.5, 3


class KPDetector(nn.Module):
    def __init__(
        self, channels: int = 3, *, single_jacobian_map: bool = False, estimate_jacobian: bool = True, pad: int = 0
    ):
        super().__init__()
        self.predictor = Hourglass(channels)
        self.kp = nn.Conv2d(self.predictor.out_filters, KEY_POINTS, 7, padding=pad)
        self.num_jacobian_maps = 1 if single_jacobian_map else KEY_POINTS
        self.jacobian = (
            nn.Conv2d(self.predictor.out_filters, 4 * self.num_jacobian_maps, 7, padding=pad)
            if estimate_jacobian
            else None
        )
        self.temperature, self.scale_factor = 0.1, SCALE
        self.down = AntiAliasInterpolation2d(channels, SCALE)

    def forward(self, x):
        features = self.predictor(self.down(x))
        logits = self.kp(features)
        batch, count, *size = logits.shape
        heat = torch.softmax(logits.flatten(2) / self.temperature, 2).view(batch, count, *size)
        out = {"value": (heat.unsqueeze(-1) * grid(*size, like=heat)).sum((2, 3))}
        if self.jacobian is not None:
            maps = self.jacobian(features).reshape(batch, self.num_jacobian_maps, 4, *size)
            out["jacobian"] = (heat.unsqueeze(2) * maps).flatten(3).sum(-1).view(batch, count, 2, 2)
        return out


class DenseMotionNetwork(nn.Module):
    def __init__(self, *, estimate_occlusion_map: bool = True):
        super().__init__()
        self.hourglass = Hourglass((KEY_POINTS + 1) * 4)
        self.mask = nn.Conv2d(self.hourglass.out_filters, KEY_POINTS + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_filters, 1, 7, padding=3) if estimate_occlusion_map else None
        self.num_kp, self.scale_factor, self.kp_variance = KEY_POINTS, SCALE, 0.01
        self.down = AntiAliasInterpolation2d(3, SCALE)

    def forward(self, source_image, kp_driving, kp_source):
        source = self.down(source_image)
        batch, channels, *size = source.shape
        heat = gaussians(kp_driving["value"], size, self.kp_variance) - gaussians(
            kp_source["value"], size, self.kp_variance
        )
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1)

        identity = grid(*size, like=source)
        offset = identity - kp_driving["value"][:, :, None, None]
        if "jacobian" in kp_driving:
            jacobian = kp_source["jacobian"] @ torch.inverse(kp_driving["jacobian"])
            offset = (jacobian[:, :, None, None] @ offset.unsqueeze(-1)).squeeze(-1)
        motions = offset + kp_source["value"][:, :, None, None]
        motions = torch.cat([identity.expand(batch, 1, *size, 2), motions], 1)
        repeated = source.unsqueeze(1).expand(-1, self.num_kp + 1, -1, -1, -1).flatten(0, 1)
        deformed = F.grid_sample(repeated, motions.flatten(0, 1), align_corners=False)
        deformed = deformed.view(batch, self.num_kp + 1, channels, *size)

        prediction = self.hourglass(torch.cat([heat.unsqueeze(2), deformed], 2).flatten(1, 2))
        mask = torch.softmax(self.mask(prediction), 1)
        field = (motions * mask.unsqueeze(-1)).sum(1)
        out = {"sparse_deformed": deformed, "mask": mask, "deformation": field}
        if self.occlusion is not None:
            out["occlusion_map"] = torch.sigmoid(self.occlusion(prediction))
        return out


class OcclusionAwareGenerator(nn.Module):
    def __init__(self, *, downs: int = 1, has_motion: bool = True, **options: Any):
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork(**options) if has_motion else None
        self.first = SameBlock2d(3, 8, kernel=7)
        self.down_blocks = nn.ModuleList(DownBlock2d(8 * 2**i, 16 * 2**i) for i in range(downs))
        self.up_blocks = nn.ModuleList(UpBlock2d(16 * 2**i, 8 * 2**i) for i in reversed(range(downs)))
        self.bottleneck = nn.Sequential(*(ResBlock2d(8 * 2**downs) for _ in range(2)))
        self.final = nn.Conv2d(8, 3, 7, padding=3)

    def deform_input(self, x, field):
        if field.shape[1:3] != x.shape[2:]:
            field = F.interpolate(field.permute(0, 3, 1, 2), x.shape[2:], mode="bilinear").permute(0, 2, 3, 1)
        return F.grid_sample(x, field, align_corners=False)

    def warped(self, source_image, kp_driving, kp_source):
        out = self.first(source_image)
        for block in self.down_blocks:
            out = block(out)
        outputs: dict[str, Tensor] = {}
        if self.dense_motion_network is not None:
            motion = self.dense_motion_network(source_image=source_image, kp_driving=kp_driving, kp_source=kp_source)
            field, occlusion = motion["deformation"], motion.get("occlusion_map")
            outputs.update({name: value for name, value in motion.items() if name != "deformation"})
            out = self.deform_input(out, field)
            if occlusion is not None:
                out = out * resized(occlusion, out)
            outputs["deformed"] = self.deform_input(source_image, field)
        return out, outputs

    def decoded(self, out):
        out = self.bottleneck(out)
        for block in self.up_blocks:
            out = block(out)
        return torch.sigmoid(self.final(out))

    def forward(self, source_image, kp_driving, kp_source):
        out, outputs = self.warped(source_image, kp_driving, kp_source)
        return {**outputs, "prediction": self.decoded(out)}


class Attention(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.query_conv, self.key_conv = (nn.Conv2d(channels, channels // 8, 1) for _ in range(2))
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, source, features):
        query, key, value = self.query_conv(source), self.key_conv(features), self.value_conv(features)
        attention = torch.softmax(query.flatten(2).transpose(1, 2) @ key.flatten(2), -1)
        out = (value.flatten(2) @ attention.transpose(1, 2)).view_as(features)
        return self.gamma * out + features, attention


class DepthAwareGenerator(OcclusionAwareGenerator):
    def __init__(self) -> None:
        super().__init__()
        self.src_first = SameBlock2d(1, 8, kernel=7)
        self.src_down_blocks = nn.ModuleList([DownBlock2d(8, 16)])
        self.AttnModule = Attention(16)

    def attended(self, source_image, kp_driving, kp_source, source_depth):
        depth = self.src_down_blocks[0](self.src_first(source_depth))
        out, outputs = self.warped(source_image, kp_driving, kp_source)
        out, outputs["attention"] = self.AttnModule(depth, out)
        return out, outputs

    def forward(self, source_image, kp_driving, kp_source, source_depth, driving_depth):
        out, outputs = self.attended(source_image, kp_driving, kp_source, source_depth)
        return {**outputs, "prediction": self.decoded(out)}


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16 + 3, 3, 3, padding=1)

    def forward(self, features, image):
        return torch.sigmoid(self.conv(torch.cat([F.interpolate(features, scale_factor=2), image], 1)))


class SPADEDepthAwareGenerator(DepthAwareGenerator):
    def __init__(self) -> None:
        super().__init__()
        del self.bottleneck, self.up_blocks, self.final
        self.decoder = Painter()

    def forward(self, source_image, kp_driving, kp_source, source_depth, driving_depth):
        out, outputs = self.attended(source_image, kp_driving, kp_source, source_depth)
        deformed = outputs["deformed"] * resized(outputs["occlusion_map"], outputs["deformed"])
        return {**outputs, "prediction": self.decoder(out, deformed)}


class Model(nn.Module):
    """Both networks, called as a demo calls them."""

    def __init__(self, detector: Mapping[str, Any] | None = None, **generator: Any):
        super().__init__()
        self.kp_detector = KPDetector(**(detector or {}))
        self.generator = OcclusionAwareGenerator(**generator)

    def forward(self, source, driving):
        return self.generator(source, kp_source=self.kp_detector(source), kp_driving=self.kp_detector(driving))


class DepthModel(nn.Module):
    """DaGAN's, with images whose fourth channel is their depth."""

    def __init__(self, generator: type[nn.Module] = DepthAwareGenerator):
        super().__init__()
        self.kp_detector = KPDetector(4)
        self.generator = generator()

    def forward(self, source, driving):
        return self.generator(
            source[:, :3],
            kp_source=self.kp_detector(source),
            kp_driving=self.kp_detector(driving),
            source_depth=source[:, 3:],
            driving_depth=driving[:, 3:],
        )
