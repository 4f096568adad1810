"""The operators. Each is one module of this package; :mod:`internet.ops.reference` specifies them all.

Words, shapes, units, ``align_corners`` and what NaN means: docs/conventions.md, for all of them.
"""

import warnings

import torch

from internet.ops._requested import backend
from internet.ops._status import OPERATORS, Status, backends
from internet.ops.affine_mixture import affine_mixture
from internet.ops.anchor_features import anchor_features
from internet.ops.confidence_warp import confidence_warp
from internet.ops.flow_confidence import flow_confidence
from internet.ops.masked_backwarp_loss import masked_backwarp_loss
from internet.ops.output_pool import clear_output_pool
from internet.ops.pyramid_warp import pyramid_warp
from internet.ops.soft_argmax import soft_argmax
from internet.ops.upsample_motion import upsample_motion
from internet.ops.volume_warp import volume_warp

__all__ = [
    "OPERATORS",
    "Status",
    "affine_mixture",
    "anchor_features",
    "backend",
    "backends",
    "clear_output_pool",
    "confidence_warp",
    "flow_confidence",
    "masked_backwarp_loss",
    "pyramid_warp",
    "soft_argmax",
    "upsample_motion",
    "volume_warp",
]

# A trace is only valid for the sizes it was made with. torch warns about each of our shape checks, not of its own.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning, module=r"internet\.(ops|geometry)\b")
