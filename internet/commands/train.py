"""`internet train`: train a model, or go on with it."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from internet.model.config import PRESETS
from internet.training.config import Config
from internet.training.overrides import SettingError, plain, settings

ABOUT = """\
Train an INTERnet on videos, or on drawn figures. A run lives in a folder, out=...; the same command goes on with it
where it was left. Settings come from a YAML file of sections and from words like run.batch=8, which go before it.

  internet train out=runs/tiny model.preset=tiny run.minutes=15
  internet train config.yaml data.path=videos out=runs/first
  torchrun --nproc-per-node 8 -m internet train config.yaml
"""


def add_parser(subparsers: Any) -> None:
    """Add `train` to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on videos or on drawn figures",
        description=ABOUT,
        epilog="\n".join(_listing()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="a YAML file, and words like key=value")


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 at the end or when the time was up, 128 and the signal's number if one stopped it."""
    words = list(args.settings)
    path = words.pop(0) if words and "=" not in words[0] else None
    if not args.settings:
        raise SettingError("no settings; `internet train --help` lists them. The shortest run: out=runs/first")
    config = Config.load(path, words)

    import torch

    from internet.training.distributed import World
    from internet.training.step import NonFiniteError
    from internet.training.trainer import train

    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    world = World.join(config.run.device)
    try:
        signal = train(config, world)
    except NonFiniteError as error:
        if world.first:
            print(f"internet train: {error}\nthe last checkpoint is of before", file=sys.stderr)
        return 1
    finally:
        world.leave()
    return 0 if signal is None else 128 + signal


def _listing() -> Iterator[str]:
    """Every setting with its default and what it means; what the fields of other modules mean is said there."""
    yield "settings, with their defaults:"
    yield "  model.preset = internet-512"
    yield f"      the sizes that the other settings of the model change: {', '.join(PRESETS)}"
    default = Config()
    for name, field in settings(Config):
        yield f"  {name} = {json.dumps(plain(default.at(name)))}"
        if about := field.metadata.get("about"):
            yield f"      {about}"
