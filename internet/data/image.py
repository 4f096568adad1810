"""Images on disk, as arrays and as tensors.

An *array* image is uint8, (H, W, 3), RGB. A *tensor* image is float32, (1, 3, H, W), in [0, 1].
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet.utils.files import atomic_write
from internet.utils.optional import require


class MediaError(ValueError):
    """A picture or a video is missing, unreadable, or has too few frames."""


def check_file(path: str | os.PathLike[str], kind: str) -> Path:
    """Return ``path`` as a :class:`~pathlib.Path`, or raise :class:`MediaError` if it is no readable file."""
    path = Path(path)
    if not path.exists():
        raise MediaError(f"the {kind} '{path}' does not exist")
    if path.is_dir():
        raise MediaError(f"'{path}' is a folder, not a {kind}")
    if not os.access(path, os.R_OK):
        raise MediaError(f"the {kind} '{path}' may not be read (permission denied)")
    return path


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read any picture OpenCV knows (PNG, JPEG, WebP, ...), upright, as uint8 (H, W, 3) RGB.

    Grey pictures are repeated over the channels, transparency is dropped. Raises :class:`MediaError`.
    """
    cv2 = require("cv2", "reading a picture")
    path = check_file(path, "picture")
    encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise MediaError(f"'{path}' is not a picture that can be decoded")
    return np.ascontiguousarray(image[..., ::-1])


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write a uint8 (H, W, 3) RGB array, in the format the file's suffix names, in one atomic step."""
    cv2 = require("cv2", "writing a picture")
    suffix = Path(path).suffix
    if not suffix or not cv2.haveImageWriter(f"x{suffix}"):
        raise ValueError(f"'{path}': no picture format has the suffix '{suffix}' (use .png or .jpg)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 (H, W, 3) image, got {image.dtype} {image.shape}")
    _, encoded = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]))
    atomic_write(path, encoded.tobytes())


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 (H, W, 3) image, got {image.dtype} {image.shape}")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous().float() / 255


def as_float(value: Tensor) -> Tensor:
    """Numbers as float32, where they are: of uint8, which pictures are, 255 becomes 1; True of a mask does, too."""
    return value.float() / 255 if value.dtype == torch.uint8 else value.float()


def to_array(image: Tensor) -> np.ndarray:
    """float (1, 3, H, W) or (3, H, W) -> uint8 (H, W, 3): clipped to [0, 1], then rounded."""
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected a (1, 3, H, W) or (3, H, W) image, got {tuple(image.shape)}")
    scaled = image.detach().float().clamp(0, 1).mul(255).round()
    return scaled.to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy()


def square(image: Tensor, size: int) -> Tensor:
    """Crop (1, 3, H, W) to its central square and resize it, antialiased, to (1, 3, size, size)."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[..., top : top + side, left : left + side]
    if side == size:
        return image.contiguous()
    return functional.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=side > size)
