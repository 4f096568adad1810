"""Pictures of the results of a model or a fit, among them those of the paper's Figs. 7 and 8.

A *panel* is a title and an image, uint8 (H, W, 3). :func:`internet.visualization.draw.figure` arranges panels with
their titles; a *sheet* is one image of panels without titles. Frames are tensors in [0, 1]; fields and flows follow the
conventions of the library.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from internet.data.image import to_array
from internet.geometry import full_flow
from internet.model import MotionTransfer, Result
from internet.registration import Problem, Registration
from internet.visualization import draw

Panel = tuple[str, np.ndarray]

#: Of the panels of a transfer, from left to right.
TITLES = ("source", "driving frame", "output", "error (x3)", "motion", "confidence", "motion regions")

#: Motions shorter than this fraction of the frame's width do not get full colours: noise should look faint.
FAINT = 1 / 64


class SampleArrays(NamedTuple):
    """One sample of a Result as arrays: the image uint8 (H, W, 3), maps at the base size (h, w)."""

    output: np.ndarray
    flow: np.ndarray  # (2, H, W) in pixels, from the driving frame to the source
    confidence: np.ndarray  # (h, w)
    logits: np.ndarray  # (K+1, h, w)
    source_points: np.ndarray  # (K, 2)
    driving_points: np.ndarray  # (K, 2)

    @classmethod
    def of(cls, result: Result, index: int) -> "SampleArrays":
        """The arrays of sample `index` of the batch."""
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
        """The length of motion, in pixels, that gets full colours."""
        return max(float(np.quantile(np.hypot(*self.flow), 0.995)), self.size[1] * FAINT)

    def region_image(self) -> np.ndarray:
        """Each pixel in the colour of the anchor with the largest weight; black where nothing moves."""
        return draw.enlarge(draw.motion_regions(self.logits), self.size)

    def confidence_image(self) -> np.ndarray:
        """The confidence map: 1 is white, 0 black."""
        return draw.enlarge(draw.grey_map(self.confidence), self.size)


def transfer_panels(result: Result, source: Tensor, target: Tensor, count: int = 4) -> list[list[Panel]]:
    """The first `count` samples of a batch, one row each.

    From left to right: the source with its anchors, the driving frame with its, the output, three times its error,
    the motion from the driving frame to the source in the colours of a wheel, on the same scale for all rows, the
    confidence, and the regions that each anchor moves.

    Args:
        result: of the model.
        source, target: (B, 3, H, W) in [0, 1]; the target is the driving frame.
        count: rows, or as many as the batch has.
    """
    samples = [SampleArrays.of(result, index) for index in range(min(count, len(source)))]
    longest = max(sample.longest for sample in samples)
    return [_row(*pictures, longest) for pictures in zip(samples, source, target, strict=False)]


@torch.no_grad()
def compare_sheet(
    models: Mapping[str, MotionTransfer], source: Tensor, driving: Tensor
) -> tuple[list[list[Panel]], list[list[Panel]]]:
    """The same frames by several models, a row for each: like the paper's Fig. 7, and like its Fig. 8.

    For each driving frame the first figure has two pictures, the frame with the model's anchors and the output; the
    second has the regions that each anchor moves, and the confidence.

    Args:
        models: in evaluation mode, by their names in the titles.
        source: (1, 3, H, W) in [0, 1].
        driving: (N, 3, H, W).
    """
    anchors, motions = [], []
    for name, model in models.items():
        result = model(source.expand_as(driving), driving)
        samples = [SampleArrays.of(result, index) for index in range(len(driving))]
        pairs = list(zip(samples, map(to_array, driving), strict=True))
        anchors.append(
            [
                (f"{name}, {what}", image)
                for sample, frame in pairs
                for what, image in (
                    ("anchors", draw.draw_anchors(frame, sample.driving_points)),
                    ("output", sample.output),
                )
            ]
        )
        motions.append(
            [
                (f"{name}, {what}", image)
                for sample in samples
                for what, image in (("regions", sample.region_image()), ("confidence", sample.confidence_image()))
            ]
        )
    return anchors, motions


def training_sheet(result: Result, source: Tensor, target: Tensor, count: int = 4) -> np.ndarray:
    """:func:`transfer_panels` as one image."""
    rows = transfer_panels(result, source, target, count)
    return draw.tile([[image for _, image in row] for row in rows])


def _row(sample: SampleArrays, source: Tensor, target: Tensor, longest: float) -> list[Panel]:
    driving = to_array(target)
    images = (
        draw.draw_anchors(to_array(source), sample.source_points),
        draw.draw_anchors(driving, sample.driving_points),
        sample.output,
        draw.error_map(sample.output, driving),
        draw.with_wheel(draw.flow_colours(sample.flow, longest)),
        sample.confidence_image(),
        sample.region_image(),
    )
    return list(zip(TITLES, images, strict=True))


def registration_panels(problem: Problem, found: Registration) -> list[Panel]:
    """A fit of one frame to another: the frames, their remaining difference, and the motion in every form."""
    source, driving, warped = (to_array(image) for image in (problem.source, problem.driving, found.warped))
    teacher, flow = (field[0].cpu().numpy() for field in (found.teacher, found.flow))
    longest = float(np.quantile(np.hypot(*flow), 0.995))
    logits, points = (value[0].detach().cpu().numpy() for value in (found.motion.logits, found.motion.kp_driving))
    regions = draw.enlarge(draw.motion_regions(logits), driving.shape[:2])
    confidence = draw.grey_map(found.confidence[0, 0].cpu().numpy())
    return [
        ("source", source),
        ("driving", driving),
        ("source, warped by the fit", warped),
        ("difference before (x3)", draw.error_map(source, driving)),
        ("difference after (x3)", draw.error_map(warped, driving)),
        ("fitted motion", draw.with_wheel(draw.flow_colours(flow, longest))),
        ("DIS optical flow", draw.flow_colours(teacher, longest)),
        ("anchors and their regions", draw.draw_anchors(regions, points)),
        ("confidence (intrinsic)", draw.enlarge(confidence, driving.shape[:2])),
        ("extrinsic mask (tinted: unreliable)", draw.mask_overlay(driving, found.reliable[0, 0].cpu().numpy())),
    ]
