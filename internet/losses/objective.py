"""Eqs. 1 and 7: the weighted sum of all losses."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from internet.losses.adversarial import FORMS, discriminator_loss, feature_matching_loss, generator_loss
from internet.losses.distance import mean_absolute_difference
from internet.losses.equivariance import equivariance_losses
from internet.losses.flow_guidance import flow_guidance_loss
from internet.losses.perceptual import perceptual_loss
from internet.losses.style import style_loss
from internet.losses.supervision import anchor_losses, background_loss, confidence_loss, region_loss
from internet.losses.temporal import REGULARIZATIONS, temporal_loss
from internet.losses.thin_plate_spline import ThinPlateSpline
from internet.model.anchors import Anchors
from internet.model.discriminator import DiscriminatorOutput
from internet.model.transfer import Result
from internet.utils.settings import Section, setting

#: The terms that depend on the generated frame.
FRAME_TERMS = ("adversarial", "perceptual", "style", "temporal", "cross_identity", "feature_matching", "pixel")


@dataclass(frozen=True)
class Weights(Section):
    """The λ of Eqs. 1 and 7, and the weights of further terms. The paper states no values: these are ours.

    A term of weight 0 is not computed. Eq. 10 is tiny, hence the large weight of the style.
    """

    adversarial: float = setting(1.0, "of Eq. 8, 1 in Eq. 7", least=0)
    perceptual: float = setting(10.0, "λ_per of Eq. 7", least=0)
    style: float = setting(1e5, "λ_sty of Eq. 7", least=0)
    temporal: float = setting(10.0, "λ_reg of Eq. 1", least=0)
    equivariance: float = setting(10.0, "of the anchors, as in first-order-motion", least=0)
    equivariance_jacobian: float = setting(10.0, "of the anchors' Jacobians, likewise", least=0)
    feature_matching: float = setting(0.0, "pix2pixHD's term, not the paper's", least=0)
    pixel: float = setting(0.0, "the mean absolute difference of the frames, not the paper's", least=0)
    guidance: float = setting(0.0, "the motion field against optical flow, not the paper's", least=0)
    anchors: float = setting(0.0, "the anchors against the parts of the body, where known, not the paper's", least=0)
    anchors_jacobian: float = setting(0.0, "their Jacobians against the parts' rotations, likewise", least=0)
    regions: float = setting(0.0, "the mixture's weights against the parts that are seen, likewise", least=0)
    background: float = setting(0.0, "the background's motion against the true one, likewise", least=0)
    confidence: float = setting(0.0, "M against what the source shows as well, not the paper's", least=0)
    cross_identity: float = setting(0.0, "the temporal loss across identities, not the paper's", least=0)

    @property
    def of_motion(self) -> "Weights":
        """The weights of the terms that do not depend on the generated frame: they train stage I alone."""
        return dataclasses.replace(self, **dict.fromkeys(FRAME_TERMS, 0.0))


@dataclass(frozen=True)
class Batch:
    """The targets of the losses. All frames are (B, 3, H, W) in [0, 1], flows (B, 2, H, W) in pixels.

    target: I_t, which is the driving frame too. previous: I_{t-1}, for the temporal loss. flow: from I_{t-1} to I_t.
    flow_backward: from I_t to I_{t-1}; only the extrinsic scheme needs it.
    motion: the flow from I_t to the source, if known or estimated.
    motion_reliable: (B, 1, H, W), 1 where that flow is correct; None means everywhere.
    motion_visible: (B, 1, H, W), 1 where what I_t shows is visible in the source too.
    source_anchors, current_anchors: if the parts of the body are known, their middles, (B, P, 2), in the source and
        in I_t.
    source_turns, current_turns: the rotations of these parts, (B, P, 2, 2).
    current_parts: which part I_t shows at each pixel, (B, 1, H, W); 0 is the background.
    """

    target: Tensor
    previous: Tensor | None = None
    flow: Tensor | None = None
    flow_backward: Tensor | None = None
    motion: Tensor | None = None
    motion_visible: Tensor | None = None
    source_anchors: Tensor | None = None
    current_anchors: Tensor | None = None
    source_turns: Tensor | None = None
    current_turns: Tensor | None = None
    current_parts: Tensor | None = None
    motion_reliable: Tensor | None = None


#: For messages: what some terms need.
_PARTS = "the parts of the body, which drawn figures have and data.pose finds"


class Objective(nn.Module):
    """What the generator side and the discriminators minimise.

    Args:
        features: frames -> the features of each layer in the sums of Eqs. 9-11 (:mod:`internet.losses.features`).
        regularization: the temporal scheme, of :data:`internet.losses.temporal.REGULARIZATIONS`.
        adversarial: the form of Eq. 8, of :data:`internet.losses.adversarial.FORMS`.
        weights: the λ.
        temporal_scales: sizes of the frame at which the temporal loss is taken; 1 is the paper's.
    """

    def __init__(
        self,
        features: Callable[[Tensor], list[Tensor]],
        *,
        regularization: str = "intrinsic",
        adversarial: str = "log",
        weights: Weights | None = None,
        temporal_scales: int = 1,
    ) -> None:
        super().__init__()
        if regularization not in REGULARIZATIONS:
            raise ValueError(f"regularization is {regularization!r}, expected one of {', '.join(REGULARIZATIONS)}")
        if adversarial not in FORMS:
            raise ValueError(f"adversarial is {adversarial!r}, expected one of {', '.join(FORMS)}")
        self.features, self.regularization, self.form = features, regularization, adversarial
        self.weights = weights or Weights()
        self.temporal_scales = temporal_scales

    def forward(
        self,
        result: Result,
        batch: Batch,
        detector: Callable[[Tensor], Anchors],
        discriminator: Callable[[Tensor], DiscriminatorOutput],
        *,
        weights: Weights | None = None,
        spline: ThinPlateSpline | None = None,
    ) -> dict[str, Tensor]:
        """Every term of the generator side whose weight is not 0, unweighted, by its name in :class:`Weights`.

        The discriminator is only evaluated; its parameters should not require gradients here.

        Args:
            weights: of this step, if they change during training; they replace the objective's own.
            spline: the deformation of each target, for the equivariance; drawn at random if there is none.
        """
        used = weights or self.weights
        terms = self._frame_terms(result.frame, batch.target, discriminator, used)
        if self.regularization != "none" and used.temporal:
            if batch.flow is None or batch.previous is None:
                raise ValueError("the temporal loss needs previous, I_{t-1}, and flow, the optical flow from it to I_t")
            terms["temporal"] = temporal_loss(
                result.frame,
                batch.previous,
                batch.flow,
                regularization=self.regularization,
                confidence=result.motion.confidence,
                flow_backward=batch.flow_backward,
                scales=self.temporal_scales,
            )
        if used.guidance:
            if batch.motion is None:
                raise ValueError("flow guidance needs motion, the optical flow from I_t to the source")
            terms["guidance"] = flow_guidance_loss(result.motion.field, batch.motion, batch.motion_reliable)
        if used.regions:
            if batch.current_parts is None:
                raise ValueError(f"the loss of the regions needs {_PARTS}")
            terms["regions"] = region_loss(result.motion.logits, batch.current_parts)
        if used.background:
            terms["background"] = _background_term(result, batch)
        if used.confidence:
            if batch.motion_visible is None:
                raise ValueError("the loss of the confidence needs motion_visible: what the source shows as well")
            terms["confidence"] = confidence_loss(result.motion.confidence, batch.motion_visible)
        if used.anchors or used.anchors_jacobian:
            terms |= _anchor_terms(result, batch)
        if used.equivariance or used.equivariance_jacobian:
            spline = spline or ThinPlateSpline.random(len(batch.target), device=batch.target.device)
            points, jacobians = equivariance_losses(detector, batch.target, result.driving_anchors, spline)
            terms |= {"equivariance": points, "equivariance_jacobian": jacobians}
        return {name: term for name, term in terms.items() if getattr(used, name)}

    def total(self, terms: dict[str, Tensor], weights: Weights | None = None) -> Tensor:
        """The weighted sum of terms, a scalar."""
        used = dataclasses.asdict(weights or self.weights)
        return torch.stack([used[name] * term for name, term in terms.items()]).sum()

    def discriminator_total(self, fake: DiscriminatorOutput, real: DiscriminatorOutput) -> Tensor:
        """What the discriminators minimise (Eq. 8), from their outputs for the detached O_t and for I_t."""
        return discriminator_loss(fake, real, self.form)

    def _frame_terms(
        self, output: Tensor, target: Tensor, discriminator: Callable[[Tensor], DiscriminatorOutput], weights: Weights
    ) -> dict[str, Tensor]:
        """L_frame of Eq. 7, and feature matching."""
        terms = {}
        if weights.pixel:
            terms["pixel"] = mean_absolute_difference(output, target)
        if weights.adversarial or weights.feature_matching:
            fake = discriminator(output)
            terms["adversarial"] = generator_loss(fake, self.form)
            if weights.feature_matching:
                with torch.no_grad():
                    real = discriminator(target)
                terms["feature_matching"] = feature_matching_loss(fake, real)
        if weights.perceptual or weights.style:
            with torch.no_grad():
                theirs = self.features(target)
            ours = self.features(output)
            terms["perceptual"] = perceptual_loss(ours, theirs)
            terms["style"] = style_loss(ours, theirs)
        return terms


def _anchor_terms(result: Result, batch: Batch) -> dict[str, Tensor]:
    """The anchors of both frames against the true parts."""
    truth = (batch.source_anchors, batch.source_turns), (batch.current_anchors, batch.current_turns)
    found = result.source_anchors, result.driving_anchors
    losses = []
    for anchors, (points, turns) in zip(found, truth, strict=True):
        if points is None or turns is None:
            raise ValueError(f"the loss of the anchors needs {_PARTS}")
        losses.append(anchor_losses(anchors, points, turns))
    (near, turned), (driving_near, driving_turned) = losses
    return {"anchors": (near + driving_near) / 2, "anchors_jacobian": (turned + driving_turned) / 2}


def _background_term(result: Result, batch: Batch) -> Tensor:
    """The background's motion against the true one."""
    if result.motion.background is None:
        raise ValueError("the loss of the background needs a model whose background is 'affine'")
    if batch.motion is None or batch.current_parts is None:
        raise ValueError(f"the loss of the background needs motion, the flow from I_t to the source, and {_PARTS}")
    return background_loss(result.motion.background, batch.motion, batch.current_parts)
