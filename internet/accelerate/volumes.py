"""Code shared by face-vid2vid and LivePortrait: dense motion of volumes, and the warp of a volume."""

from typing import Any

import torch
from torch import Tensor, nn

from internet import ops
from internet.accelerate.outputs import Outputs
from internet.accelerate.replacement import Replacement


class VolumeMotion(Replacement):
    """Heat maps and moved features with `anchor_features`, the motion field with `affine_mixture`."""

    channels_last = False
    occlusion: nn.Module | None

    def _motion(self, feature: Tensor, *anchors: Any) -> dict[str, Any]:
        """
        Args:
            feature: (B, C, D, H, W) of the source.
            anchors: in the order of the operators' arguments.
        """
        compressed = torch.relu(self.norm(self.compress(feature)))
        prediction = self.hourglass(ops.anchor_features(compressed, *anchors, grid_align_corners=True))
        logits = self.mask(prediction)

        outputs = Outputs()
        outputs.later("mask", lambda: self._weights(logits))
        outputs["deformation"] = self._field(logits, *anchors)
        if self.occlusion is not None:
            outputs["occlusion_map"] = torch.sigmoid(self.occlusion(prediction.flatten(1, 2)))
        return outputs.returned()

    def _weights(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=1)

    def _field(self, logits: Tensor, *anchors: Any) -> Tensor:
        return ops.affine_mixture(logits, *anchors, align_corners=True)


def warped(generator: Any, volume: Tensor, field: Tensor, occlusion: Tensor | None) -> Tensor:
    """(B, C', H, W): a volume (B, C, D, H, W) warped, with depth merged into its channels, reduced and occluded."""
    if field.shape[1:4] == volume.shape[2:]:
        out = ops.volume_warp(volume, field)
    else:
        out = generator.deform_input(volume, field)
    out = generator.fourth(generator.third(out.flatten(1, 2)))
    if occlusion is None:
        return out
    if occlusion.shape[2:] != out.shape[2:]:
        occlusion = nn.functional.interpolate(occlusion, out.shape[2:], mode="bilinear")
    return out * occlusion
