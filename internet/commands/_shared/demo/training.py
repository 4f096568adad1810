"""`internet demo --train`: train a small model, and show its results on data that it was not trained on."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from internet import ops
from internet.commands._shared.training_report import FIGURE, REPORT, VIDEO, TrainingReport, animate_command
from internet.comparison import Comparison, not_compared, why_not_fused
from internet.training.compare_steps import compare_training
from internet.training.config import Config
from internet.training.config.sections import SYNTHETIC
from internet.training.distributed import World
from internet.training.trainer import Trainer, resume_or_create
from internet.utils.files import atomic_write

METRICS = "metrics.json"


def train_and_report(config: Config, folder: Path, world: World, *, compare: bool) -> int | None:
    """Train as configured, and write and print the results.

    Args:
        config: `data` and `validation` are drawn figures, or one video.
        folder: where the results go.
        compare: time the training step with fused operators and with eager torch.

    Returns:
        The signal that stopped the training, if one did.
    """
    trainer = resume_or_create(config, world)
    report = TrainingReport(trainer, folder)
    signal = trainer.run()
    if signal is not None:
        print(f"stopped; continue with: internet train {config.out}/config.yaml")
        return signal
    report.write()
    print(f"\n{_title(config)}: {trainer.step} steps in {report.seconds:.0f} s\n\n{report.metrics_table()}\n")
    comparison = _compared(trainer) if compare else None
    atomic_write(folder / METRICS, json.dumps(_record(report, comparison), indent=2).encode())
    print(_account(config, folder))
    return None


def _compared(trainer: Trainer) -> Comparison | None:
    """Time the training step, and describe the result."""
    if missing := why_not_fused(trainer.world.device.type, ops.OPERATORS):
        print(not_compared(missing) + "\n")
        return None
    found = compare_training(trainer)
    print(found.describe("training") + "\n")
    return found


def _record(report: TrainingReport, comparison: Comparison | None) -> dict[str, Any]:
    timed = None if comparison is None else dataclasses.asdict(comparison) | {"ratio": comparison.ratio}
    return {
        "before": report.metrics_before,
        "after": report.trainer.metrics,
        "steps": report.trainer.step,
        "seconds": report.seconds,
        "fused_against_eager": timed,
    }


def _title(config: Config) -> str:
    data = "drawn figures" if config.data.path == SYNTHETIC else f"{Path(config.data.path).name}, first frames"
    return f"{data}, {config.model.size} x {config.model.size}"


def _account(config: Config, folder: Path) -> str:
    """The files that were written, and what to do with them."""
    written = {
        folder / REPORT: "all of it on one page: open it in a browser",
        folder / VIDEO: "held-out frames: source, driving frame, before, after",
        folder / FIGURE: "four of them: anchors, output, error, motion, confidence, regions",
        folder / METRICS: "the numbers",
        Path(config.out): "the run: checkpoints, config.yaml, curves for tensorboard",
    }
    width = max(len(str(path)) for path in written)
    lines = [f"{path!s:{width}}  {what}" for path, what in written.items()]
    return "\n".join([*lines, f"\nanimate a picture of your own with: {animate_command(config.out)}"])
