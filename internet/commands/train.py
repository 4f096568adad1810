"""`internet train`: train a model, or continue its training."""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from internet.model.config import PRESETS
from internet.training.config import Config
from internet.training.recipes import recipes
from internet.utils.settings import SettingError, plain, settings

if TYPE_CHECKING:
    from internet.training.distributed import World

ABOUT = """\
Train an INTERnet on videos, or on drawn figures. A run has its own folder, out=...; the same command continues it
where it was stopped. Settings come from a YAML file or a recipe, and from words like run.batch=8, which change them.

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
    parser.add_argument(
        "--report",
        action="store_true",
        help="at the end, write report.html to the run's folder: a held-out clip before and after, learning curves, "
        "pictures along the way",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0 at the end or when the time is up, 128 plus the signal's number if one stopped it."""
    words = list(args.settings)
    path = words.pop(0) if words and _names_a_file(words[0]) else None
    if not args.settings:
        raise SettingError("no settings; `internet train --help` lists them. The shortest run: out=runs/first")
    config = Config.load(path, words)
    if args.report and not config.validation.path:
        raise SettingError("--report: needs frames that are not trained on; set validation.path")
    return guarded("train", config, lambda world: _train(config, world, report=args.report))


def _train(config: Config, world: "World", *, report: bool) -> int | None:
    """Train to the end, and print where the results are. Returns the signal that stopped it, or None."""
    from internet.training.trainer import resume_or_create

    trainer = resume_or_create(config, world)
    if report:
        from internet.commands._shared.training_report import TrainingReport

        page = TrainingReport(trainer, Path(config.out))
    signal = trainer.run()
    if world.is_main:
        done = f"{trainer.step} steps of {trainer.steps}"
        print(f"{config.out}: {done}; to see it: internet info --checkpoint {config.out}")
        if report and signal is None:
            page.write()
            print(f"{page.path}: a report on the run: open it in a browser")
    return signal


def _names_a_file(word: str) -> bool:
    """Whether the first word is a file or a recipe, not a setting; a file's name may contain "=", too."""
    return "=" not in word or (word.endswith((".yaml", ".yml")) and Path(word).is_file())


def guarded(command: str, config: Config, work: "Callable[[World], int | None]") -> int:
    """Train on the machine that the configuration describes. Returns the command's exit status.

    `work` returns the signal that stopped it, or None.
    """
    import torch

    from internet.training.distributed import PeerError, World
    from internet.training.step import NonFiniteError

    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    world = World.join(config.run.device)
    try:
        with world.noticing_lost_peers():
            signal = work(world)
    except NonFiniteError as error:
        if world.is_main:
            print(f"internet {command}: {error}\nthe last checkpoint predates this failure", file=sys.stderr)
        return 1
    except PeerError:
        return 1
    finally:
        world.leave()
    return 0 if signal is None else 128 + signal


def _listing() -> Iterator[str]:
    """Every setting with its default, its meaning and its range."""
    yield "settings, with their defaults:"
    yield "  model.preset = internet-512"
    yield f"      the sizes that the other model settings change: {', '.join(PRESETS)}"
    default = Config()
    for name, field in settings(Config):
        allowed = str(field.metadata["allowed"])
        about = field.metadata["about"] + (f" ({allowed})" if allowed else "")
        yield f"  {name} = {json.dumps(plain(default.at(name)))}"
        yield from textwrap.wrap(about, 118, initial_indent=6 * " ", subsequent_indent=6 * " ")
