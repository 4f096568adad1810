"""Images on disk, as arrays and as tensors.

An *array* image is uint8, (H, W, 3), RGB. A *tensor* image is float32, (1, 3, H, W), in [0, 1].
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet.utils.optional import require

Colour = tuple[int, int, int]
"""RGB levels, 0 to 255."""

WHITE: Colour = (255, 255, 255)

#: What red, green and blue weigh in the luma of ITU-R BT.709.
LUMA = (0.2125, 0.7154, 0.0721)


class MediaError(ValueError):
    """A picture, a video or a list of them is missing, unreadable, damaged, or has too few frames."""


def check_file(path: str | os.PathLike[str], kind: str) -> Path:
    """Return ``path`` as a :class:`~pathlib.Path`, or raise :class:`MediaError` if it is not a readable file."""
    path = Path(path)
    if not is_there(path):
        raise MediaError(f"the {kind} '{path}' does not exist")
    if path.is_dir():
        raise MediaError(f"'{path}' is a folder, not a {kind}")
    if not path.is_file():  # opening a pipe would block, and it can be read only once
        raise MediaError(f"'{path}' is not a regular file; a {kind} must be one")
    if not os.access(path, os.R_OK):
        raise MediaError(f"the {kind} '{path}' may not be read (permission denied)")
    return path


def is_there(path: Path) -> bool:
    """``path.exists()``, but False for impossible names: too long, or with a zero byte."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file's first bytes are those of a picture that OpenCV reads; its name does not matter."""
    cv2 = require("cv2", "reading a picture")
    with Path(path).open("rb") as file:
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:  # OpenCV accepts only names that are valid UTF-8
            path = f"/dev/fd/{file.fileno()}"
        try:
            return bool(file.read(1)) and bool(cv2.haveImageReader(os.fspath(path)))
        except cv2.error:
            return False


def read_image(path: str | os.PathLike[str], background: Colour = WHITE) -> np.ndarray:
    """Read any picture that OpenCV knows (PNG, JPEG, WebP, ...) as a viewer shows it: uint8 (H, W, 3) RGB.

    It is oriented by its EXIF tag, grey is repeated over the channels, and transparent pixels show `background`, in RGB
    levels. Raises :class:`MediaError`.
    """
    cv2 = require("cv2", "reading a picture")
    path = check_file(path, "picture")
    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
        alpha = _alpha(cv2, encoded) if image is not None else None
    except cv2.error as error:
        raise MediaError(f"the picture '{path}' cannot be decoded: {_reason(error)}") from error
    except OSError as error:
        raise MediaError(f"the picture '{path}' cannot be read: {error.strerror}") from error
    if image is None:
        raise MediaError(f"'{path}' is not a picture that can be decoded")
    if alpha is None:
        return image
    if _is_tiff(encoded):  # libtiff has already multiplied the colours by the opacity
        image = (image / np.maximum(alpha[..., None] / 255, 1 / 255)).clip(0, 255).round().astype(np.uint8)
    return blend(np.dstack([image, alpha]), background)


def blend(image: np.ndarray, background: Colour) -> np.ndarray:
    """Blend uint8 (H, W, 4) RGBA over one colour -> uint8 (H, W, 3), rounded."""
    opacity = image[..., 3:].astype(np.uint16)
    mixed = image[..., :3] * opacity + np.asarray(background, np.uint16) * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)


def _alpha(cv2: Any, encoded: np.ndarray) -> np.ndarray | None:
    """The opacity of a picture, uint8 (H, W), turned as its colours are; None if it has none."""
    if not _may_be_transparent(encoded[:2048].tobytes()):
        return None
    stored = cv2.imdecode(
        encoded, cv2.IMREAD_UNCHANGED
    )  # the only mode that keeps the opacity; it ignores the orientation
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4:
        return None
    whole = np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1.0
    alpha = np.clip(stored[..., 3] / whole * 255 + 0.5, 0, 255).astype(np.uint8)
    if _is_tiff(encoded):  # the one format that is oriented even in this mode
        return alpha
    _, kinds, values = cv2.imdecodeWithMetadata(encoded, flags=cv2.IMREAD_UNCHANGED)
    exif = [(kind, value) for kind, value in zip(kinds, values, strict=True) if kind == cv2.IMAGE_METADATA_EXIF]
    if not exif:
        return alpha
    again = cv2.imencodeWithMetadata(".png", alpha, *map(list, zip(*exif, strict=True)))[1]
    return cv2.imdecode(again, cv2.IMREAD_GRAYSCALE)  # OpenCV turns it


def _may_be_transparent(header: bytes) -> bool:
    """False if the header shows that the picture is opaque: JPEG, or PNG of a colour type without opacity."""
    if header.startswith(b"\x89PNG"):
        return header[25:26] in (b"\x04", b"\x06") or b"tRNS" in header  # an alpha channel, or a transparent colour
    return not header.startswith(b"\xff\xd8")


def _is_tiff(encoded: np.ndarray) -> bool:
    return encoded[:4].tobytes() in (b"II*\0", b"MM\0*")


def _reason(error: Exception) -> str:
    """OpenCV's message without the place in its source code."""
    text = str(error)
    if "CV_IO_MAX_IMAGE" in text:
        return "it is larger than OpenCV reads"
    return text.rpartition("error: ")[2].split(" in function")[0].strip().replace("\n", " ")


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H, W) in [0, 1]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 (H, W, 3) image, got {image.dtype} {image.shape}")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous().float() / 255


def as_float(value: Tensor) -> Tensor:
    """To float32, on the same device; uint8 pictures are divided by 255."""
    return value.float() / 255 if value.dtype == torch.uint8 else value.float()


def to_channels(image: Tensor, channels: int) -> Tensor:
    """RGB (B, 3, H, W) -> (B, channels, H, W): itself, or its luma (BT.709, as scikit-image's ``rgb2gray``).

    ValueError for another number of channels than 3 and 1.
    """
    if channels not in (1, 3):
        raise ValueError(f"the model takes frames of {channels} channels, a picture has 3 or, as luma, 1")
    return image if channels == 3 else (image * image.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def to_array(image: Tensor) -> np.ndarray:
    """float (1, 3, H, W) or (3, H, W) -> uint8 (H, W, 3): clipped to [0, 1], then rounded. One channel is grey."""
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"expected a (1, 3, H, W) or (3, H, W) image, or one of one channel, got {tuple(image.shape)}")
    scaled = image.expand(3, -1, -1).detach().float().clamp(0, 1).mul(255).round()
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
