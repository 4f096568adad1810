"""The operators in Triton, for versions of torch and GPUs that the compiled library does not support.

There is one module per operator, named as in :mod:`internet.ops`. The other modules hold ``@triton.jit`` functions that
several operators share, with the same formulas as ``csrc/math``. The folder is next to ``csrc`` because it is the same
layer, and is installed as ``internet.kernels``. Importing it registers ``torch.ops.internet_triton.*``.
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
