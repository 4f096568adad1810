"""Export weights: ``python -m internet.weights.export runs/figures figures --background runs/background``.

The model is that of the first training run, and the predictor of its background's motion that of the second.

They are stored in float16, which is precise enough for the averaged weights of a run, with a card in Markdown that says
how they were made and how good they are.
"""

import argparse
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from internet.evaluation.drawn_figures import measure_on_figures
from internet.model import MotionTransfer
from internet.model.checkpoint import build_model, find_checkpoint, load_model, read_checkpoint, save_model
from internet.utils.files import atomic_write

FOLDER = Path(__file__).parent

#: What a card says about a training run.
MADE = ("seed", "steps", "batch", "background")

#: Rows of the card: title, metric, and the same metric for a model that does nothing.
ROWS = (
    ("motion error, pixels", "epe", "epe_zero"),
    ("PSNR, dB", "psnr", "repeated_psnr"),
    ("SSIM", "ssim", "repeated_ssim"),
    ("PSNR over the person, dB", "person_psnr", "repeated_person_psnr"),
    ("SSIM over the person", "person_ssim", "repeated_person_ssim"),
    ("sharpness over the person (1: the real frame's)", "person_sharpness", "repeated_person_sharpness"),
    ("M where the source shows the same", "confidence_visible", ""),
    ("M where the source's figure stood and is gone", "confidence_vacated", ""),
)

CARD = """# Weights `{name}`

`internet.load_model("{name}")`, `internet animate --checkpoint {name}`. {parameters:.1f} M parameters in float16,
{bytes:.1f} MB, frames of {size}².

## How they were made

```
internet train {recipe} out=runs/{name}
internet train {recipe}-background warm_start=runs/{name} out=runs/background
python -m internet.weights.export runs/{name} {name} --background runs/background
```

{origin}

Trained on drawn figures alone, as `internet synth` writes them: walkers of many builds, dresses and gestures before
still walls. How the background moves was learned afterwards, alone, before walls that move. Everything that the drawing
knows teaches the model: the motion of each pixel, where each part of the body is, what the source does not show. None
of that supervision is the paper's; `docs/training.md` tells what each term is.

## How good they are

{samples} frames of drawn clips that neither training nor validation has seen, the source being each clip's
first frame:

| | still background | repeating the source | moving background | repeating the source |
|---|--:|--:|--:|--:|
{rows}

## What they cannot do

* **People.** They have seen flat figures of twelve rigid parts, in profile or nearly so. A photograph of a person gives
  smears; train on a video of theirs (`internet train one-video`).
* **Cameras that move far.** Between the first frame and any other the background may move by a sixth of the frame.
* **What the source hides.** Ground behind the figure is painted in the wall's colours, without its fine texture; a
  limb that the source hides is guessed.
* **Other sizes.** Frames whose sides are multiples of {multiple} run, but sizes far from {size} were never seen.
"""


def export(
    run: str,
    name: str,
    *,
    background: str | None = None,
    recipe: str = "figures",
    folder: Path = FOLDER,
    samples: int = 256,
    commit: str = "unknown",
    note: str = "on an unnamed machine",
) -> None:
    """Write `name`.safetensors and `name`.md to a folder.

    Args:
        run: a training run or checkpoint, or weights that were exported before.
        name: of the weights.
        background: the run or checkpoint from which the predictor of the background's motion is taken.
        recipe: that the run was made with.
        folder: where they go; the library's own by default.
        samples: how many drawn samples to average over, for each kind of background.
        commit: of the code used for training.
        note: for the card: on which machine, and for how long.
    """
    checkpoint = read_checkpoint(find_checkpoint(run))
    model, made = build_model(checkpoint, run), {**_made(checkpoint), "commit": commit}
    if background is not None:
        later = read_checkpoint(find_checkpoint(background))
        made["background"] = _made(later)
        model = _with_background(model, build_model(later, background), background)
    file = folder / f"{name}.safetensors"
    save_model(file, model.half(), metadata=made)
    model = load_model(file)  # measured as it ships
    still, moving = (measure_on_figures(model, samples=samples, moving_background=moves) for moves in (0.0, 1.0))
    save_model(file, model.half(), metadata={**made, "metrics": still, "metrics_moving_background": moving})
    card = CARD.format(
        name=name,
        recipe=recipe,
        origin=textwrap.fill(_origin(made, note), 120),
        samples=samples,
        parameters=sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        bytes=file.stat().st_size / 1e6,
        size=model.config.size,
        multiple=model.config.multiple,
        rows="\n".join(_row(*row, still, moving) for row in ROWS),
    )
    atomic_write(folder / f"{name}.md", card.encode())


def _made(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """How a training run, or the weights that were made of one, came to be."""
    if "config" not in checkpoint:
        return {name: checkpoint["metadata"][name] for name in MADE if name in checkpoint["metadata"]}
    config = checkpoint["config"]
    return {"seed": config["seed"], "steps": checkpoint["step"], "batch": config["run"]["batch"]}


def _origin(made: Mapping[str, Any], note: str) -> str:
    said = f"Seed {made['seed']}, {made['steps']} steps of {made['batch']} samples, commit {made['commit']}; {note}."
    if later := made.get("background"):
        said += f" The background's motion: seed {later['seed']}, {later['steps']} steps of {later['batch']} samples."
    return said


def _with_background(model: MotionTransfer, other: MotionTransfer, origin: str) -> MotionTransfer:
    """The model with the other's predictor of the background's motion; a ValueError if that one has none."""
    if other.background_predictor is None:
        raise ValueError(f"the model of '{origin}' has a still background, expected one that is 'affine'")
    config = {**model.config.to_dict(), "background": "affine"}
    predictor = {name: value for name, value in other.state_dict().items() if name.startswith("background_predictor.")}
    made = {"architecture": model.architecture, "model_config": config, "model": {**model.state_dict(), **predictor}}
    return build_model(made, origin)


def _row(label: str, metric: str, idle: str, *measured: Mapping[str, float]) -> str:
    cells = [_cell(metrics.get(key)) for metrics in measured for key in (metric, idle)]
    return f"| {label} | {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m internet.weights.export", description=__doc__)
    parser.add_argument("run", help="a training run, or a checkpoint of one")
    parser.add_argument("name", help="of the weights: NAME.safetensors and NAME.md are written")
    parser.add_argument("--background", metavar="RUN", help="the run that trained how the background moves")
    parser.add_argument("--recipe", default="figures", help="by which the run was made (default: figures)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they go (default: the library's own)")
    parser.add_argument("--samples", type=int, default=256, help="drawn samples to measure on (default: 256)")
    parser.add_argument("--commit", default="unknown", help="of the code that trained")
    parser.add_argument("--note", default="on an unnamed machine", help="for the card: on what and for how long")
    export(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
