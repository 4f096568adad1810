"""The operators in Triton: for torches and GPUs that no compiled library of this package serves.

One module per operator, by the names of :mod:`internet.ops`; beside them, modules of ``@triton.jit`` functions
that several share, which hold the same formulas as ``csrc/math``. The folder lies beside ``csrc`` because it is
the same layer, and is installed as ``internet.kernels``. Importing it registers ``torch.ops.internet_triton.*``.
"""

if __name__ == "kernels":
    raise ImportError(
        "this folder is installed as internet.kernels, and 'kernels' is the name of another package: install the "
        "source tree (pip install --no-build-isolation --editable .) and import internet.ops"
    )

from internet.kernels import (
    affine_mixture,
    anchor_features,
    confidence_warp,
    flow_confidence,
    masked_backwarp_loss,
    pyramid_warp,
    registry,
    soft_argmax,
    upsample_motion,
    volume_warp,
)

__all__ = [
    "affine_mixture",
    "anchor_features",
    "confidence_warp",
    "flow_confidence",
    "masked_backwarp_loss",
    "pyramid_warp",
    "registry",
    "soft_argmax",
    "upsample_motion",
    "volume_warp",
]
