"""Pictures of motion. All functions except the figures at the end take numpy arrays and return uint8 (H, W, 3) RGB.

Flow is (2, H, W) in pixels, channel 0 is x (to the right), channel 1 is y (down). Key points are (K, 2),
x first, in normalised coordinates with ``align_corners=False``: pixel j of W lies at (2j + 1) / W - 1.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from internet.utils.optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Successive hues are a golden section of the circle apart, so that any number of them is well spread.
_GOLDEN = 0.5 * (5**0.5 - 1)


def hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Hue in turns (any real), saturation and value in [0, 1], broadcast to (...) -> float (..., 3) in [0, 1]."""
    hue, saturation, value = np.broadcast_arrays(hue, saturation, value)
    sector = (hue[..., None] * 6 + np.array([0.0, 4.0, 2.0])) % 6
    pure = np.clip(np.abs(sector - 3) - 1, 0, 1)
    return value[..., None] * (1 + saturation[..., None] * (pure - 1))


def flow_colours(flow: np.ndarray, maximum: float | None = None) -> np.ndarray:
    """Optical flow (2, H, W) in the colours of a wheel: direction as hue, length as saturation, no motion as white.

    ``maximum`` is the length in pixels at full saturation (default: the flow's 99.5th percentile);
    longer vectors are darkened, vectors that are not finite are black.
    """
    flow = np.asarray(flow, np.float64)
    finite = np.isfinite(flow).all(0)
    u, v = np.where(finite, flow, 0.0)
    length = np.hypot(u, v)
    if maximum is None:
        maximum = float(np.quantile(length, 0.995)) if length.size else 1.0
    relative = length / max(maximum, 1e-6)
    colour = hsv_to_rgb(np.arctan2(v, u) / (2 * np.pi), np.minimum(relative, 1), np.where(relative > 1, 0.75, 1.0))
    return _bytes(colour * finite[..., None])


def colour_wheel(size: int) -> np.ndarray:
    """The key of :func:`flow_colours`: a disc (size, size, 3) whose point at (x, y) has the colour of that flow."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    u, v = np.meshgrid(axis, axis)
    disc = flow_colours(np.stack([u, v]), 1.0)
    disc[np.hypot(u, v) > 1] = 255
    return disc


def with_wheel(image: np.ndarray) -> np.ndarray:
    """A copy of flow colours with their key, a fifth of the shorter side, in the corner with the least motion."""
    size = max(min(image.shape[:2]) // 5, 1)
    first, last = slice(size), slice(-size, None)
    corners = [(last, last), (last, first), (first, last), (first, first)]
    stillest = max(corners, key=lambda corner: float(image[corner].mean()))  # no motion is white
    image = image.copy()
    image[stillest] = colour_wheel(size)
    return image


def palette(count: int) -> np.ndarray:
    """``count`` clearly different colours, uint8 (count, 3)."""
    index = np.arange(count)
    return _bytes(hsv_to_rgb(index * _GOLDEN, np.where(index % 2, 0.55, 0.9), np.where(index % 3, 1.0, 0.85)))


def motion_regions(logits: np.ndarray, colours: np.ndarray | None = None, share: float = 0.2) -> np.ndarray:
    """Mixture logits (K+1, H, W) -> each pixel in the colour of the anchor with the largest weight, as in Fig. 8.

    Black where all anchors together have less than ``share`` of the mixture: the still background.
    """
    colours = palette(len(logits) - 1) if colours is None else colours
    weights = np.exp(logits - logits.max(axis=0))
    weights /= weights.sum(axis=0)
    moving = weights[0] < 1 - share
    return colours[np.argmax(logits[1:], axis=0)] * moving[..., None].astype(np.uint8)


def draw_anchors(
    image: np.ndarray, points: np.ndarray, colours: np.ndarray | None = None, radius: float | None = None
) -> np.ndarray:
    """A copy of ``image`` with key points (K, 2) as filled dots in a white ring; points outside are cut off.

    ``radius`` in pixels defaults to 1/64 of the shorter side, 2 at least.
    """
    height, width = image.shape[:2]
    colours = palette(len(points)) if colours is None else colours
    radius = max(2.0, min(height, width) / 64) if radius is None else radius
    drawn = image.astype(np.float64)
    y, x = np.mgrid[:height, :width]
    for point, colour in zip(points, colours, strict=True):
        if not np.isfinite(point).all():
            continue
        centre = ((point + 1) * (width, height) - 1) / 2
        distance = np.hypot(x - centre[0], y - centre[1])
        for disc_radius, disc_colour in ((radius * 1.35, (255, 255, 255)), (radius, colour)):
            cover = np.clip(disc_radius - distance + 0.5, 0, 1)[..., None]
            drawn += cover * (np.asarray(disc_colour) - drawn)
    return np.round(drawn).astype(np.uint8)


def grey_map(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A map (H, W), such as a confidence, in grey: ``low`` is black, ``high`` white, values that are not finite red."""
    values = np.asarray(values, np.float64)
    grey = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    image = _bytes(np.repeat(grey[..., None], 3, axis=-1))
    image[~np.isfinite(values)] = (255, 0, 0)
    return image


