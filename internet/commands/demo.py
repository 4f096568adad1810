"""`internet demo`: the fused operators on this machine, and an animation; or a training run of two minutes."""

import argparse
import dataclasses
import functools
import shlex
from pathlib import Path
from typing import Any

import torch

from internet.commands._shared.arguments import (
    ArgumentError,
    add_folder_arguments,
    argument_errors,
    at_least,
    device,
    result_folder,
)
from internet.data.video import probe
from internet.losses.features import efficientnet
from internet.model import MotionTransfer, load_model
from internet.training.config import Config
from internet.training.config.sections import SYNTHETIC
from internet.utils.files import numbered_folder
from internet.utils.optional import require
from internet.utils.settings import plain

#: Where runs go without --out: each creates its own folder in here.
RUNS = Path("demo")
ACTS = ("operators", "animation", "frames")
CHECKPOINT = "figures"

#: The fraction of a video's frames to train on, and the least number of frames worth splitting.
TRAINED, FEWEST = 0.7, 10

#: Changes to the recipe of a video for so short a run.
SHORT = ("log.every=5", "log.pictures=50", "validation.every=50")

#: What the demo imports later, and what it imports for training.
PACKAGES = {
    "av": "writing a video",
    "tqdm": "the progress bar",
    "torchmetrics": "measuring frames",
    "safetensors": "reading the weights that ship",
}
TRAINING_PACKAGES = PACKAGES | {
    "cv2": "optical flow (DIS)",
    "matplotlib": "drawing the figure",
    "yaml": "reading settings",
    "tensorboard": "writing learning curves",
    efficientnet.PACKAGE: "the perceptual loss",
}


def add_parser(subparsers: Any) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="see what the operators do on this machine, and an animated figure",
        description="Measure the fused operators against eager PyTorch on this machine, animate a drawn figure that "
        "the model was not trained on, measure the whole model, and show everything on one page, report.html, in a new "
        "folder: under 90 seconds on two cores. With --train or --video, train a small model for two minutes instead, "
        "and show its results.",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of the figure, or of the training")
    add_folder_arguments(parser, RUNS)
    show = parser.add_argument_group("what is shown")
    show.add_argument("--only", choices=ACTS, help="one part of it")
    show.add_argument(
        "--checkpoint", metavar="PATH", help=f"the model: a checkpoint or a training folder (default: {CHECKPOINT})"
    )
    show.add_argument("--device", type=device, help="such as cpu or cuda:1 (default: cuda if there is one)")
    train = parser.add_argument_group("training")
    train.add_argument("--train", action="store_true", help="train on drawn figures")
    train.add_argument("--video", metavar="FILE", help="train on this video and hold its end out")
    train.add_argument("--minutes", type=float, metavar="M", help="of training (default: 2)")
    train.add_argument("--no-compare", action="store_true", help="do not time the training step against eager torch")
    train.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="changes to the recipe, as `internet train --help` lists them"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    training = args.train or args.video is not None
    _check(args, training)
    return _train(args) if training else _show(args)


def _check(args: argparse.Namespace, training: bool) -> None:
    """Refuse arguments of one demo with the other."""
    for name in ("only", "checkpoint", "device") if training else ("minutes", "no_compare", "settings"):
        if getattr(args, name) not in (None, False, []):
            flag = "KEY=VALUE" if name == "settings" else f"--{name.replace('_', '-')}"
            raise ArgumentError(f"{flag}: {'cannot be used with' if training else 'needs'} --train or --video")


def _show(args: argparse.Namespace) -> int:
    _require(PACKAGES)
    checkpoint = args.checkpoint or CHECKPOINT
    place = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with argument_errors("--checkpoint"):
        model: MotionTransfer = load_model(checkpoint, device=place)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    from internet.commands._shared.demo.showcase import show

    acts = (args.only,) if args.only else ACTS
    words = ["internet", "demo"]
    words += ["--checkpoint", args.checkpoint] if args.checkpoint else []
    words += ["--seed", str(args.seed)] if args.seed else []
    show(model, result_folder(args, RUNS), shlex.join(words), seed=args.seed, acts=acts)
    return 0


def _train(args: argparse.Namespace) -> int:
    _require(TRAINING_PACKAGES)
    config = _configured(args)
    folder = result_folder(args, RUNS)
    training = numbered_folder(folder, "training") if args.overwrite else folder / "training"
    config = dataclasses.replace(config, out=str(training))

    from internet.commands._shared.demo.training import train_and_report
    from internet.commands.train import guarded

    work = functools.partial(train_and_report, config, folder, compare=not args.no_compare)
    return guarded("demo", config, work)


def _require(packages: dict[str, str]) -> None:
    """Check in advance that all packages are installed, including those needed only at the end."""
    for module, purpose in packages.items():
        require(module, purpose)


def _configured(args: argparse.Namespace) -> Config:
    """The recipe, changed by the options and the words, which must not contradict each other."""
    minutes = 2.0 if args.minutes is None else args.minutes
    own = {"out": "", "seed": args.seed, "run.minutes": minutes, **_samples(args.video)}
    recipe, short = ("one-video-flow", SHORT) if args.video else ("demo", ())
    config = Config.load(recipe, [*short, *args.settings], own)
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
            raise ValueError(
                f"the video has {frames} frames, expected at least {FEWEST}: some to train on, some to hold out"
            )
    cut = round(TRAINED * frames)
    return {
        "data.path": video,
        "data.frames": [0, cut],
        "validation.path": video,
        "validation.frames": [cut, None],
    }
