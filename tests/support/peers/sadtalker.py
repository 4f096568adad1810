"""SadTalker: face-vid2vid's networks, with small weights left out of the mixture."""

import torch

from tests.support.peers import face_vid2vid


class DenseMotionNetwork(face_vid2vid.DenseMotionNetwork):
    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.mask.weight.mul_(60)  # so that some weights are small

    def forward(self, feature, kp_driving, kp_source):
        inputs, motions = self.motions(feature, kp_driving, kp_source)
        prediction = self.hourglass(inputs.flatten(1, 2))
        mask = torch.softmax(self.mask(prediction), 1)
        mask = torch.where(mask < 1e-3, torch.zeros_like(mask), mask)
        occlusion = torch.sigmoid(self.occlusion(prediction.flatten(1, 2)))
        return {"mask": mask, "deformation": (motions * mask.unsqueeze(-1)).sum(1), "occlusion_map": occlusion}


class OcclusionAwareSPADEGenerator(face_vid2vid.OcclusionAwareSPADEGenerator):
    motion = DenseMotionNetwork
