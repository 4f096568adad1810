"""The energy that a fit minimises: a sum of named terms."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from internet import ops
from internet.geometry import field_to_flow, full_flow
from internet.registration.initialization import pool_flow
from internet.registration.motion import MixtureMotion

#: Below this difference, which is camera noise, the penalty on features is quadratic.
NOISE = 2 / 255


@dataclass(frozen=True)
class Weights:
    """The weight of each term of the energy (see :meth:`Objective.terms`)."""

    features: float = 2.0
    photometric: float = 1.0
    teacher: float = 0.05
    smooth: float = 0.2
    area: float = 0.01
    confidence: float = 0.01


class Objective:
    """The energy of a motion for one pair of frames, prepared once and evaluated at every step.

    Args:
        source, driving: (1, 3, H, W) in [0, 1].
        flow: optical flow from driving to source, (1, 2, H, W) in pixels, the teacher.
        reliable: (1, 1, H, W) of 0 and 1, where the teacher is used.
        base: (h, w), the size of the motion field; H/h = W/w is a power of two.
    """

    def __init__(
        self,
        source: Tensor,
        driving: Tensor,
        flow: Tensor,
        reliable: Tensor,
        base: tuple[int, int],
        weights: Weights | None = None,
    ) -> None:
        self.source, self.driving = source, driving
        self.weights = weights or Weights()
        self.source_features = [local_contrast(image) for image in pyramid(source, base)]
        self.driving_features = [local_contrast(image) for image in pyramid(driving, base)]
        pooled, self.teacher_share = pool_flow(flow, reliable, base)
        size = pooled.new_tensor(source.shape[:1:-1])  # (W, H)
        self.teacher = pooled * size[:, None, None] / 2
        self.neighbour_weights = edge_weights(functional.adaptive_avg_pool2d(driving, base))

    def terms(self, motion: MixtureMotion, threshold: float) -> dict[str, Tensor]:
        """Every term of the energy, unweighted, as scalars.

        features: Eq. 6 at every level, |M F(phi_source) - phi_driving| (Huber) with zero-mean features, so that
            M = 0 explains nothing of the detail at a pixel and costs exactly that detail. This keeps M from
            shrinking.
        photometric: Eq. 4 at full resolution, |(source warped by F - driving) M|.
        teacher: robust (Charbonnier) distance to the optical flow where that is reliable.
        smooth: differences of neighbouring logits, except across edges of the driving frame.
        area: the mean share of the mixture that moves, so that everything that can be still is still.
        confidence: -log M, so that pixels are confident unless another term disagrees.
        """
        field, confidence = motion.field(threshold), motion.confidence()
        warped = ops.pyramid_warp(self.source_features, field, confidence, padding_mode="border")
        features = [
            functional.smooth_l1_loss(ours, theirs, beta=NOISE)
            for ours, theirs in zip(warped, self.driving_features, strict=True)
        ]
        size = (self.source.shape[2], self.source.shape[3])
        distance = (field_to_flow(field, size) - self.teacher).square().sum(1, keepdim=True)
        return {
            "features": torch.stack(features).mean(),
            "photometric": ops.masked_backwarp_loss(self.source, self.driving, full_flow(field, size), confidence),
            "teacher": (self.teacher_share * (distance + 0.01).sqrt()).mean(),
            "smooth": self._roughness(motion.logits),
            "area": 1 - motion.logits.softmax(dim=1)[:, 0].mean(),
            "confidence": functional.softplus(-motion.confidence_logits).mean(),
        }

    def __call__(self, motion: MixtureMotion, threshold: float) -> Tensor:
        """The weighted sum of the terms."""
        terms = self.terms(motion, threshold)
        return torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()

    def _roughness(self, logits: Tensor) -> Tensor:
        down, right = self.neighbour_weights
        vertical = (logits[:, :, 1:] - logits[:, :, :-1]).square() * down
        horizontal = (logits[..., 1:] - logits[..., :-1]).square() * right
        return vertical.mean() + horizontal.mean()


def pyramid(image: Tensor, base: tuple[int, int]) -> list[Tensor]:
    """(1, C, H, W) repeatedly averaged down by 2 to the base size; the base level comes first."""
    levels = [image]
    while levels[0].shape[-2] > base[0]:
        levels.insert(0, functional.avg_pool2d(levels[0], 2))
    return levels


def local_contrast(image: Tensor, radius: int = 8) -> Tensor:
    """The image (1, C, H, W) minus its mean over a window of 2 radius + 1 pixels: detail without brightness."""
    window = 2 * radius + 1
    return image - functional.avg_pool2d(image, window, 1, radius, count_include_pad=False)


def edge_weights(image: Tensor, scale: float = 0.05) -> tuple[Tensor, Tensor]:
    """How strongly each pixel of (1, C, h, w) is coupled to the one below and to the one on its right, in (0, 1]."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean(1, keepdim=True)
    right = (image[..., 1:] - image[..., :-1]).abs().mean(1, keepdim=True)
    return (-down / scale).exp(), (-right / scale).exp()
