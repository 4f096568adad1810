"""`internet demo`: explain one frame of a video by another, or of an embedded synthetic clip."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from internet._files import numbered_folder, output_folder
from internet._optional import require
from internet.commands.arguments import add_fit_arguments, at_least, blame
from internet.commands.explain import explain, require_packages
from internet.data.synthetic import WalkingClip
from internet.data.video import DEFAULT_GAP_SECONDS, VideoInfo, choose_pair, probe, read_frames

#: Where runs go when no --out is given: each makes its own folder in here.
RUNS = Path("demo")


def add_parser(subparsers: Any) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="fit the motion between two frames of a video",
        description="Take two frames of a video (or of a synthetic clip), fit local affine motions that explain "
        "the second by the first, compare the time with eager torch, and write figure.png and state.pt.",
    )
    parser.add_argument("--video", metavar="FILE", help="any video (default: a synthetic walking figure)")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help=f"where the results go: a new or empty folder (default: the next free {RUNS}/run-001, run-002, ...)",
    )
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
    parser.add_argument("--seed", type=at_least(0), default=1, help="of the synthetic clip (default: 1)")
    add_fit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    require_packages()
    source, driving, title = _synthetic_pair(args) if args.video is None else _video_pair(args)
    with blame("--out"):
        folder = output_folder(args.out, overwrite=args.overwrite) if args.out else numbered_folder(RUNS, "run")
    explain(source, driving, title, folder, args)
    return 0


def _video_pair(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, str]:
    require("av", "reading a video")
    with blame("--video"):
        info = probe(args.video)
    first, second = _choose(info, args)
    with blame("--video"):
        source, driving = read_frames(args.video, (first, second))
    return source, driving, f"{Path(args.video).name}, frame {second} explained by frame {first} of {info.frames}"


def _synthetic_pair(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, str]:
    side = args.size or 512
    clip = WalkingClip(args.seed, (side, side))
    first, second = _choose(VideoInfo(side, side, clip.fps, len(clip)), args)
    title = f"synthetic clip {args.seed}, frame {second} explained by frame {first} of {len(clip)}"
    return clip[first], clip[second], title


def _choose(info: VideoInfo, args: argparse.Namespace) -> tuple[int, int]:
    """The two frames asked for; an error names the argument that asks for what the video does not have."""
    asked = "--frames" if args.frames else "--gap" if args.gap else "--video"
    with blame(asked):
        return choose_pair(info, tuple(args.frames) if args.frames else None, args.gap)
