"""`internet register`: fit the motion from one picture to another: two files, or two frames of a real or drawn clip."""

import argparse
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from internet.commands._shared.arguments import (
    ArgumentError,
    add_folder_arguments,
    argument_errors,
    at_least,
    result_folder,
)
from internet.commands._shared.table import table
from internet.comparison import not_compared
from internet.data.image import read_image, square, to_tensor
from internet.data.synthetic import WalkingClip
from internet.data.video import DEFAULT_GAP_SECONDS, VideoInfo, choose_pair, probe, read_frames
from internet.registration import Problem, Registration, compare, fit, why_not_fused
from internet.utils.files import atomic_write, save_tensors
from internet.utils.optional import require
from internet.visualization import draw
from internet.visualization.figures import registration_panels

#: Where runs go without --out: each creates its own folder in here.
RUNS = Path("register")
FIGURE, STATE = "figure.png", "state.pt"

#: Sizes of frames: the motion field is fitted at 128 and upsampled by powers of two.
SIZES = (128, 256, 512, 1024)
#: The largest size that is chosen by default.
DEFAULT_SIZE = 512

#: Rows and columns of the table: the errors, and the stages of the fit.
ERRORS = {
    "photometric error (of 255)": "photometric",
    "  where something moves": "moving",
    "distance to DIS flow (pixels)": "endpoint",
}
STAGES = {"identity": "no motion", "initial": "first guess", "fitted": "fitted"}


class Pair(NamedTuple):
    """Two pictures of one size, uint8 (H, W, 3), and their description."""

    source: np.ndarray
    driving: np.ndarray
    title: str


def add_parser(subparsers: Any) -> None:
    """Add `register` to the command line."""
    parser = subparsers.add_parser(
        "register",
        help="fit the motion between two pictures, or two frames of a video",
        description="Fit local affine motions from the source picture to the driving picture, compare the time "
        "with eager torch, and write figure.png and state.pt. The pictures are two files, two frames of a video, or, "
        "with neither, of a drawn clip.",
    )
    parser.add_argument("--source", metavar="PICTURE", help="the picture that is warped")
    parser.add_argument("--driving", metavar="PICTURE", help="the picture that it is fitted to")
    parser.add_argument("--video", metavar="FILE", help="take both from this video")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--frames", nargs=2, type=at_least(0), metavar=("SOURCE", "DRIVING"), help="the two frames, counted from 0"
    )
    which.add_argument(
        "--gap",
        type=at_least(1),
        metavar="N",
        help=f"take two frames N apart around the middle (default: {DEFAULT_GAP_SECONDS} s)",
    )
    parser.add_argument("--seed", type=at_least(0), metavar="N", help="of the drawn clip (default: 1)")
    add_folder_arguments(parser, RUNS)
    _add_fit_arguments(parser)


