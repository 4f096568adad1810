"""The losses of the paper (Eqs. 2-4 and 7-11), the equivariance of anchors, and their sum."""

from internet.losses.adversarial import discriminator_loss, feature_matching_loss, generator_loss
from internet.losses.equivariance import equivariance_losses
from internet.losses.features import make_features
from internet.losses.flow_guidance import flow_guidance_loss
from internet.losses.objective import Batch, Objective, Weights
from internet.losses.perceptual import perceptual_loss
from internet.losses.style import gram, style_loss
from internet.losses.supervision import anchor_losses, background_loss, confidence_loss, region_loss
from internet.losses.temporal import REGULARIZATIONS, temporal_loss
from internet.losses.thin_plate_spline import ThinPlateSpline

__all__ = [
    "REGULARIZATIONS",
    "Batch",
    "Objective",
    "ThinPlateSpline",
    "Weights",
    "anchor_losses",
    "background_loss",
    "confidence_loss",
    "discriminator_loss",
    "equivariance_losses",
    "feature_matching_loss",
    "flow_guidance_loss",
    "generator_loss",
    "gram",
    "make_features",
    "perceptual_loss",
    "region_loss",
    "style_loss",
    "temporal_loss",
]
