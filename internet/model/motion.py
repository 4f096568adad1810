"""Stage I, second half: a dense motion field and its confidence (Eq. 5)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from internet import ops
from internet.model.anchors import Anchors
from internet.model.blocks import GroupNorm, Head, fused_heads
from internet.model.unet import Normalisation, UNet

#: The confidence starts at sigmoid(2) = 0.88: Eq. 4 pulls it down, so it must not start low.
CONFIDENCE_BIAS = 2.0


class Motion(NamedTuple):
    """Where the pixels of a driving frame come from in the source, at the base size (h, w).

    field: F^0, (B, h, w, 2): where each pixel of the driving frame lies in the source, in [-1, 1].
    confidence: M^0, (B, 1, h, w) in (0, 1).
    logits: (B, K+1, h, w) of the mixture weights, which anchor a pixel moves with; channel 0: the still background.
    """

    field: Tensor
    confidence: Tensor
    logits: Tensor


class MotionEstimator(nn.Module):
    """Source, warped by each anchor in turn -> U-Net -> mixture logits and confidence -> Eq. 5.

    Mixture and confidence come from the same last feature map, each by a convolution (the two are computed as one),
    as in Section 3.2 of the paper. Parameter names are first-order-motion's, whose occlusion map takes the place of the
    confidence.

    Args:
        anchors: K.
        down: downsamples the source frame.
        width, depth, widest: of the U-Net.
        channels: of the frame.
        confidence: whether there is a confidence; without it, it is 1 everywhere.
        variance: of the anchors' Gaussians.
        threshold: Eq. 5's soft threshold.
        normalisation: of the U-Net.
        align_corners: the convention by which the source is sampled.
        grid_align_corners: that of the pixels' own coordinates. With True here and False there, this is
            first-order-motion's mix.
    """

    def __init__(
        self,
        anchors: int,
        down: nn.Module,
        width: int,
        depth: int,
        widest: int,
        *,
        channels: int = 3,
        confidence: bool = True,
        variance: float = 0.01,
        threshold: float = 0.0,
        normalisation: Normalisation = GroupNorm,
        align_corners: bool = False,
        grid_align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.down = down
        self.hourglass = UNet((anchors + 1) * (1 + channels), width, depth, widest, normalisation)
        self.mask = Head(self.hourglass.out_channels, anchors + 1, 7, padding=3)
        self.occlusion = Head(self.hourglass.out_channels, 1, 7, padding=3) if confidence else None
        if self.occlusion is not None:
            nn.init.constant_(self.occlusion.bias, CONFIDENCE_BIAS)  # type: ignore[arg-type]
        self.variance, self.threshold = variance, threshold
        self.align_corners, self.grid_align_corners = align_corners, grid_align_corners

    def forward(self, source: Tensor, source_anchors: Anchors, driving_anchors: Anchors) -> Motion:
        """Source frame (B, C, H, W) in [0, 1] and the anchors of both frames -> motion."""
        anchors = (source_anchors.kp, driving_anchors.kp, source_anchors.jac, driving_anchors.jac)
        seen = ops.anchor_features(
            self.down(source),
            *anchors,
            variance=self.variance,
            align_corners=self.align_corners,
            grid_align_corners=self.grid_align_corners,
        )
        logits, confidence = self._heads(self.hourglass(seen))
        field = ops.affine_mixture(logits, *anchors, threshold=self.threshold, align_corners=self.grid_align_corners)
        return Motion(field, confidence, logits)

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The mixture's logits and the confidence."""
        if self.occlusion is None:
            logits = self.mask(features)
            return logits, torch.ones_like(logits[:, :1])
        logits, confidence = fused_heads(features, self.mask, self.occlusion)
        return logits, confidence.sigmoid()
