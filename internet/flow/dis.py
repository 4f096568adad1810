"""Dense optical flow by OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016)."""

from typing import Any

from torch import Tensor

from internet.flow.opencv import run_opencv
from internet.utils.optional import require

#: name -> (OpenCV's preset, the finest pyramid level: 0 is full resolution, or None for the preset's own)
PRESETS: dict[str, tuple[str, int | None]] = {
    "fast": ("FAST", None),
    "medium": ("MEDIUM", None),
    "fine": ("MEDIUM", 0),
}


def dis_flow(first: Tensor, second: Tensor, *, preset: str = "medium") -> Tensor:
    """Optical flow from ``first`` to ``second``: first(x, y) is seen again at second(x + u, y + v).

    Args:
        first, second: images (B, 3, H, W) or (B, 1, H, W), floating, in [0, 1], both sides at least 16.
        preset: "fast", "medium", or "fine" (medium, refined down to full resolution).

    Returns:
        float32 (B, 2, H, W) on the device of ``first``, in pixels, channel 0 is x. No gradient.

    Raises:
        MissingExtraError: OpenCV is not installed.
        ValueError: a wrong shape, images of different sizes, or an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return run_opencv(lambda: _estimator(preset), first, second)


def dis_flow_pair(first: Tensor, second: Tensor, *, preset: str = "medium") -> tuple[Tensor, Tensor]:
    """The flows first -> second and second -> first, which `internet.ops.flow_confidence` checks for agreement."""
    return dis_flow(first, second, preset=preset), dis_flow(second, first, preset=preset)


def _estimator(preset: str) -> Any:
    cv2 = require("cv2", "optical flow (DIS)")
    name, finest = PRESETS[preset]
    estimator = cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{name}"))
    if finest is not None:
        estimator.setFinestScale(finest)
    return estimator
