"""What `internet demo` does once it knows how: measure, train, measure again, animate, draw, time, and tell."""

import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from internet import ops
from internet.commands._shared.held_out_clip import HeldOutClip
from internet.commands._shared.table import table
from internet.comparison import Comparison, not_compared, why_not_fused
from internet.inference import animate_video
from internet.model import INTERnet, load_model
from internet.training.compare import compare_training
from internet.training.config import Config
from internet.training.curves import read_curves
from internet.training.distributed import World
from internet.training.sections import SYNTHETIC
from internet.training.trainer import Trainer, opened
from internet.utils.files import atomic_write
from internet.utils.optional import require
from internet.visualization import draw
from internet.visualization.charts import Curve, line_charts, png
from internet.visualization.figures import transfer_panels

VIDEO, FIGURE, CURVES, METRICS, DRIVING = "side-by-side.mp4", "figure.png", "curves.png", "metrics.json", "driving.mp4"

#: What is printed: a label, the metric, and the same of a model that does nothing.
ROWS = (
    ("PSNR (dB)", "psnr", "repeated_psnr"),
    ("SSIM", "ssim", "repeated_ssim"),
    ("motion error (pixels)", "epe", "epe_zero"),
)


class RunSummary(NamedTuple):
    """A run of training: metrics on held-out samples before and after it, and how long it took."""

    before: dict[str, float]
    after: dict[str, float]
    steps: int
    seconds: float


def demonstrate(config: Config, folder: Path, world: World, *, compare: bool) -> int | None:
    """Train as configured, and write and print what came of it.

    Args:
        config: `data` and `validation` are of drawn figures, or of one video.
        folder: where the results go.
        compare: time the training step with fused operators and with eager torch.

    Returns:
        The signal that stopped the training, if one did.
    """
    trainer = opened(config, world)
    summary, signal = _train(trainer)
    if signal is not None:
        print(f"stopped; go on with: internet train {config.out}/config.yaml")
        return signal
    held_out = _held_out(config, folder)
    model = load_model(config.out, device=world.device)
    frames = _animate(model, held_out, folder / VIDEO)
    atomic_write(folder / FIGURE, draw_figure(model, held_out))
    atomic_write(folder / CURVES, chart(config.out, summary.before))
    print(f"\n{_title(config)}: {summary.steps} steps in {summary.seconds:.0f} s\n\n{metrics_table(summary)}\n")
    comparison = _compared(trainer) if compare else None
    atomic_write(folder / METRICS, json.dumps(_record(summary, comparison), indent=2).encode())
    print(_account(config, folder, frames))
    return None


def _train(trainer: Trainer) -> tuple[RunSummary, int | None]:
    trainer.keep(validate=True, save=False)
    before, begin = trainer.metrics, time.perf_counter()
    signal = trainer.run()
    return RunSummary(before, trainer.metrics, trainer.step, time.perf_counter() - begin), signal


def _held_out(config: Config, folder: Path) -> HeldOutClip:
    if config.data.path == SYNTHETIC:
        return HeldOutClip.drawn(config, folder / DRIVING)
    return HeldOutClip.end_of(Path(config.validation.path), config.validation.frames[0] or 0)


def _animate(model: INTERnet, held_out: HeldOutClip, path: Path) -> int:
    tqdm = require("tqdm", "the progress bar").tqdm
    count = held_out.stop - held_out.start
    bar = functools.partial(tqdm, desc="animating", unit="frame", total=count, disable=None)
    options: dict[str, Any] = {"start": held_out.start, "side_by_side": True, "progress": bar}
    return animate_video(model, held_out.source, held_out.driving, path, **options)


@torch.no_grad()
def draw_figure(model: INTERnet, held_out: HeldOutClip, count: int = 4) -> bytes:
    """What the model makes of a few held-out frames, a row each, as the bytes of a PNG file."""
    numbers = held_out.numbers(count)
    source, target = held_out.pictures(numbers, model.config.size)
    device = next(model.parameters()).device
    result = model(source.to(device), target.to(device))
    rows = transfer_panels(result, source, target)
    title = f"{held_out.driving.name}, frames {', '.join(map(str, numbers))} by frame 0: not trained on"
    panels = [panel for row in rows for panel in row]
    return png(draw.figure(panels, columns=len(rows[0]), title=title, inches=2.0))


def chart(run: str, before: dict[str, float]) -> bytes:
    """The learning curves of a run, which begin with the metrics from before it, as the bytes of a PNG file."""
    told = read_curves(run)

    def held_out(name: str) -> Curve:
        return [(0.0, before[name]), *told[f"validation/{name}"]]

    charts: dict[str, dict[str, Curve]] = {}
    if "training/total" in told:  # a run of a few steps tells no loss
        charts["loss"] = {"total": told["training/total"]}
    charts["PSNR (dB), held out"] = {"output": held_out("psnr"), "source, repeated": held_out("repeated_psnr")}
    if "epe" in before:
        motion = {"motion field": held_out("epe"), "no motion": held_out("epe_zero")}
        charts["motion error (pixels), held out"] = motion
    return png(line_charts(charts))


def metrics_table(summary: RunSummary) -> str:
    """The metrics of a model that does nothing, of the untrained one, and of the trained one."""
    before, after = summary.before, summary.after
    rows = {label: [after[idle], before[name], after[name]] for label, name, idle in ROWS if name in after}
    return table(["doing nothing", "untrained", "trained"], rows, digits=3)


def _compared(trainer: Trainer) -> Comparison | None:
    """Time the training step, and say how it went."""
    if missing := why_not_fused(trainer.world.device.type, ops.OPERATORS):
        print(not_compared(missing) + "\n")
        return None
    found = compare_training(trainer)
    print(found.describe("training") + "\n")
    return found


def _record(summary: RunSummary, comparison: Comparison | None) -> dict[str, Any]:
    timed = None if comparison is None else dataclasses.asdict(comparison) | {"ratio": comparison.ratio}
    return {**summary._asdict(), "fused_against_eager": timed}


def _title(config: Config) -> str:
    data = "drawn figures" if config.data.path == SYNTHETIC else f"{Path(config.data.path).name}, first frames"
    return f"{data}, {config.model.size} x {config.model.size}"


def _account(config: Config, folder: Path, frames: int) -> str:
    """What was written, and what can be done with it."""
    written = {
        folder / VIDEO: f"{frames} held-out frames: source, driving frame, output",
        folder / FIGURE: "four of them: anchors, output, error, motion, confidence, regions",
        folder / CURVES: "the learning curves",
        folder / METRICS: "the numbers",
        Path(config.out): "the run: checkpoints, config.yaml, curves for tensorboard",
    }
    width = max(len(str(path)) for path in written)
    lines = [f"{path!s:{width}}  {what}" for path, what in written.items()]
    more = f"internet animate --checkpoint {config.out} --source PICTURE --driving VIDEO --out VIDEO"
    return "\n".join([*lines, f"\nanimate a picture of yours with: {more}"])