def _add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the fit and of the output."""
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        help="crop the frames to their central square and resize it to this many pixels "
        f"(default: the largest that the frames hold, up to {DEFAULT_SIZE})",
    )
    parser.add_argument("--anchors", type=at_least(1), default=10, help="how many local motions (default: 10)")
    parser.add_argument("--steps", type=at_least(0), default=150, help="steps of gradient descent (default: 150)")
    parser.add_argument("--no-compare", action="store_true", help="do not time the fit against eager torch")


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    _check(args)
    _require_packages()
    pair = _pictures(args) if args.source else _video_pair(args) if args.video else _drawn_pair(args)
    _register(pair, result_folder(args, RUNS), args)
    return 0


def _require_packages() -> None:
    """Check in advance that the packages needed at the end are installed."""
    require("cv2", "optical flow (DIS)")
    require("matplotlib", "drawing the figure")
    require("tqdm", "the progress bar")


def _register(pair: Pair, folder: Path, args: argparse.Namespace) -> None:
    """Fit the motion, print the errors and the time, write the figure and the fitted state."""
    size = _working_size(args.size, *pair.source.shape[:2])
    problem = Problem.prepare(square(to_tensor(pair.source), size), square(to_tensor(pair.driving), size))
    bar = functools.partial(require("tqdm", "the progress bar").tqdm, desc="fitting", unit="step", disable=None)
    begin = time.perf_counter()
    found = fit(problem, anchors=args.anchors, steps=args.steps, progress=bar)
    seconds = time.perf_counter() - begin
    print(f"{pair.title}; {size} x {size}, {args.anchors} anchors, {args.steps} steps in {seconds:.1f} s\n")
    print(_errors_table(found) + "\n")
    if not args.no_compare:
        print(_speed(problem, found) + "\n")
    figure = draw.figure(registration_panels(problem, found), title=pair.title)
    atomic_write(folder / FIGURE, draw.figure_png(figure))
    save_tensors(folder / STATE, found.state())
    print(f"figure: {folder / FIGURE}\nstate:  {folder / STATE}")


def _working_size(asked: int | None, height: int, width: int) -> int:
    """The size of the frames: as requested, or the largest of SIZES up to DEFAULT_SIZE that fits into the frame."""
    if asked is not None:
        return asked
    return max(size for size in SIZES if size == SIZES[0] or size <= min(height, width, DEFAULT_SIZE))


def _errors_table(found: Registration) -> str:
    rows = {label: [getattr(found.errors[stage], name) for stage in STAGES] for label, name in ERRORS.items()}
    return table(list(STAGES.values()), rows)


def _speed(problem: Problem, found: Registration) -> str:
    """How much faster the same steps are with the fused operators than in plain torch, or why that is unknown."""
    missing = why_not_fused(problem.source.device.type)
    return not_compared(missing) if missing else compare(problem, found).describe("fit", "energy")


def _check(args: argparse.Namespace) -> None:
    """Refuse arguments that exclude each other."""
    given = [
        name for name in ("source", "driving", "video", "frames", "gap", "seed") if getattr(args, name) is not None
    ]
    for name, needed in (("source", "driving"), ("driving", "source")):
        if name in given and needed not in given:
            raise ArgumentError(f"--{needed}: is missing; it goes with --{name}")
    beside = {"source": ("video", "frames", "gap", "seed"), "video": ("seed",)}
    for name, excluded in beside.items():
        for other in excluded:
            if name in given and other in given:
                raise ArgumentError(f"--{other}: cannot be used together with --{name}")


def _pictures(args: argparse.Namespace) -> Pair:
    with argument_errors("--source"):
        source = read_image(args.source)
    with argument_errors("--driving"):
        driving = read_image(args.driving)
    if source.shape != driving.shape:
        sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (source, driving)]
        raise ArgumentError(f"--source is {sizes[0]} and --driving is {sizes[1]}; they must have the same size")
    return Pair(source, driving, f"{args.driving} explained by {args.source}")


def _video_pair(args: argparse.Namespace) -> Pair:
    require("av", "reading a video")
    with argument_errors("--video"):
        info = probe(args.video)
    first, second = _choose(info, args)
    with argument_errors("--video"):
        source, driving = read_frames(args.video, (first, second))
    return Pair(source, driving, f"{Path(args.video).name}, frame {second} explained by frame {first} of {info.frames}")


def _drawn_pair(args: argparse.Namespace) -> Pair:
    side, seed = args.size or 512, 1 if args.seed is None else args.seed
    clip = WalkingClip(seed, (side, side))
    first, second = _choose(VideoInfo(side, side, clip.fps, len(clip)), args)
    title = f"synthetic clip {seed}, frame {second} explained by frame {first} of {len(clip)}"
    return Pair(clip[first], clip[second], title)


def _choose(info: VideoInfo, args: argparse.Namespace) -> tuple[int, int]:
    """The two requested frames. An error names the argument if the video does not have them."""
    asked = "--frames" if args.frames else "--gap" if args.gap else "--video"
    with argument_errors(asked):
        return choose_pair(info, tuple(args.frames) if args.frames else None, args.gap)
