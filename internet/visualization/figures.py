"""What a model makes of its frames, drawn: the sheet that is watched in training, and the paper's Figs. 3, 7 and 8.

A *panel* is a title and an image, uint8 (H, W, 3). :func:`internet.visualization.draw.figure` draws panels with their
titles, a *sheet* is one image of them without. Frames are tensors in [0, 1], fields and flows as everywhere in the
library.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from internet.data.image import to_array
from internet.geometry import full_flow
from internet.model import Result
from internet.visualization import draw

Panel = tuple[str, np.ndarray]

#: Motions shorter than the frame's width over this do not get the wheel's full colours: noise is to look like noise.
CALM = 64


class Drawn(NamedTuple):
    """What one sample of a Result shows, as arrays: images uint8 (H, W, 3), maps at the base size (h, w)."""

    output: np.ndarray
    flow: np.ndarray  # (2, H, W) in pixels, from the driving frame to the source
    confidence: np.ndarray  # (h, w)
    logits: np.ndarray  # (K+1, h, w)
    source_points: np.ndarray  # (K, 2)
    driving_points: np.ndarray  # (K, 2)

    @classmethod
    def sample(cls, result: Result, index: int) -> "Drawn":
        """Sample `index` of the batch."""
        height, width = result.frame.shape[-2:]
        motion = result.motion
        with torch.no_grad():
            flow = full_flow(motion.field[index : index + 1].float(), (height, width))
        maps = (flow[0], motion.confidence[index, 0], motion.logits[index])
        points = (result.source_anchors.kp[index], result.driving_anchors.kp[index])
        return cls(to_array(result.frame[index]), *(value.detach().float().cpu().numpy() for value in (*maps, *points)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame."""
        return self.output.shape[0], self.output.shape[1]

    @property
    def longest(self) -> float:
        """The length of motion that gets the wheel's full colours."""
        return max(float(np.quantile(np.hypot(*self.flow), 0.995)), self.size[1] / CALM)

    def regions(self) -> np.ndarray:
        """Each pixel in the colour of the anchor that moves it, black where nothing moves."""
        return draw.enlarge(draw.motion_regions(self.logits), self.size)

    def trust(self) -> np.ndarray:
        """The confidence, white for 1."""
        return draw.enlarge(draw.grey_map(self.confidence), self.size)


def transfer_panels(result: Result, source: Tensor, target: Tensor, count: int = 4) -> list[list[Panel]]:
    """The first `count` samples of a batch, a row each.

    From left to right: the source with its anchors, the driving frame with its, the output, three times its error,
    the motion from the driving frame to the source as a colour wheel of one scale for all rows, the confidence, and
    the regions that each anchor moves.

    Args:
        result: of the model.
        source, target: (B, 3, H, W) in [0, 1]; the target is the driving frame.
        count: rows, or as many as the batch has.
    """
    samples = [Drawn.sample(result, index) for index in range(min(count, len(source)))]
    longest = max(sample.longest for sample in samples)
    return [_row(*pictures, longest) for pictures in zip(samples, source, target, strict=False)]


def training_sheet(result: Result, source: Tensor, target: Tensor, count: int = 4) -> np.ndarray:
    """:func:`transfer_panels` as one image."""
    return _sheet(transfer_panels(result, source, target, count))


def _row(sample: Drawn, source: Tensor, target: Tensor, longest: float) -> list[Panel]:
    driving = to_array(target)
    return [
        ("source", draw.draw_anchors(to_array(source), sample.source_points)),
        ("driving frame", draw.draw_anchors(driving, sample.driving_points)),
        ("output", sample.output),
        ("error (x3)", draw.error_map(sample.output, driving)),
        ("motion", draw.with_wheel(draw.flow_colours(sample.flow, longest))),
        ("confidence", sample.trust()),
        ("motion regions", sample.regions()),
    ]


def _sheet(rows: list[list[Panel]]) -> np.ndarray:
    return draw.tile([[image for _, image in row] for row in rows])


def flow_panels(first: Tensor, second: Tensor, flow: Tensor, reliable: Tensor) -> list[Panel]:
    """The paper's Fig. 3: two frames, the optical flow between them, and where it can be relied on.

    Args:
        first, second: (1, 3, H, W), for instance I_{t-1} and I_t.
        flow: (1, 2, H, W) in pixels, from first to second.
        reliable: (1, 1, H, W), the extrinsic mask of :func:`internet.ops.flow_confidence`.
    """
    colours = draw.flow_colours(flow[0].cpu().numpy())
    return [
        ("first", to_array(first)),
        ("second", to_array(second)),
        ("flow", draw.with_wheel(colours)),
        ("reliable (white)", draw.grey_map(reliable[0, 0].cpu().numpy())),
    ]


def anchor_panel(result: Result, index: int = 0) -> Panel:
    """The paper's Fig. 7: the output with the driving frame's anchors as coloured dots."""
    sample = Drawn.sample(result, index)
    return "output and anchors", draw.draw_anchors(sample.output, sample.driving_points)


def region_panels(result: Result, index: int = 0) -> list[Panel]:
    """The paper's Fig. 8: the regions that each anchor moves, and the confidence."""
    sample = Drawn.sample(result, index)
    return [("motion regions", sample.regions()), ("confidence", sample.trust())]


def compare_panels(results: Mapping[str, Result], source: Tensor, target: Tensor, index: int = 0) -> list[list[Panel]]:
    """Several models on one pair of frames, for instance trained under different regularisations, a row each.

    A row has source, driving frame, output with anchors (Fig. 7), motion regions and confidence (Fig. 8).

    Args:
        results: of each model, by its name.
        source, target: (B, 3, H, W), what all of them were given.
        index: the sample of the batch.
    """
    frames = [("source", to_array(source[index])), ("driving", to_array(target[index]))]
    rows = {
        name: [*frames, anchor_panel(result, index), *region_panels(result, index)] for name, result in results.items()
    }
    return [[(f"{name}: {title}", image) for title, image in row] for name, row in rows.items()]


def compare_sheet(results: Mapping[str, Result], source: Tensor, target: Tensor, index: int = 0) -> np.ndarray:
    """:func:`compare_panels` as one image."""
    return _sheet(compare_panels(results, source, target, index))
