"""`internet animate`: animate a picture with the motion of a person in a video."""

import argparse
import functools
import os
import re
import time
from itertools import count
from pathlib import Path
from typing import Any

import torch

from internet import ops
from internet.commands._shared.animation_report import AnimationReport
from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least, device, operator_backend
from internet.data.audio import open_audio
from internet.data.image import WHITE, Colour, is_there
from internet.data.video import probe
from internet.data.video_writer import check_suffix
from internet.inference import animate_video, read_source
from internet.model import MotionTransfer, load_model
from internet.utils.files import output_file
from internet.utils.machine import processor
from internet.utils.optional import require

#: The longest file name that file systems support.
NAME_BYTES = 255

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def add_parser(subparsers: Any) -> None:
    """Add `animate` to the command line."""
    parser = subparsers.add_parser(
        "animate",
        help="animate a picture with the motion of a video",
        description="Write a video of the person in the source picture with the motion of the person in the driving "
        "video. Both are cropped to their central squares and resized to the size that the model was trained for.",
    )
    files = parser.add_argument_group("files")
    files.add_argument("--source", required=True, metavar="FILE", help="a picture, or a video for its first frame")
    files.add_argument("--driving", required=True, metavar="VIDEO", help="the video whose motion is transferred")
    files.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a checkpoint, the folder of a training run, or the name of weights that ship with the library",
    )
    files.add_argument("--out", required=True, type=Path, metavar="VIDEO", help="the video to write, such as out.mp4")
    files.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    files.add_argument(
        "--report",
        action="store_true",
        help="write a page next to --out that shows it and how it was made",
    )
    _add_picture_arguments(parser)
    _add_machine_arguments(parser)


def _add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", type=at_least(0), default=0, metavar="N", help="first driving frame (default: 0)")
    parser.add_argument(
        "--stop", type=at_least(1), metavar="N", help="stop before this driving frame (default: the end)"
    )
    parser.add_argument(
        "--relative",
        action="store_true",
        help="transfer the movement since the first driving frame, instead of the pose itself: for people with other "
        "proportions who start in about the pose of the source",
    )
    parser.add_argument(
        "--no-adapt-scale", action="store_true", help="with --relative: do not scale the motion to the source's size"
    )
    parser.add_argument("--side-by-side", action="store_true", help="show source, driving frame and result in a row")
    parser.add_argument("--audio", action="store_true", help="copy the audio of the driving video")
    parser.add_argument(
        "--background",
        type=colour,
        default=WHITE,
        metavar="#RRGGBB",
        help="what shows through a transparent source or driving video (default: white, #ffffff)",
    )
    parser.add_argument("--size", type=at_least(1), metavar="S", help="side of the frames (default: the model's)")


def _add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", type=device, help="such as cpu, cuda or cuda:1 (default: cuda if there is one)")
    machine.add_argument("--backend", choices=tuple(ops.backends()), help="of the operators (default: the fastest)")
    machine.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default="float32",
        help="bfloat16: most layers in bfloat16, faster on GPUs that support it (default: float32)",
    )
    machine.add_argument(
        "--compile", action="store_true", help="compile the networks: the first frame takes minutes, for long videos"
    )
    machine.add_argument("--no-ema", action="store_true", help="take the last weights, not their running average")


def colour(text: str) -> Colour:
    """An argparse type: "#" and two hexadecimal digits each of red, green and blue."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise argparse.ArgumentTypeError(f"expected a colour such as #ffffff, got '{text}'")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    tqdm = require("tqdm", "the progress bar").tqdm
    if args.no_adapt_scale and not args.relative:
        raise ArgumentError("--no-adapt-scale changes what --relative does; without it there is nothing to scale")
    with argument_errors("--out"):
        output_file(args.out, overwrite=args.overwrite)
        check_suffix(args.out)
    _check_not_an_input(args)
    total = _frames(args)
    report = _report(args, total)
    with argument_errors("--source"):
        source = read_source(args.source, args.background)
    model = _model(args)
    bar = functools.partial(tqdm, desc="animating", unit="frame", total=total, disable=None)
    names = ("size", "start", "stop", "relative", "side_by_side", "audio", "background")
    options = {name: getattr(args, name) for name in names} | {"incomplete": _incomplete_name(args.out)}
    options |= {"adapt_scale": not args.no_adapt_scale, "precision": PRECISIONS[args.precision], "progress": bar}
    options |= {"on_result": None if report is None else report.add}
    begin = time.perf_counter()
    with operator_backend(args.backend, next(model.parameters()).device):
        frames = animate_video(model, source, args.driving, args.out, **options)
    seconds = time.perf_counter() - begin
    print(f"{args.out}: {frames} frames, {frames / seconds:.1f} per second")
    if report is not None:
        report.write(args.line, _facts(args, model, frames / seconds))
        print(f"{report.page}: the video and how it was made: open it in a browser")
    return 0


def _report(args: argparse.Namespace, frames: int) -> AnimationReport | None:
    """The page that --report asks for."""
    if not args.report:
        return None
    return AnimationReport.beside(args.out, frames, side_by_side=args.side_by_side, overwrite=args.overwrite)


def _facts(args: argparse.Namespace, model: MotionTransfer, rate: float) -> dict[str, str]:
    """How the video was made, for the page."""
    size = model.config.size if args.size is None else args.size
    parameter = next(model.parameters())
    return {
        "source": args.source,
        "driving video": args.driving,
        "checkpoint": args.checkpoint,
        "motion": "relative to the first driving frame" if args.relative else "absolute",
        "frames": f"{size} × {size}, {rate:.1f} per second, {args.precision}",
        "processor": processor(parameter.device),
    }


def _check_not_an_input(args: argparse.Namespace) -> None:
    """Refuse to replace an input file, also under another name: a link, or different case where that is ignored."""
    for name in ("source", "driving", "checkpoint"):
        given = getattr(args, name)
        if args.out.exists() and is_there(Path(given)) and args.out.samefile(given):
            raise ArgumentError(f"--out: '{args.out}' is the file that --{name} names; choose another name")


def _incomplete_name(out: Path) -> Path:
    """A free name next to `out` for the result of a damaged video."""
    ends = (f".incomplete{number or ''}{out.suffix}" for number in count())
    names = (os.fsencode(out.stem)[: NAME_BYTES - len(os.fsencode(end))].decode(errors="ignore") + end for end in ends)
    return next(path for path in map(out.with_name, names) if not path.exists())


def _model(args: argparse.Namespace) -> MotionTransfer:
    """The model on its device, after checking that it supports frames of the requested size."""
    place = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with argument_errors("--checkpoint"):
        model = load_model(args.checkpoint, device=place, ema=not args.no_ema)
    if args.size is not None:
        with argument_errors("--size"):
            model.check(torch.empty(1, model.frame_channels, args.size, args.size, device="meta"))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if args.compile:
        model.compile_parts()
    return model


def _frames(args: argparse.Namespace) -> int:
    """The number of driving frames. Checks that there is audio if it is to be copied."""
    with argument_errors("--driving"):
        total = probe(args.driving).frames
    stop = total if args.stop is None else args.stop
    if stop > total:
        raise ArgumentError(f"--stop: the video '{args.driving}' has {total} frames, {stop} were requested")
    if args.start >= stop:
        raise ArgumentError(f"--start: is {args.start}, expected less than {stop}, where the frames end")
    if args.audio:
        with argument_errors("--audio"), open_audio(args.driving):
            pass
    return int(stop - args.start)
