"""`internet demo` without --train: the three acts, in well under 90 seconds on two cores."""

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from internet import ops
from internet.commands import info
from internet.commands._shared.demo import page
from internet.commands._shared.demo.animation import LABELS, Animation, animate_unseen
from internet.commands._shared.demo.results import Results
from internet.comparison import frames, operators, why_not_fused
from internet.model import MotionTransfer
from internet.utils.files import atomic_write
from internet.utils.machine import processor
from internet.utils.optional import require
from internet.visualization import draw

ACTS = ("operators", "animation", "frames")
REPORT, VIDEO, FIGURE, METRICS = "report.html", "animation.mp4", "figure.png", "metrics.json"

#: How long each operator, and the whole model, is measured.
OPERATOR_SECONDS, MODEL_SECONDS = 4.0, 8.0


def show(model: MotionTransfer, folder: Path, command: str, *, seed: int, acts: Collection[str] = ACTS) -> None:
    """Measure the operators, animate a figure, measure the model; print a summary, write files and the page.

    Args:
        model: in evaluation mode, on the device that is measured.
        folder: where the results go.
        command: that runs this again.
        seed: of the figure.
        acts: which of the three.
    """
    device = next(model.parameters()).device
    missing = _why_not_fused(device)
    results = Results(_machine(device), not missing, tuple(_notes(missing)))
    if "operators" in acts:
        results.operators = _operators(device)
    if "animation" in acts:
        results.animation = animate_unseen(model, seed, folder / VIDEO)
        atomic_write(folder / FIGURE, _figure(results.animation))
    if "frames" in acts:
        source, driving = torch.rand(2, 1, 3, model.config.size, model.config.size, device=device)
        results.frames = frames.measure_frames(model, source, driving, MODEL_SECONDS)
    video = (folder / VIDEO).read_bytes() if results.animation else None
    atomic_write(folder / METRICS, json.dumps(results.to_dict(), indent=2).encode())
    atomic_write(folder / REPORT, page.render(results, video, command))
    print(f"{results.screen()}\n\n{_written(folder)}")


def _operators(device: torch.device) -> list[operators.OperatorSpeed]:
    tqdm = require("tqdm", "the progress bar").tqdm
    bar = tqdm(operators.paper(), desc="fused against eager", unit="operator", disable=None, leave=False)
    return [operators.measure(workload, device, OPERATOR_SECONDS) for workload in bar]


def _why_not_fused(device: torch.device) -> str:
    """Why there are no fused operators for this device; empty if there are."""
    backends = ("cuda", "triton") if device.type == "cuda" else (device.type,)
    reasons = {name: why_not_fused(name, ops.OPERATORS) for name in backends}
    return "" if "" in reasons.values() else "; ".join(f"{name}: {why}" for name, why in reasons.items())


def _notes(missing: str) -> Iterator[str]:
    """What a reader must know about the numbers; `missing` is the reason if there are no fused operators."""
    if missing:
        yield f"Fused operators are missing here, and the reference in plain PyTorch stands in for them: {missing}."
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows does not have it
    cores = os.cpu_count() or 1
    if load > cores:
        yield f"{load:.0f} processes ran on {cores} cores at the start: times are long and ratios inaccurate."


def _machine(device: torch.device) -> dict[str, str]:
    gathered = info.gather()
    versions = gathered["versions"]
    return {
        "processor": processor(device),
        "threads": f"{torch.get_num_threads()} on {os.cpu_count()} cores",
        "kernels for": gathered["cpu"]["instruction set"] or "no instruction set: they were not built",
        "backend": f"{device.type}, {gathered['backends'][device.type]}",
        "versions": f"internet {versions['internet']}, torch {versions['torch']}, Python {versions['python']}",
        "system": versions["platform"],
    }


def _figure(animation: Animation) -> bytes:
    """Two of the frames, one row each; small, and drawn without matplotlib."""
    names = [name for row in LABELS for name in row]
    rows = [[panel for name, panel in row if name in names] for row in animation.rows[1::2]]
    return draw.encode_png(draw.tile(rows))


def _written(folder: Path) -> str:
    about = {
        REPORT: "all of it on one page: open it in a browser",
        VIDEO: "the animation",
        FIGURE: "two of its frames: source, driving frame, output, motion, confidence, regions",
        METRICS: "the numbers",
    }
    return "\n".join(f"{folder / name!s:32}  {what}" for name, what in about.items() if (folder / name).exists())
