"""A training run of a few seconds: the smallest possible networks, on drawn figures of 32²."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from internet.model.checkpoint import find_checkpoint
from internet.training.config import Config

ROOT = Path(__file__).parents[2]

SETTINGS = [
    "model.size=32",
    "model.channels=[8,8]",
    "model.blocks=[1,1]",
    "model.depth=1",
    "model.anchors=2",
    "model.anchor_width=4",
    "model.motion_width=4",
    "model.discriminators=1",
    "model.discriminator_width=4",
    "data.workers=0",
    "loss.features.weights=random",
    "optimizer.ema=0.9",
    "run.batch=4",
    "run.threads=1",
    "checkpoint.every=2",
]


def tiny(*words: str) -> Config:
    """Its configuration."""
    return Config.load(None, [*SETTINGS, *words])


def start_training(*words: str, program: tuple[str, ...] = ("-m", "internet"), **variables: str) -> Any:
    """`internet train` in a separate process."""
    return subprocess.Popen(
        [sys.executable, *program, "train", *SETTINGS, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def newest_state(run: Path) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    state: dict[str, Any] = torch.load(find_checkpoint(run), weights_only=True)
    return state


def weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the newest checkpoint of a run, by their paths in it."""
    found: dict[str, Tensor] = {}

    def collect(place: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[place] = value
        elif isinstance(value, (dict, list)):
            for name, item in value.items() if isinstance(value, dict) else enumerate(value):
                collect(f"{place}.{name}", item)

    state = newest_state(folder)
    collect("", {name: state[name] for name in ("model", "ema", "discriminator", "optimizers", "rng")})
    return found
