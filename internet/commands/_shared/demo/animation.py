"""Act two: a model animates a drawn figure that it was not trained on, and whose true motion is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.data.image import to_array, to_tensor
from internet.data.synthetic import WalkingClip, numbered_clip
from internet.data.video_writer import write_video
from internet.evaluation import TransferMetrics
from internet.model import MotionTransfer, Result
from internet.visualization import draw
from internet.visualization.figures import Panel, SampleArrays, transfer_panels

#: Clips from this seed on are never trained on: training and validation use smaller seeds.
UNSEEN = 1 << 24
#: Number of driving frames, frames per call of the model, rows of the figure, and magnification of the video.
FRAMES, BATCH, ROWS, ZOOM = 50, 5, 4, 2
#: Labels of the pictures in the two rows of the video.
LABELS = (("source", "driving frame", "output"), ("motion", "confidence", "motion regions"))


@dataclass(frozen=True)
class Animation:
    """The animation of a drawn figure.

    title: which figure. size: side of its frames in pixels.
    metrics: those of :class:`~internet.evaluation.TransferMetrics`.
    rows: pictures of a few frames, one row each.
    """

    title: str
    size: int
    metrics: dict[str, float]
    rows: list[list[Panel]]


@torch.no_grad()
def animate_unseen(model: MotionTransfer, seed: int, video: Path) -> Animation:
    """Animate the first frame of an unseen clip with the others; `video` shows six pictures of each, in two rows."""
    size, device = model.config.size, next(model.parameters()).device
    clip = numbered_clip(UNSEEN + seed, 0, size, frames=FRAMES + 1, moving_background=0)
    source, *driving = (to_tensor(image).to(device) for image in clip)
    measured, samples = _Metrics(clip), []
    for first in range(0, FRAMES, BATCH):
        target = torch.cat(driving[first : first + BATCH])
        result = model(source.expand_as(target), target)
        measured.update(result, source.expand_as(target), target)
        samples += [SampleArrays.of(result, index) for index in range(len(target))]
    _write(video, source, driving, samples, clip.fps)
    chosen = torch.cat([driving[FRAMES * (row + 1) // ROWS - 1] for row in range(ROWS)])
    repeated = source.expand_as(chosen)
    title = f"drawn figure {seed}, {FRAMES} frames of {size} × {size}"
    return Animation(title, size, measured.compute(), transfer_panels(model(repeated, chosen), repeated, chosen, ROWS))


class _Metrics:
    """Accumulates an :class:`Animation`'s metrics and pictures, batch by batch, over all driving frames."""

    def __init__(self, clip: WalkingClip) -> None:
        self.clip, self.number = clip, 0
        self.metrics = TransferMetrics()

    def update(self, result: Result, source: Tensor, target: Tensor) -> None:
        """Add the clip's next frames: `target`, which the source should imitate."""
        times = [self.clip.time(self.number + ahead + 1) for ahead in range(len(target))]
        self.number += len(target)
        flows = [self.clip.flow(time, self.clip.time(0)) for time in times]
        visible = [self.clip.visible(time, self.clip.time(0), flow) for time, flow in zip(times, flows, strict=True)]
        motion, mask = (torch.from_numpy(np.stack(maps)).to(target.device) for maps in (flows, visible))
        self.metrics.update(result, source, target, motion, mask[:, None].float())

    def compute(self) -> dict[str, float]:
        return self.metrics.compute()


def _write(video: Path, source: Tensor, driving: list[Tensor], samples: list[SampleArrays], fps: float) -> None:
    """The pictures of :data:`LABELS`, frame by frame."""
    longest = max(sample.longest for sample in samples)

    def sheet(sample: SampleArrays, frame: Tensor) -> np.ndarray:
        pictures = (
            (
                draw.draw_anchors(to_array(source), sample.source_points),
                draw.draw_anchors(to_array(frame), sample.driving_points),
                sample.output,
            ),
            (draw.flow_colours(sample.flow, longest), sample.confidence_image(), sample.region_image()),
        )
        tiled = draw.tile(pictures)
        return draw.enlarge(tiled, (ZOOM * tiled.shape[0], ZOOM * tiled.shape[1]))

    write_video(video, (sheet(*pair) for pair in zip(samples, driving, strict=True)), fps=fps)