def mask_overlay(
    image: np.ndarray, mask: np.ndarray, colour: Sequence[int] = (255, 0, 64), opacity: float = 0.6
) -> np.ndarray:
    """A copy of ``image``, tinted where ``mask`` (H, W), in [0, 1], is low: what is *not* reliable."""
    hidden = opacity * (1 - np.clip(np.asarray(mask, np.float64), 0, 1))[..., None]
    return np.round(image * (1 - hidden) + hidden * np.asarray(colour)).astype(np.uint8)


def error_map(first: np.ndarray, second: np.ndarray, gain: float = 3.0) -> np.ndarray:
    """The absolute difference of two uint8 images, ``gain`` times brighter."""
    difference = np.abs(first.astype(np.int16) - second.astype(np.int16))
    return np.minimum(difference * gain, 255).astype(np.uint8)


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeat pixels to (height, width), for maps at the base size; nearest pixels if the ratio is not an integer."""
    rows = np.arange(size[0]) * image.shape[0] // size[0]
    columns = np.arange(size[1]) * image.shape[1] // size[1]
    return image[rows[:, None], columns]


def shrink(image: np.ndarray, side: int) -> np.ndarray:
    """Average blocks of pixels, so that the longer side is at most ``side``; a remainder at the end is cut off."""
    factor = -(-max(image.shape[:2]) // side)
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def tile(rows: Sequence[Sequence[np.ndarray]], gap: int = 2) -> np.ndarray:
    """Lay rows of images of one size out in a grid, ``gap`` white pixels apart; short rows are filled with white."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top : top + height, left : left + width] = image
    return sheet


def figure(
    panels: Sequence[tuple[str, np.ndarray]], *, columns: int = 5, title: str = "", inches: float = 3.0
) -> "Figure":
    """Lay titled images out in a grid with matplotlib; save it with ``.savefig``.

    Drawn without pyplot, which would need a window system and keep the figure alive.
    """
    figure_class: Any = require("matplotlib.figure", "drawing the figure").Figure
    rows = -(-len(panels) // columns)
    sheet = figure_class(figsize=(columns * inches, rows * (inches + 0.3) + 0.4), layout="constrained")
    axes = sheet.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, image) in zip(axes, panels, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(name, fontsize=10)
    if title:
        sheet.suptitle(title, fontsize=11)
    return sheet


def encode_png(image: np.ndarray) -> bytes:
    """A uint8 (H, W, 3) RGB image as a PNG file."""
    height, width, _ = image.shape
    rows = np.ascontiguousarray(image).reshape(height, width * 3)
    rows = rows - np.vstack([np.zeros_like(rows[:1]), rows[:-1]])  # filter 2: each row minus the one above, modulo 256
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), rows])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def figure_png(sheet: "Figure", dpi: int = 120) -> bytes:
    """A matplotlib figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    sheet.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def _bytes(colour: np.ndarray) -> np.ndarray:
    return np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8)
