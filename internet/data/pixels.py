"""From a decoded video frame to the pixels that a player shows: colours, transparency, aspect and orientation.

The file states each of these beside its samples; a reader that takes only the samples loses them:

* colours: the matrix and range that the file states; otherwise Rec. 709 above 576 lines or from 1280 columns on
  and Rec. 601 below, as players do. HDR transfer curves (PQ, HLG) and wide gamuts are converted to Rec. 709 by
  swscale, reference white to white;
* transparency: blended over a background colour, in the stored (gamma-encoded) values;
* sample aspect ratio: the shorter side is enlarged, so that pixels are square and no detail is lost;
* display matrix: the nearest of the eight quarter turns and mirrorings.
"""

import math
import struct
import threading
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from internet.data.image import WHITE, Colour, blend
from internet.utils.optional import require

UNSPECIFIED = 2
"""A colour property that the file does not state (ITU-T H.273)."""

#: ITU-T H.273: transfer curves PQ and HLG; primaries of BT.2020 and of the two variants of P3.
HDR_TRANSFERS, WIDE_PRIMARIES = frozenset({16, 18}), frozenset({9, 11, 12})

SCALER_THREADS = 1
"""Of libswscale, by frame. More would belong to the process that made them: in a forked one, such as a worker of a
DataLoader, freeing a frame that its parent had converted would wait for them for ever."""


def displayed_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height with square pixels, for pixels that are `aspect` times as wide as high (None: square)."""
    if not aspect or aspect == 1 or not Fraction(1, 16) <= aspect <= 16:  # other values come from damaged files
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def displayed(frame: Any, aspect: Fraction | None = None, background: Colour = WHITE) -> np.ndarray:
    """A PyAV frame as a player shows it: uint8 (H, W, 3) RGB.

    Args:
        frame: an ``av.VideoFrame``.
        aspect: the width of a stored pixel over its height; None is 1.
        background: the RGB levels that show through transparent pixels.
    """
    transparent = any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"
    width, height = displayed_size(frame.width, frame.height, aspect)
    shape = {"format": "rgba" if transparent else "rgb24", "width": width, "height": height, "threads": SCALER_THREADS}
    if frame.color_trc in HDR_TRANSFERS or frame.color_primaries in WIDE_PRIMARIES:
        converted = _converter(threading.get_ident(), width, height, frame.color_trc, frame.color_primaries).reformat(
            frame, **shape, **_rec709()
        )
    else:
        converted = frame.reformat(**shape, **_matrix(frame))
    pixels = converted.to_ndarray()
    return upright(blend(pixels, background) if transparent else pixels, frame)


def upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Pixels (H, W, 3) turned and mirrored as the frame's display matrix asks.

    The matrix maps a stored position to a shown one: x' = a x + c y, y' = b x + d y.
    """
    a, b, c, d = _display_matrix(frame)
    if abs(b) + abs(c) > abs(a) + abs(d):  # x' depends on y: swap the axes first
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _display_matrix(frame: Any) -> tuple[float, float, float, float]:
    kind = require("av", "reading a video").sidedata.sidedata.Type.DISPLAYMATRIX
    try:
        data = frame.side_data.get(kind)
    except ValueError:  # PyAV cannot list side data if one entry has a type unknown to it, such as EXIF
        angle = math.radians(frame.rotation)
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    return a, b, c, d


def _matrix(frame: Any) -> dict[str, Any]:
    """The matrix from YCbCr to RGB, if the file does not state it and swscale's default, Rec. 601, would be wrong."""
    high_definition = frame.width >= 1280 or frame.height > 576
    if frame.colorspace != UNSPECIFIED or not high_definition:
        return {}
    itu709 = require("av", "reading a video").video.reformatter.Colorspace.ITU709
    return {"src_colorspace": itu709, "dst_colorspace": itu709}


def _rec709() -> dict[str, Any]:
    reformatter = require("av", "reading a video").video.reformatter
    return {
        "dst_color_trc": reformatter.ColorTrc.BT709,
        "dst_color_primaries": reformatter.ColorPrimaries.BT709,
        "dst_colorspace": reformatter.Colorspace.ITU709,
        "dst_color_range": reformatter.ColorRange.JPEG,
    }


@lru_cache(maxsize=4)
def _converter(thread: int, *kind: int) -> Any:
    """A converter for frames of one kind: its colour table takes seconds to build, so converters are kept."""
    return require("av", "reading a video").video.reformatter.VideoReformatter()
