"""Sample inputs of `masked_backwarp_loss`."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from internet.ops import reference
from internet.ops.masked_backwarp_loss import NORMS, PADDING_MODES
from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.wild import Make, changed, every_third, not_finite, strange_motions


def arguments(
    source: Source,
    *,
    batch: int = 2,
    channels: int = 3,
    size: Size = (4, 6),
    ratio: int | None = 2,
    reach: float = 2.5,
    **kwargs: Any,
) -> Arguments:
    """`size` is the frames'; the mask is `ratio` times smaller, or None."""
    height, width = size
    output, target = (source.data(source.normal(batch, channels, *size)) for _ in range(2))
    flow = source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, 2, *size),
        lambda values: torch.stack(reference.flow_positions(values)),
    )
    mask = None
    if ratio is not None:
        mask = source.motion(source.uniform(0.1, 1, batch, 1, height // ratio, width // ratio))
    return (output, target, source.motion(flow), mask), kwargs


TAME: dict[str, dict[str, Any]] = {
    **{
        f"{norm}, {reduction}": {"norm": norm, "reduction": reduction}
        for norm in ("l1", "l2", "charbonnier")
        for reduction in ("mean", "sum", "none")
    },
    **{f"padding {mode}": {"padding_mode": mode, "norm": "l2"} for mode in ("border", "zeros", "valid")},
    "mostly out of the frame, zeros": {"reach": 20.0, "padding_mode": "zeros"},
    "mostly out of the frame, valid": {"reach": 20.0, "padding_mode": "valid", "reduction": "none"},
    "no mask": {"ratio": None},
    "no mask, none": {"ratio": None, "reduction": "none"},
    "odd sizes, full mask": {"size": (5, 7), "ratio": 1},
    "mask ratio 4": {"size": (8, 12), "ratio": 4, "reduction": "none"},
    "mask ratio 8": {"size": (8, 16), "ratio": 8},
    "one channel": {"channels": 1, "batch": 1},
    "many channels": {"channels": 21, "batch": 1},
    "wide rows": {"size": (2, 67), "ratio": 1},
    "one pixel": {"size": (1, 1), "ratio": 1},
    "empty batch, sum": {"batch": 0, "reduction": "sum"},
    "empty batch, none": {"batch": 0, "reduction": "none"},
    "channels_last, sum": {"layout": "channels_last", "reduction": "sum", "channels": 5},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield from strange_motions(make, 2, ("border", "zeros", "valid"))
    for reduction in ("mean", "none"):
        note = f"infinite coordinates, valid, {reduction}"
        plain = make(padding_mode="valid", reduction=reduction)
        yield changed(plain, note, 2, lambda t: every_third(t, math.inf, math.nan, -math.inf))
    yield make(note="empty batch, mean", batch=0)
    yield make(note="no pixels, sum", size=(0, 4), ratio=1, reduction="sum")
    yield changed(make(), "equal frames", 2, torch.zeros_like)
    yield changed(make(), "wider target", 1, lambda t: t.float() if t.element_size() == 2 else t)
    for mode in PADDING_MODES:
        for norm in NORMS:
            yield from not_finite(make(note=f"{norm}, {mode}", padding_mode=mode, norm=norm, reduction="none"))
        yield from not_finite(make(note=f"mean, {mode}", padding_mode=mode))


LARGE: list[dict[str, Any]] = [  # a square has no kink, and the gradients of a sum are not too small for float16
    {"channels": 3, "size": (152, 304), "ratio": 4, "reach": 20.0, "norm": "l2", "reduction": "sum"},
    {"channels": 67, "size": (34, 46), "padding_mode": "zeros", "norm": "l2", "reduction": "sum"},
    {"channels": 4, "size": (131, 70), "ratio": None, "padding_mode": "valid", "norm": "l2", "reduction": "sum"},
    {"channels": 3, "size": (64, 96), "ratio": 8, "norm": "l2", "reduction": "none"},
]
