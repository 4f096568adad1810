"""Dense optical flow by OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from internet._optional import require

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
    _check("first", first)
    _check("second", second)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second must have the same shape; got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    estimator = _estimator(preset)
    flows = [
        estimator.calc(grey_first, grey_second, None)
        for grey_first, grey_second in zip(_grey(first), _grey(second), strict=True)
    ]
    shape = (len(flows), *first.shape[-2:], 2)
    stacked = torch.from_numpy(np.stack(flows) if flows else np.zeros(shape, np.float32))
    return stacked.permute(0, 3, 1, 2).contiguous().to(first.device)


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


def _check(name: str, image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not image.is_floating_point():
        raise ValueError(
            f"{name} must be a floating (B, 3, H, W) or (B, 1, H, W) image; got {image.dtype} {tuple(image.shape)}"
        )
    if min(image.shape[-2:]) < 16:
        raise ValueError(f"{name} must be at least 16 pixels high and wide; got {tuple(image.shape[-2:])}")


def _grey(image: Tensor) -> list[np.ndarray]:
    """(B, C, H, W) in [0, 1] -> B contiguous uint8 (H, W) images (Rec. 601 luma), which is what DIS takes."""
    image = image.detach().float().cpu()
    if image.shape[1] == 3:
        weights = image.new_tensor([0.299, 0.587, 0.114])
        image = (image * weights[:, None, None]).sum(1, keepdim=True)
    levels = image[:, 0].clamp(0, 1).mul(255).round().to(torch.uint8)
    return [np.ascontiguousarray(level.numpy()) for level in levels]
