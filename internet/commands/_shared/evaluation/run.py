"""An evaluation in its folder, clip after clip; continues where it was stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from internet.commands._shared.resumable_folder import open_resumable
from internet.evaluation.clip_evaluation import evaluate_clip
from internet.evaluation.clip_result import ClipResult, from_json, to_json
from internet.evaluation.pairs import ClipPair
from internet.evaluation.suite import Suite
from internet.evaluation.summary import Mean, summarise
from internet.utils.files import atomic_write
from internet.utils.optional import require

#: Files of a folder: the settings, which identify it; the results; for each clip numbers and a video.
SETTINGS, METRICS, REPORT, CLIPS, VIDEOS = "evaluation.json", "metrics.json", "report.html", "clips", "videos"


def open_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Create the folder, or continue in one with the same settings; see :func:`open_resumable`."""
    open_resumable(folder, SETTINGS, settings)
    for name in (CLIPS, VIDEOS):
        (folder / name).mkdir(exist_ok=True)


def clip_stem(number: int) -> str:
    """The name of a clip's files without their suffix: a clip's own name may contain anything."""
    return f"{number:05d}"


def measure_clips(folder: Path, clips: Sequence[ClipPair], suite: Suite) -> list[ClipResult]:
    """Measure the remaining clips, writing each as soon as it is done. Returns all results."""
    tqdm = require("tqdm", "the progress bar").tqdm
    results = []
    with tqdm(desc="measuring", unit="frame", total=sum(clip.length for clip in clips), disable=None) as bar:
        for number, clip in enumerate(clips):
            stem = folder / CLIPS / clip_stem(number)
            result = ClipResult.load(stem)
            if result is None:
                bar.set_postfix_str(clip.name)
                result = evaluate_clip(clip, suite, folder / VIDEOS / f"{stem.name}.mp4", bar.update)
                result.save(stem)
            else:
                bar.update(result.frames)
            results.append(result)
    return results


def write_metrics(
    folder: Path, settings: dict[str, Any], machine: dict[str, str], suite: Suite, clips: Sequence[ClipResult]
) -> dict[str, Mean]:
    """Write metrics.json. Returns the means."""
    means = summarise(suite, clips)
    content = {
        "settings": settings,
        "machine": machine,
        "columns": {column.key: _described(column) for column in suite.columns},
        "not measured": suite.missing,
        "means": {key: mean._asdict() for key, mean in means.items()},
        "clips": [clip.to_dict() for clip in clips],
    }
    atomic_write(folder / METRICS, json.dumps(to_json(content), indent=1).encode())
    return means


def _described(column: Any) -> dict[str, str]:
    names = ("title", "better", "about", "weights", "instead_of")
    return {name: getattr(column, name) for name in names if getattr(column, name)}


def read_metrics(folder: Path) -> dict[str, Any]:
    """What :func:`write_metrics` wrote."""
    content: dict[str, Any] = from_json(json.loads((folder / METRICS).read_bytes()))
    return content
