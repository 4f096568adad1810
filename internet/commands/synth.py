"""`internet synth`: write drawn clips as videos, with a list for training and one for testing."""

import argparse
from pathlib import Path
from typing import Any

from internet._files import atomic_write, output_folder
from internet._optional import require
from internet.data.synthetic import numbered_clip
from internet.data.video_writer import write_video


def add_parser(subparsers: Any) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "synth",
        help="write videos of drawn walking figures",
        description="Write lossless videos of drawn walking figures, and the lists train.txt and test.txt. The same "
        "seed writes the same videos. Training can also draw them on the fly, with their true motion.",
    )
    parser.add_argument("--videos", type=int, default=10, metavar="N", help="how many (10)")
    parser.add_argument("--size", type=int, default=256, metavar="S", help="height and width in pixels (256)")
    parser.add_argument("--frames", type=int, default=100, help="of each video (100)")
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second (25)")
    parser.add_argument("--test", type=float, default=0.2, help="the fraction listed for testing (0.2)")
    parser.add_argument(
        "--moving-background", type=float, default=0.5, help="the fraction whose background moves (0.5)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.videos < 1:
        raise ValueError(f"--videos is {args.videos}, expected at least 1")
    if args.size < 2 or args.size % 2:
        raise ValueError(f"--size is {args.size}, expected an even number: videos have no odd sizes")
    if not 0 <= args.test <= 1:
        raise ValueError(f"--test is {args.test}, expected a fraction, 0 to 1")
    tqdm = require("tqdm", "showing progress").tqdm
    folder = output_folder(args.out, overwrite=args.overwrite)
    names = [f"{number:05d}.mp4" for number in range(args.videos)]
    for number, name in enumerate(tqdm(names, unit="video")):
        options = {"frames": args.frames, "fps": args.fps, "moving_background": args.moving_background}
        clip = numbered_clip(args.seed, number, args.size, **options)
        write_video(folder / name, clip, fps=args.fps, lossless=True)
    training = args.videos - round(args.test * args.videos)
    for split, listed in (("train", names[:training]), ("test", names[training:])):
        atomic_write(folder / f"{split}.txt", "".join(f"{name}\n" for name in listed).encode())
    print(f"wrote {args.videos} videos to {folder}: {training} for training, {args.videos - training} for testing")
    return 0
