"""Dense optical flow by OpenCV's DeepFlow (Weinzaepfel et al., "DeepFlow: Large displacement optical flow", 2013).

About ten times slower than DIS and several times more accurate: for targets that are computed once and cached.
"""

from typing import Any

from torch import Tensor

from internet.flow.opencv import run_opencv
from internet.utils.optional import MissingExtraError, require


def deepflow(first: Tensor, second: Tensor) -> Tensor:
    """Optical flow from ``first`` to ``second``: first(x, y) is seen again at second(x + u, y + v).

    Args:
        first, second: images (B, 3, H, W) or (B, 1, H, W), floating, in [0, 1], both sides at least 16.

    Returns:
        float32 (B, 2, H, W) on the device of ``first``, in pixels, channel 0 is x. No gradient.

    Raises:
        MissingExtraError: OpenCV is not installed, or is without its contributed modules.
        ValueError: a wrong shape, or images of different sizes.
    """
    return run_opencv(_estimator, first, second)


def _estimator() -> Any:
    cv2 = require("cv2", "optical flow (DeepFlow)")
    if not hasattr(cv2, "optflow"):
        raise MissingExtraError(
            "optical flow (DeepFlow) needs OpenCV's contributed modules, and the OpenCV installed here has none; "
            "install them with: pip uninstall opencv-python-headless; pip install 'internet-ops[flow]'"
        )
    return cv2.optflow.createOptFlow_DeepFlow()
