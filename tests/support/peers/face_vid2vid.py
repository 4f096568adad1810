"""face-vid2vid."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.peers.blocks import (
    AntiAliasInterpolation2d,
    DownBlock2d,
    Hourglass,
    ResBlock2d,
    ResBlock3d,
    SameBlock2d,
    UpBlock2d,
    gaussians,
    grid,
    resized,
)

DEPTH, KEY_POINTS, CHANNELS = 2, 3, 4


class KPHourglass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down_blocks = nn.Sequential(DownBlock2d(3, 8))
        self.conv = nn.Conv2d(8, 8 * DEPTH, 1)
        self.out_filters = 8

    def forward(self, x):
        return self.conv(self.down_blocks(x)).unflatten(1, (8, DEPTH))


class KPDetector(nn.Module):
    def __init__(self, estimate_jacobian: bool):
        super().__init__()
        self.predictor = KPHourglass()
        self.kp = nn.Conv3d(8, KEY_POINTS, 3, padding=1)
        self.num_jacobian_maps = KEY_POINTS
        self.jacobian = nn.Conv3d(8, 9 * KEY_POINTS, 3, padding=1) if estimate_jacobian else None
        self.temperature, self.scale_factor = 0.1, 0.5
        self.down = AntiAliasInterpolation2d(3, 0.5)

    def forward(self, x):
        features = self.predictor(self.down(x))
        logits = self.kp(features)
        batch, count, *size = logits.shape
        heat = torch.softmax(logits.flatten(2) / self.temperature, 2).view(batch, count, *size)
        out = {"value": (heat.unsqueeze(-1) * grid(*size, like=heat)).sum((2, 3, 4))}
        if self.jacobian is not None:
            maps = self.jacobian(features).reshape(batch, self.num_jacobian_maps, 9, *size)
            out["jacobian"] = (heat.unsqueeze(2) * maps).flatten(3).sum(-1).view(batch, count, 3, 3)
        return out


class DenseMotionNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass((KEY_POINTS + 1) * 3, axes=3)
        self.mask = nn.Conv3d(self.hourglass.out_filters, KEY_POINTS + 1, 3, padding=1)
        self.compress = nn.Conv3d(CHANNELS, 2, 1)
        self.norm = nn.BatchNorm3d(2)
        self.occlusion = nn.Conv2d(self.hourglass.out_filters * DEPTH, 1, 7, padding=3)
        self.num_kp = KEY_POINTS

    def motions(self, feature, kp_driving, kp_source):
        """Heat maps and warped features, (B, K+1, 1+C, D, H, W); and their sampling positions."""
        x = F.relu(self.norm(self.compress(feature)))
        batch, channels, *size = x.shape
        driving, origin = kp_driving["value"], kp_source["value"]
        identity = grid(*size, like=x)
        offset = identity - driving[:, :, None, None, None]
        if kp_driving.get("jacobian") is not None:
            jacobian = kp_source["jacobian"] @ torch.inverse(kp_driving["jacobian"])
            offset = (jacobian[:, :, None, None, None] @ offset.unsqueeze(-1)).squeeze(-1)
        motions = torch.cat([identity.expand(batch, 1, *size, 3), offset + origin[:, :, None, None, None]], 1)
        repeated = x.unsqueeze(1).expand(-1, self.num_kp + 1, -1, -1, -1, -1).flatten(0, 1)
        deformed = F.grid_sample(repeated, motions.flatten(0, 1), align_corners=False)
        heat = gaussians(driving, size, 0.01) - gaussians(origin, size, 0.01)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1).unsqueeze(2)
        return torch.cat([heat, deformed.view(batch, self.num_kp + 1, channels, *size)], 2), motions

    def forward(self, feature, kp_driving, kp_source):
        inputs, motions = self.motions(feature, kp_driving, kp_source)
        prediction = self.hourglass(inputs.flatten(1, 2))
        mask = torch.softmax(self.mask(prediction), 1)
        occlusion = torch.sigmoid(self.occlusion(prediction.flatten(1, 2)))
        return {"mask": mask, "deformation": (motions * mask.unsqueeze(-1)).sum(1), "occlusion_map": occlusion}


class OcclusionAwareGenerator(nn.Module):
    motion = DenseMotionNetwork

    def __init__(self, has_motion: bool = True):
        super().__init__()
        self.dense_motion_network = self.motion() if has_motion else None
        self.first = SameBlock2d(3, 4)
        self.down_blocks = nn.ModuleList([DownBlock2d(4, 8)])
        self.second = nn.Conv2d(8, CHANNELS * DEPTH, 1)
        self.reshape_channel, self.reshape_depth = CHANNELS, DEPTH
        self.resblocks_3d = nn.Sequential(ResBlock3d(CHANNELS))
        self.third = SameBlock2d(CHANNELS * DEPTH, 8, leaks=True)
        self.fourth = nn.Conv2d(8, 8, 1)
        self.decode()

    def decode(self):
        self.resblocks_2d = nn.Sequential(ResBlock2d(8))
        self.up_blocks = nn.ModuleList([UpBlock2d(8, 4)])
        self.final = nn.Conv2d(4, 3, 7, padding=3)

    def decoded(self, out):
        return torch.sigmoid(self.final(self.up_blocks[0](self.resblocks_2d(out))))

    def forward(self, source_image, kp_driving, kp_source):
        out = self.second(self.down_blocks[0](self.first(source_image)))
        volume = self.resblocks_3d(out.unflatten(1, (self.reshape_channel, self.reshape_depth)).contiguous())
        motion = self.dense_motion_network(volume, kp_driving, kp_source)
        out = F.grid_sample(volume, motion["deformation"], align_corners=False)
        out = self.fourth(self.third(out.flatten(1, 2)))
        out = out * resized(motion["occlusion_map"], out)
        outputs = {"mask": motion["mask"], "occlusion_map": motion["occlusion_map"]}
        return {**outputs, "prediction": self.decoded(out)}


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(8)
        self.conv = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, features):
        return torch.sigmoid(self.conv(self.norm(F.interpolate(features, scale_factor=2))))


class OcclusionAwareSPADEGenerator(OcclusionAwareGenerator):
    def decode(self):
        self.decoder = Painter()

    def decoded(self, out):
        return self.decoder(out)


class Model(nn.Module):
    def __init__(self, generator: type[nn.Module] = OcclusionAwareSPADEGenerator, estimate_jacobian: bool = True):
        super().__init__()
        self.kp_detector = KPDetector(estimate_jacobian)
        self.generator = generator()

    def forward(self, source, driving):
        return self.generator(source, kp_source=self.kp_detector(source), kp_driving=self.kp_detector(driving))
