"""`internet demo`: train a small model for two minutes, and show what it has learnt on what it has not seen."""

import argparse
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

from internet.commands._shared.arguments import (
    ArgumentError,
    add_folder_arguments,
    argument_errors,
    at_least,
    result_folder,
)
from internet.data.video import probe
from internet.losses.features import efficientnet
from internet.training.config import Config
from internet.training.overrides import plain
from internet.training.sections import SYNTHETIC
from internet.utils.files import numbered_folder
from internet.utils.optional import require

#: Where runs go when no --out is given: each makes its own folder in here.
RUNS = Path("demo")
#: The first frames of a video are trained on, by this fraction; so few frames are not worth dividing.
TRAINED, FEWEST = 0.7, 10

#: For a run so short, over what the recipe of a video says.
SHORT = ("log.every=5", "log.pictures=50", "validation.every=50")

#: What the demo imports on its way.
PACKAGES = {
    "yaml": "reading settings",
    "av": "writing a video",
    "cv2": "optical flow (DIS)",
    "matplotlib": "drawing the figure",
    "tqdm": "the progress bar",
    "tensorboard": "writing learning curves",
    "torchmetrics": "measuring frames",
    efficientnet.PACKAGE: "the perceptual loss",
}


def add_parser(subparsers: Any) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="train a small model for two minutes and show what it does",
        description="Train a small model on drawn figures, or on the first frames of a video, animate a clip that it "
        "has not seen, measure it before and after, and time the same training step with fused operators and with "
        "eager torch. Everything goes into a new folder.",
    )
    parser.add_argument("--video", metavar="FILE", help="train on this video and hold its end out")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="M", help="of training (default: 2)")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights and samples (default: 0)")
    parser.add_argument("--no-compare", action="store_true", help="do not time the training step against eager torch")
    add_folder_arguments(parser, RUNS)
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="changes to the recipe, as `internet train --help` lists them"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    _require_packages()
    config = _configured(args)
    folder = result_folder(args, RUNS)
    training = numbered_folder(folder, "training") if args.overwrite else folder / "training"
    config = dataclasses.replace(config, out=str(training))

    from internet.commands._shared.training_demo import demonstrate
    from internet.commands.train import guarded

    show = functools.partial(demonstrate, config, folder, compare=not args.no_compare)
    return guarded("demo", config, show)


def _require_packages() -> None:
    """Find out before the work whether the packages for it, and for its end, are there."""
    for module, purpose in PACKAGES.items():
        require(module, purpose)


def _configured(args: argparse.Namespace) -> Config:
    """The recipe with what the options and the words say; they must not say different things."""
    own = {"out": "", "seed": args.seed, "run.minutes": args.minutes, **_samples(args.video)}
    words = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in own.items()]
    recipe, short = ("one-video", SHORT) if args.video else ("demo", ())
    config = Config.load(recipe, [*short, *words, *args.settings])
    for name, value in own.items():
        if (found := plain(config.at(name))) != value:
            raise ArgumentError(f"{name}: got {found!r}, but the command itself sets it, to {value!r}; see --help")
    return config


def _samples(video: str | None) -> dict[str, Any]:
    """The settings that say what to train on, and what to hold out."""
    if video is None:
        return {"data.path": SYNTHETIC, "validation.path": SYNTHETIC}
    with argument_errors("--video"):
        frames = probe(video).frames
        if frames < FEWEST:
            raise ValueError(f"the video has {frames} frames, expected at least {FEWEST}: some to train on, some not")
    cut = round(TRAINED * frames)
    return {
        "data.path": video,
        "data.frames": [0, cut],
        "validation.path": video,
        "validation.frames": [cut, None],
    }
