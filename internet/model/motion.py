"""Stage I, second half: a dense motion field and its confidence (Eq. 5)."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.geometry import affine_points, identity_field, inverse
from internet.model.anchors import Anchors
from internet.model.blocks import GroupNorm, Head, fused_heads
from internet.model.unet import Normalisation, UNet

#: The confidence starts at sigmoid(2) = 0.88: Eq. 4 decreases it, so it must not start low.
CONFIDENCE_BIAS = 2.0

#: Factor for upsampled logits: between a limb and the background they are almost equal, and this sharpens the choice.
SHARPENING = 4.0


class Motion(NamedTuple):
    """Where the pixels of a driving frame are found in the source, at the base size (h, w).

    field: F^0, (B, h, w, 2): where each pixel of the driving frame lies in the source, in [-1, 1].
    confidence: M^0, (B, 1, h, w) in (0, 1).
    logits: (B, K+1, h, w) of the mixture weights, that is, of the anchor that a pixel moves with; channel 0: the
        background.
    fine_field: (B, H, W, 2), F at the frame's size, for a generator that blends (:class:`Generator`); or None.
    background: (B, 3, 3), the background's motion, from homogeneous driving coordinates to the source's; None if still.
    """

    field: Tensor
    confidence: Tensor
    logits: Tensor
    fine_field: Tensor | None = None
    background: Tensor | None = None


class MotionEstimator(nn.Module):
    """Source, warped by each anchor in turn -> U-Net -> mixture logits and confidence -> Eq. 5.

    Mixture and confidence are computed from the same last feature map, each by a convolution (evaluated as one), as in
    Section 3.2 of the paper. Parameter names are first-order-motion's, where the confidence is the occlusion map.

    Args:
        anchors: K.
        down: downsamples the source frame.
        width, depth, widest: of the U-Net.
        channels: of the frame.
        confidence: whether to estimate a confidence; otherwise it is 1 everywhere.
        variance: of the anchors' Gaussians.
        threshold: Eq. 5's soft threshold.
        fine: compose the field at the frame's size as well.
        normalisation: of the U-Net.
        align_corners: the convention for sampling the source.
        grid_align_corners: that for the pixels' own coordinates. First-order-motion has True here and False there.
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
        fine: bool = False,
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
        self.variance, self.threshold, self.fine = variance, threshold, fine
        self.align_corners, self.grid_align_corners = align_corners, grid_align_corners

    def forward(
        self, source: Tensor, source_anchors: Anchors, driving_anchors: Anchors, background: Tensor | None = None
    ) -> Motion:
        """Source frame (B, C, H, W) in [0, 1], the anchors of both frames, and how the background moves -> motion."""
        small, seen_anchors = self.down(source), source_anchors
        if background is not None:
            small, seen_anchors = stabilised(small, source_anchors, background)
        seen = ops.anchor_features(
            small,
            *_pairs(seen_anchors, driving_anchors),
            variance=self.variance,
            align_corners=self.align_corners,
            grid_align_corners=self.grid_align_corners,
        )
        logits, confidence = self._heads(self.hourglass(seen))
        compose = partial(
            ops.affine_mixture, background=background, threshold=self.threshold, align_corners=self.grid_align_corners
        )
        anchors = _pairs(source_anchors, driving_anchors)
        fine_field = compose(enlarged(logits, source), *anchors) if self.fine else None
        return Motion(compose(logits, *anchors), confidence, logits, fine_field, background)  # Eq. 5

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The mixture's logits and the confidence."""
        if self.occlusion is None:
            logits = self.mask(features)
            return logits, torch.ones_like(logits[:, :1])
        logits, confidence = fused_heads(features, self.mask, self.occlusion)
        return logits, confidence.sigmoid()


def stabilised(source: Tensor, anchors: Anchors, background: Tensor) -> tuple[Tensor, Anchors]:
    """The source (B, C, h, w) and its anchors as they were, had the driving camera taken them.

    With z' = T_0^-1(z) in place of the source's coordinates z, the background is still, and the networks see where the
    source's figure would stand in the driving frame: that is where M has to fall.
    """
    linear, shift = background[:, :2, :2], background[:, :2, 2]
    field = identity_field(source.shape[2], source.shape[3], source.device)
    there = ops.confidence_warp(source, affine_points(background[:, None], field))
    back = inverse(linear)[:, None]
    kp = (back @ (anchors.kp - shift[:, None])[..., None])[..., 0]
    return there, Anchors(kp, back @ anchors.jac)


def _pairs(source: Anchors, driving: Anchors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The anchors of both frames, as the operators take them."""
    return source.kp, driving.kp, source.jac, driving.jac


def enlarged(logits: Tensor, frame: Tensor) -> Tensor:
    """Logits at the size of a frame.

    A field composed from them changes within one pixel where a limb meets the background. A field that is itself
    upsampled has positions in between there, and a limb of a few pixels would consist of nothing else.
    """
    return functional.interpolate(SHARPENING * logits, frame.shape[2:], mode="bilinear")
