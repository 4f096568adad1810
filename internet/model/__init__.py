"""INTERnet (arXiv 2012.06134): anchors, motion, generator, discriminators, on top of `internet.ops`."""

from internet.model.anchors import AnchorDetector, Anchors
from internet.model.checkpoint import load_model, save_model
from internet.model.config import PRESETS, INTERnetConfig
from internet.model.discriminator import Discriminator
from internet.model.first_order import FirstOrderConfig, FirstOrderMotion
from internet.model.generator import Generator
from internet.model.internet import INTERnet, make_discriminator
from internet.model.motion import Motion, MotionEstimator
from internet.model.transfer import MotionTransfer, Result

__all__ = [
    "PRESETS",
    "AnchorDetector",
    "Anchors",
    "Discriminator",
    "FirstOrderConfig",
    "FirstOrderMotion",
    "Generator",
    "INTERnet",
    "INTERnetConfig",
    "Motion",
    "MotionEstimator",
    "MotionTransfer",
    "Result",
    "load_model",
    "make_discriminator",
    "save_model",
]
