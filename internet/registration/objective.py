"""What a good motion is: the energy that the fit descends, a sum of named terms."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from internet import ops
from internet.geometry import field_to_flow, full_flow
from internet.registration.initialization import pool_flow
from internet.registration.motion import MixtureMotion

#: Below this difference, of 1, the penalty of the features is quadratic: the noise of a camera.
NOISE = 2 / 255


@dataclass(frozen=True)
class Weights:
    """How much each term of the energy counts (see :meth:`Objective.terms`)."""

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
        reliable: (1, 1, H, W) of 0/1, where the teacher is believed.
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
            M = 0 says "nothing of this detail is explained" and costs exactly that detail. This is
            what keeps M from shrinking.
        photometric: Eq. 4 at full resolution, |(source moved by F - driving) M|.
        teacher: distance to the optical flow where that is reliable, robust (Charbonnier).
        smooth: neighbouring logits agree, except across edges of the driving frame.
        area: what little could as well be still, is: the mean share of the mixture that moves.
        confidence: -log M; a pixel that nothing speaks against is trusted.
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
    """(1, C, H, W) averaged down by 2 again and again to the base size; the base level comes first."""
    levels = [image]
    while levels[0].shape[-2] > base[0]:
        levels.insert(0, functional.avg_pool2d(levels[0], 2))
    return levels


def local_contrast(image: Tensor, radius: int = 8) -> Tensor:
    """The image (1, C, H, W) less its mean over a window of 2 radius + 1 pixels: detail, brightness left out."""
    window = 2 * radius + 1
    return image - functional.avg_pool2d(image, window, 1, radius, count_include_pad=False)


def edge_weights(image: Tensor, scale: float = 0.05) -> tuple[Tensor, Tensor]:
    """How strongly each pixel of (1, C, h, w) is tied to the one below and to the one on its right, in (0, 1]."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean(1, keepdim=True)
    right = (image[..., 1:] - image[..., :-1]).abs().mean(1, keepdim=True)
    return (-down / scale).exp(), (-right / scale).exp()
