"""Fit the motion between two frames, print what came of it, write a figure and the fitted state."""

import argparse
import functools
import time
from pathlib import Path

import numpy as np

from internet.commands._shared.arguments import working_size
from internet.commands._shared.table import table
from internet.comparison import not_compared
from internet.data.image import square, to_array, to_tensor
from internet.registration import Problem, Registration, compare, fit, why_not_fused
from internet.utils.files import atomic_write, save_tensors
from internet.utils.optional import require
from internet.visualization import draw
from internet.visualization.charts import png

FIGURE, STATE = "figure.png", "state.pt"


def require_packages() -> None:
    """Find out before the work whether the packages for its end are there."""
    require("cv2", "optical flow (DIS)")
    require("matplotlib", "drawing the figure")
    require("tqdm", "the progress bar")


def explain(source: np.ndarray, driving: np.ndarray, title: str, folder: Path, args: argparse.Namespace) -> None:
    """Explain ``driving`` by ``source``, uint8 (H, W, 3) of one size; the results go to ``folder``."""
    size = working_size(args.size, *source.shape[:2])
    problem = Problem.prepare(square(to_tensor(source), size), square(to_tensor(driving), size))
    bar = functools.partial(require("tqdm", "the progress bar").tqdm, desc="fitting", unit="step", disable=None)
    begin = time.perf_counter()
    found = fit(problem, anchors=args.anchors, steps=args.steps, progress=bar)
    seconds = time.perf_counter() - begin
    print(f"{title}; {size} x {size}, {args.anchors} anchors, {args.steps} steps in {seconds:.1f} s\n")
    print(errors_table(found))
    print()
    if not args.no_compare:
        print(comparison_text(problem, found))
    atomic_write(folder / FIGURE, draw_figure(problem, found, title))
    save_tensors(folder / STATE, found.state())
    print(f"figure: {folder / FIGURE}\nstate:  {folder / STATE}")


def errors_table(found: Registration) -> str:
    """The errors of each stage as text."""
    stages = {"identity": "no motion", "start": "first guess", "fitted": "fitted"}
    rows = (
        ("photometric error (of 255)", "photometric"),
        ("  where something moves", "moving"),
        ("distance to DIS flow (pixels)", "endpoint"),
    )
    values = {label: [getattr(found.errors[stage], attribute) for stage in stages] for label, attribute in rows}
    return table(list(stages.values()), values)


def comparison_text(problem: Problem, found: Registration) -> str:
    """Time the identical fit with the fused operators and with plain torch; say which and how much."""
    missing = why_not_fused(problem.source.device.type)
    if missing:
        return not_compared(missing) + "\n"
    return compare(problem, found).describe("fit", "energy") + "\n"


def panels(problem: Problem, found: Registration) -> list[tuple[str, np.ndarray]]:
    """The pictures of the figure, uint8 (H, W, 3), each with its title."""
    source, driving, warped = (to_array(image) for image in (problem.source, problem.driving, found.warped))
    teacher, flow = (field[0].cpu().numpy() for field in (found.teacher, found.flow))
    longest = float(np.quantile(np.hypot(*flow), 0.995))
    logits = found.motion.logits[0].detach().cpu().numpy()
    points = found.motion.kp_driving[0].detach().cpu().numpy()
    regions = draw.enlarge(draw.motion_regions(logits), driving.shape[:2])
    confidence = draw.grey_map(found.confidence[0, 0].cpu().numpy())
    return [
        ("source", source),
        ("driving", driving),
        ("source, moved by the fit", warped),
        ("difference before (x3)", draw.error_map(source, driving)),
        ("difference after (x3)", draw.error_map(warped, driving)),
        ("fitted motion", draw.with_wheel(draw.flow_colours(flow, longest))),
        ("DIS optical flow", draw.flow_colours(teacher, longest)),
        ("anchors and their regions", draw.draw_anchors(regions, points)),
        ("confidence (intrinsic)", draw.enlarge(confidence, driving.shape[:2])),
        ("extrinsic mask (tinted: unreliable)", draw.mask_overlay(driving, found.reliable[0, 0].cpu().numpy())),
    ]


def draw_figure(problem: Problem, found: Registration, title: str) -> bytes:
    """The figure as the bytes of a PNG file."""
    return png(draw.figure(panels(problem, found), title=title))
