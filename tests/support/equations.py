"""The equations in single numbers, for tests that loop over pixels."""

import math

import torch
from torch import Tensor


def pixel(j: int, size: int, align_corners: bool) -> float:
    """Normalised coordinate of pixel j."""
    if align_corners:
        return 2 * j / (size - 1) - 1 if size > 1 else 0.0
    return (2 * j + 1) / size - 1


def position(z: float, size: int, align_corners: bool) -> float:
    """Pixel position of a normalised coordinate."""
    return (z + 1) / 2 * (size - 1) if align_corners else ((z + 1) * size - 1) / 2


def look(image: Tensor, x: float, y: float, border: bool) -> float:
    """One channel (H, W) at the pixel position (x, y), bilinearly."""
    height, width = image.shape
    if border:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    value = 0.0
    for j in (math.floor(y), math.floor(y) + 1):
        for i in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < width and 0 <= j < height:
                value += (1 - abs(x - i)) * (1 - abs(y - j)) * image[j, i].item()
    return value


def local_motion(z: list[float], kp_s: Tensor, kp_d: Tensor, jac_s: Tensor | None, jac_d: Tensor | None) -> list[float]:
    """T_k(z), with the lower bound on the determinant."""
    dx, dy = z[0] - kp_d[0].item(), z[1] - kp_d[1].item()
    if jac_s is None or jac_d is None:
        return [kp_s[0].item() + dx, kp_s[1].item() + dy]
    (a, b), (c, d) = jac_d.tolist()
    det = a * d - b * c
    if abs(det) < 1e-6:
        det = -1e-6 if det < 0 else 1e-6
    vx, vy = (d * dx - b * dy) / det, (-c * dx + a * dy) / det
    (a, b), (c, d) = jac_s.tolist()
    return [kp_s[0].item() + a * vx + b * vy, kp_s[1].item() + c * vx + d * vy]


def pixels(*sizes: int) -> list[tuple[int, ...]]:
    return [tuple(index.tolist()) for index in torch.ones(sizes).nonzero()]
