"""Evaluates all measures on a clip, frame by frame."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.data.image import to_array
from internet.data.video_writer import video_writer
from internet.evaluation.clip_result import ClipResult
from internet.evaluation.measure import Curve
from internet.evaluation.pairs import ClipPair
from internet.evaluation.suite import Suite
from internet.visualization import draw

#: The pictures in the video of a clip, from left to right; the largest side of each.
SHOWN, SIDE = ("source", "real", "generated", "error (x3)"), 256


@torch.no_grad()
def evaluate_clip(
    clip: ClipPair, suite: Suite, video: Path | None = None, progress: Callable[[], object] = lambda: None
) -> ClipResult:
    """Measure a clip. Except for features and numbers, memory does not grow with its length.

    Args:
        clip: to be measured.
        suite: the measures.
        video: a file to write, with the pictures of :data:`SHOWN` side by side.
        progress: called after each frame.
    """
    for measure in suite.measures:
        measure.reset()
    if video is None:
        count = _measure(clip, suite, lambda generated, reference: None, progress)
    else:
        source = _small(clip.source())
        with video_writer(video, fps=clip.fps) as writer:
            count = _measure(clip, suite, lambda *pair: writer.write(_sheet(source, *pair)), progress)
    values: dict[str, float] = {}
    curves: dict[str, Curve] = {}
    features: dict[str, np.ndarray] = {}
    for measure in suite.measures:
        values |= measure.values()
        curves |= measure.curves()
        features |= measure.features()
    return ClipResult(clip.name, count, values, curves, features)


def _measure(
    clip: ClipPair, suite: Suite, show: Callable[[Tensor, Tensor], None], progress: Callable[[], object]
) -> int:
    count = 0
    for generated, reference in clip.frames():
        for measure in suite.measures:
            measure.update(generated, reference)
        show(generated, reference)
        progress()
        count += 1
    return count


def _small(frame: Tensor) -> np.ndarray:
    return draw.shrink(to_array(frame), SIDE)


def _sheet(source: np.ndarray, generated: Tensor, reference: Tensor) -> np.ndarray:
    ours, theirs = _small(generated), _small(reference)
    sheet = draw.tile([[source, theirs, ours, draw.error_map(ours, theirs)]])
    return sheet[: sheet.shape[0] // 2 * 2, : sheet.shape[1] // 2 * 2]  # videos have even sides
