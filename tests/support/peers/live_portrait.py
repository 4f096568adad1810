"""LivePortrait."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.peers import face_vid2vid
from tests.support.peers.blocks import DownBlock2d, SameBlock2d


class DenseMotionNetwork(face_vid2vid.DenseMotionNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.flag_estimate_occlusion_map = True

    def forward(self, feature, kp_driving, kp_source):
        return super().forward(feature, {"value": kp_driving}, {"value": kp_source})


class WarpingNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flag_use_occlusion_map = True
        self.dense_motion_network = DenseMotionNetwork()
        self.third = SameBlock2d(face_vid2vid.CHANNELS * face_vid2vid.DEPTH, 8, leaks=True)
        self.fourth = nn.Conv2d(8, 8, 1)

    def forward(self, feature_3d, kp_driving, kp_source):
        motion = self.dense_motion_network(feature_3d, kp_driving, kp_source)
        out = F.grid_sample(feature_3d, motion["deformation"], align_corners=False)
        out = self.fourth(self.third(out.flatten(1, 2))) * motion["occlusion_map"]
        return {"occlusion_map": motion["occlusion_map"], "deformation": motion["deformation"], "out": out}


class MotionExtractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, 9)

    def forward(self, x):
        return torch.tanh(self.fc(self.conv(x).mean((2, 3)))).view(len(x), 3, 3)


class LivePortraitWrapper:
    """Not a module, but contains some."""

    def __init__(self) -> None:
        self.appearance_feature_extractor = nn.Sequential(
            DownBlock2d(3, 8), nn.Unflatten(1, (face_vid2vid.CHANNELS, face_vid2vid.DEPTH))
        )
        self.motion_extractor = MotionExtractor()
        self.warping_module = WarpingNetwork()
        self.spade_generator = face_vid2vid.Painter()
        self.device = "cpu"


class Model(nn.Module):
    """The computation of the wrapper's pipeline."""

    def __init__(self) -> None:
        super().__init__()
        for name, module in vars(LivePortraitWrapper()).items():
            if isinstance(module, nn.Module):
                self.add_module(name, module)

    def forward(self, source, driving):
        volume = self.appearance_feature_extractor(source)
        points = [self.motion_extractor(image) for image in (driving, source)]
        outputs = self.warping_module(volume, kp_driving=points[0], kp_source=points[1])
        return {**outputs, "out": self.spade_generator(outputs["out"])}
