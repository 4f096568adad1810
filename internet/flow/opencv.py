"""Shared by OpenCV's optical flow estimators: conversion of images and flows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def run_opencv(make: Callable[[], Any], first: Tensor, second: Tensor) -> Tensor:
    """Run an estimator (a `cv2.DenseOpticalFlow`) on each pair of a batch, after checking the images.

    Returns:
        float32 (B, 2, H, W) on the device of ``first``, in pixels, channel 0 is x.
    """
    check_pair(first, second)
    estimator = make()
    flows = [estimator.calc(one, other, None) for one, other in zip(grey(first), grey(second), strict=True)]
    shape = (len(flows), *first.shape[-2:], 2)
    stacked = torch.from_numpy(np.stack(flows) if flows else np.zeros(shape, np.float32))
    return stacked.permute(0, 3, 1, 2).contiguous().to(first.device)


def check_pair(first: Tensor, second: Tensor) -> None:
    """Raise ValueError unless both are floating images (B, 3 or 1, H, W) of one shape, at least 16 by 16 pixels."""
    check_image("first", first)
    check_image("second", second)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second must have the same shape; got {tuple(first.shape)} and {tuple(second.shape)}"
        )


def check_image(name: str, image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not image.is_floating_point():
        raise ValueError(
            f"{name} must be a floating (B, 3, H, W) or (B, 1, H, W) image; got {image.dtype} {tuple(image.shape)}"
        )
    if min(image.shape[-2:]) < 16:
        raise ValueError(f"{name} must be at least 16 pixels high and wide; got {tuple(image.shape[-2:])}")


def grey(image: Tensor) -> list[np.ndarray]:
    """(B, C, H, W) in [0, 1] -> B contiguous uint8 (H, W) images (Rec. 601 luma), as OpenCV expects them."""
    image = image.detach().float().cpu()
    if image.shape[1] == 3:
        weights = image.new_tensor([0.299, 0.587, 0.114])
        image = (image * weights[:, None, None]).sum(1, keepdim=True)
    levels = image[:, 0].clamp(0, 1).mul(255).round().to(torch.uint8)
    return [np.ascontiguousarray(level.numpy()) for level in levels]
