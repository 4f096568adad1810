"""`internet ablate`: the paper's Table 2, for schemes trained on your own clips or on drawn figures."""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import torch

from internet.commands._shared.ablation.job import TRAINING, Job
from internet.commands._shared.ablation.material import Material
from internet.commands._shared.ablation.page import render
from internet.commands._shared.ablation.pool import run_jobs
from internet.commands._shared.ablation.results import (
    Results,
    anchor_rows,
    gather,
    order_rows,
    orders,
    table_rows,
    verdict_rows,
)
from internet.commands._shared.ablation.schemes import SCHEMES, TABLE_2
from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least, positive
from internet.commands._shared.resumable_folder import open_resumable
from internet.commands._shared.text_table import text_table
from internet.evaluation.pairs import clip_frames
from internet.evaluation.suite import MEASURES
from internet.model import load_model
from internet.training.config.sections import SYNTHETIC
from internet.utils.files import atomic_write
from internet.utils.machine import processor
from internet.utils.optional import require
from internet.visualization import draw
from internet.visualization.figures import Panel, compare_sheet

SETTINGS, REPORT, RESULTS, TABLES = "ablation.json", "report.html", "results.json", "tables.txt"
#: Measured by default: not key points, which are unreliable in frames as small as these.
MEASURED = tuple(name for name in MEASURES if name != "pose")
#: Driving frames of the figures.
COLUMNS = 3


def add_parser(subparsers: Any) -> None:
    """Add `ablate` to the command line."""
    parser = subparsers.add_parser(
        "ablate",
        help="train and compare the paper's schemes of temporal regularisation",
        description="Train every scheme of the paper's Table 2 with the same budget, seeds and data (the recipe "
        "'ablation'), measure all, and write the table with means and deviations, which orders hold, Figs. 7 and 8, "
        "the mean of M over training, and how many anchors lie on the background. The same command with the same --out "
        "continues where it was stopped; more seeds and schemes can be added.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"clips: a video, a folder of frames, a folder of these; or '{SYNTHETIC}', drawn ones",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive, metavar="M", help="the budget of each training, by the clock")
    budget.add_argument(
        "--steps", type=at_least(1), metavar="N", help="or in steps: fair if the machine has other load"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where all results go")
    parser.add_argument("--seeds", type=at_least(1), default=3, metavar="N", help="how many (default: 3)")
    parser.add_argument(
        "--schemes",
        nargs="+",
        choices=tuple(SCHEMES),
        metavar="NAME",
        help=f"of {', '.join(SCHEMES)} (default: Table 2's)",
    )
    parser.add_argument(
        "--future-work",
        action="store_true",
        help="the paper's last paragraph too: loss at 3 scales, cross-identity flow",
    )
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="side by side (default: 1)")
    parser.add_argument(
        "--measures", nargs="+", choices=tuple(MEASURES), default=MEASURED, metavar="NAME", help="as for `evaluate`"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the recipe, for all schemes"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    if args.schemes and args.future_work:
        raise ArgumentError("--future-work adds to the schemes of Table 2; with --schemes, name them there")
    tqdm = require("tqdm", "the progress bar").tqdm
    jobs = _jobs(args)
    with argument_errors("--set"):
        size = jobs[0].size
    _open(args)
    with argument_errors("DATA"):
        material = jobs[0].material()
    with argument_errors("--set"):
        for job in jobs:
            job.config(material)
    bar = functools.partial(tqdm, desc="ablating", unit="job", total=len(jobs), disable=None)
    whole = run_jobs(jobs, args.processes, bar)
    results = gather(jobs)
    if results.clips:
        _write(args, results, jobs, material, size)
    return 0 if whole else 130


def _jobs(args: argparse.Namespace) -> list[Job]:
    """Seed by seed."""
    schemes = args.schemes or [name for name in SCHEMES if name in TABLE_2 or args.future_work]
    budget = {"minutes": args.minutes, "steps": args.steps}
    return [
        Job(scheme, seed, args.out, args.data, tuple(args.set), measures=tuple(args.measures), **budget)
        for seed in range(args.seeds)
        for scheme in schemes
    ]


def _open(args: argparse.Namespace) -> None:
    """Create the folder, or continue in one with the same settings."""
    names = ("data", "minutes", "steps", "measures", "set")
    settings = {name: list(value) if isinstance(value := getattr(args, name), tuple) else value for name in names}
    with argument_errors("--out"):
        open_resumable(args.out, SETTINGS, settings)


def _write(args: argparse.Namespace, results: Results, jobs: list[Job], material: Material, size: int) -> None:
    """Tables on the screen and in files, the figures, the page."""
    found = orders(results)
    tables = (table_rows(results), verdict_rows(found), order_rows(found), anchor_rows(results))
    text = "\n\n".join(text_table(headings, rows) for headings, rows in tables if rows)
    print(text)
    atomic_write(args.out / TABLES, f"{text}\n".encode())
    content = {
        "table": table_rows(results),
        "orders": order_rows(found),
        "anchors": anchor_rows(results),
        "steps": {f"{scheme} {seed}": steps for (scheme, seed), steps in results.steps.items()},
    }
    atomic_write(args.out / RESULTS, json.dumps(content, indent=1).encode())
    sheets = _sheets(results, jobs, material, size)
    for number, rows in zip((7, 8), sheets.values(), strict=True):
        figure = draw.figure([panel for row in rows for panel in row], columns=len(rows[0]), inches=1.6)
        atomic_write(args.out / f"figure-{number}.png", draw.figure_png(figure))
    steps = sorted(set(results.steps.values()))
    facts = {
        "data": material.about,
        "budget": f"{args.minutes:g} minutes each" if args.minutes else f"{args.steps} steps each",
        "steps": str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}",
        "frames": f"{size} × {size}",
        "processor": processor(torch.device("cpu")),
        "torch": torch.__version__,
    }
    atomic_write(args.out / REPORT, render(results, material.about, sheets, facts, args.line))
    print(f"{args.out / TABLES}: these tables\n{args.out / REPORT}: the same to look at, with Figs. 7 and 8")


def _sheets(results: Results, jobs: list[Job], material: Material, size: int) -> dict[str, list[list[Panel]]]:
    """Figs. 7 and 8: the first measured clip, animated by the models of the first seed."""
    places = {job.scheme: job.place / TRAINING for job in jobs if (job.scheme, job.seed) in results.clips}
    first = {job.scheme: job.place / TRAINING for job in jobs if job.seed == 0 and job.scheme in places}
    models = {SCHEMES[scheme].title: load_model(first.get(scheme, places[scheme])) for scheme in results.schemes}
    frames = list(clip_frames(material.clips[0], size))
    driven = frames[slice(*material.driving)]
    chosen = [driven[len(driven) * (place + 1) // COLUMNS - 1] for place in range(COLUMNS)]
    anchors, motions = compare_sheet(models, frames[0], torch.cat(chosen))
    return {
        "Like Fig. 7: the same driving frames for every scheme, with its anchors, and its output.": anchors,
        "Like Fig. 8: the region that each anchor moves, and the confidence, white where it is 1.": motions,
    }
