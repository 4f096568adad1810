"""`internet train`: train a model, or go on with it."""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from internet.model.config import PRESETS
from internet.training.config import Config
from internet.training.overrides import SettingError, meanings, plain
from internet.training.recipes import recipes

if TYPE_CHECKING:
    from internet.training.distributed import World

ABOUT = """\
Train an INTERnet on videos, or on drawn figures. A run lives in a folder, out=...; the same command goes on with it
where it was left. Settings come from a YAML file or a recipe, and from words like run.batch=8, which change it.

  internet train one-video data.path=me.mp4 out=runs/me
  internet train config.yaml data.path=videos out=runs/first
  torchrun --nproc-per-node 8 -m internet train dance-fashion data.path=fashion out=runs/fashion
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
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING",
        help=f"a YAML file or recipe ({', '.join(recipes())}), and words like key=value",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 at the end or when the time was up, 128 and the signal's number if one stopped it."""
    words = list(args.settings)
    path = words.pop(0) if words and "=" not in words[0] else None
    if not args.settings:
        raise SettingError("no settings; `internet train --help` lists them. The shortest run: out=runs/first")
    config = Config.load(path, words)

    from internet.training.trainer import opened

    return guarded("train", config, lambda world: opened(config, world).run())


def guarded(command: str, config: Config, work: "Callable[[World], int | None]") -> int:
    """Train on the machine that the configuration describes; the command's exit status.

    `work` returns the signal that stopped it, or None.
    """
    import torch

    from internet.training.distributed import World
    from internet.training.step import NonFiniteError

    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    world = World.join(config.run.device)
    try:
        signal = work(world)
    except NonFiniteError as error:
        if world.first:
            print(f"internet {command}: {error}\nthe last checkpoint is of before", file=sys.stderr)
        return 1
    finally:
        world.leave()
    return 0 if signal is None else 128 + signal


def _listing() -> Iterator[str]:
    """Every setting with its default and what it means."""
    yield "settings, with their defaults:"
    yield "  model.preset = internet-512"
    yield f"      the sizes that the other settings of the model change: {', '.join(PRESETS)}"
    default = Config()
    for name, about in meanings(Config).items():
        yield f"  {name} = {json.dumps(plain(default.at(name)))}"
        yield from textwrap.wrap(about, 118, initial_indent=6 * " ", subsequent_indent=6 * " ")
