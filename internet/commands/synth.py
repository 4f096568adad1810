"""`internet synth`: write drawn clips as videos, with a list for training and one for testing."""

import argparse
from pathlib import Path
from typing import Any

from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least, fraction, positive
from internet.data.synthetic import numbered_clip
from internet.data.video_writer import write_video
from internet.utils.files import atomic_write, output_folder
from internet.utils.optional import require


def add_parser(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "synth",
        help="write videos of drawn walking figures",
        description="Write lossless videos of drawn walking figures, and the lists train.txt and test.txt. The same "
        "seed writes the same videos. Training can also draw them on the fly, with their true motion.",
    )
    count, number = at_least(1), at_least(0)
    parser.add_argument("--videos", type=count, default=10, metavar="N", help="how many (default: 10)")
    parser.add_argument(
        "--size", type=at_least(2), default=256, metavar="S", help="height and width in pixels, even (default: 256)"
    )
    parser.add_argument("--frames", type=count, default=100, metavar="N", help="of each video (default: 100)")
    parser.add_argument("--fps", type=positive, default=25.0, metavar="F", help="frames per second (default: 25)")
    parser.add_argument(
        "--test",
        type=fraction,
        default=0.2,
        metavar="FRACTION",
        help="fraction that is listed for testing (default: 0.2)",
    )
    parser.add_argument(
        "--moving-background",
        type=fraction,
        default=0.5,
        metavar="FRACTION",
        help="fraction whose background moves (default: 0.5)",
    )
    parser.add_argument(
        "--plain-background",
        type=fraction,
        default=0.0,
        metavar="FRACTION",
        help="fraction whose background has no texture (default: 0)",
    )
    parser.add_argument("--seed", type=number, default=0, metavar="N", help="of the random choices (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new or empty folder")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    if args.size % 2:
        raise ArgumentError(f"--size: expected an even number, as videos have no odd sizes, got {args.size}")
    require("av", "writing a video")
    tqdm = require("tqdm", "showing progress").tqdm
    with argument_errors("--out"):
        folder = output_folder(args.out, overwrite=args.overwrite)
    names = [f"{number:05d}.mp4" for number in range(args.videos)]
    for number, name in enumerate(tqdm(names, unit="video")):
        options = {"frames": args.frames, "fps": args.fps}
        options |= {name: getattr(args, name) for name in ("moving_background", "plain_background")}
        clip = numbered_clip(args.seed, number, args.size, **options)
        write_video(folder / name, clip, fps=args.fps, lossless=True)
    training = args.videos - round(args.test * args.videos)
    for split, listed in (("train", names[:training]), ("test", names[training:])):
        atomic_write(folder / f"{split}.txt", "".join(f"{name}\n" for name in listed).encode())
    print(f"wrote {args.videos} videos to {folder}: {training} for training, {args.videos - training} for testing")
    return 0
