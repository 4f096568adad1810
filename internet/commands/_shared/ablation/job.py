"""One scheme with one seed: trained for its budget, measured, and its anchors examined."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from internet.commands._shared.ablation.material import Material, prepare
from internet.commands._shared.ablation.schemes import SCHEMES
from internet.commands._shared.evaluation.run import measure_clips, open_folder, write_metrics
from internet.evaluation.anchors_on_background import share_in_use, share_on_background
from internet.evaluation.measure import mean
from internet.evaluation.pairs import clip_frames, self_imitations
from internet.evaluation.suite import make_suite
from internet.model import MotionTransfer, load_model
from internet.training.config import Config
from internet.training.distributed import World
from internet.training.trainer import resume_or_create
from internet.utils.files import atomic_write
from internet.utils.machine import processor

TRAINING, MEASURED, SPENT, ANCHORS = "training", "evaluation", "spent.json", "anchors.json"


@dataclass(frozen=True)
class Job:
    """scheme: of :data:`SCHEMES`. seed: of weights and samples. folder: of the whole ablation. data: to train and
    measure on.

    words: settings that the user changed for all schemes. minutes, steps: the budget; one of them is None.
    measures: names of :data:`internet.evaluation.suite.MEASURES`.
    """

    scheme: str
    seed: int
    folder: Path
    data: str
    words: tuple[str, ...]
    minutes: float | None
    steps: int | None
    measures: tuple[str, ...]
    threads: int = 1

    @property
    def place(self) -> Path:
        """The job's own folder."""
        return self.folder / "runs" / f"{self.scheme}-{self.seed}"

    @property
    def size(self) -> int:
        """Side of the frames."""
        return self._config({}).model.size

    def material(self) -> Material:
        """The material to train and measure on."""
        return prepare(self.data, self.folder / "clips", self.size)

    def config(self, material: Material) -> Config:
        """The configuration of the training."""
        settings = material.settings | {"data.flow.cache": str(self.folder / "flow"), "run.steps": self.steps}
        config = self._config(settings)
        return replace(config, out=str(self.place / TRAINING))

    def _config(self, settings: dict[str, Any]) -> Config:
        changes = {"seed": self.seed, "run.epochs": 10**9, "run.threads": self.threads, **settings}
        return Config.load("ablation", self.words, changes | dict(SCHEMES[self.scheme].changes))


def run_job(job: Job) -> bool:
    """Do the remaining part of a job. False if it was asked to stop. A finished job takes no time."""
    if (job.place / ANCHORS).exists():
        return True
    torch.set_num_threads(job.threads)
    job.place.mkdir(parents=True, exist_ok=True)
    material = job.material()
    if not _train(job, material):
        return False
    _measure(job, material)
    return True


def _train(job: Job, material: Material) -> bool:
    """Train until the budget is spent, including what was spent before. False if stopped by a signal."""
    spent = job.place / SPENT
    before = json.loads(spent.read_text()) if spent.exists() else {"seconds": 0.0, "done": False}
    if before["done"]:
        return True
    config = job.config(material)
    if job.minutes is not None:
        left = max(job.minutes - before["seconds"] / 60, 0)
        config = replace(config, run=replace(config.run, minutes=left))
    begin = time.monotonic()
    trainer = resume_or_create(config, World.join(config.run.device))
    signal = trainer.run() if trainer.step < trainer.steps else None
    seconds = before["seconds"] + time.monotonic() - begin
    content = {"seconds": seconds, "steps": trainer.step, "done": signal is None}
    atomic_write(spent, json.dumps(content).encode())
    return signal is None


def _measure(job: Job, material: Material) -> None:
    model: MotionTransfer = load_model(job.place / TRAINING)
    suite = make_suite(job.size, names=job.measures)
    settings = {"scheme": job.scheme, "seed": job.seed, "size": job.size, "driving": list(material.driving)}
    folder = job.place / MEASURED
    open_folder(folder, settings)
    clips = self_imitations(model, material.clips, job.size, material.driving)
    results = measure_clips(folder, clips, suite)
    write_metrics(folder, settings, {"processor": processor(torch.device("cpu"))}, suite, results)
    atomic_write(job.place / ANCHORS, json.dumps(anchor_statistics(model, material, job.size)).encode())


@torch.no_grad()
def anchor_statistics(model: MotionTransfer, material: Material, size: int) -> dict[str, float]:
    """The share of the driving frames' anchors on the background, and of the mixture's weight that these have.

    Also the mean of M, over the person and over the background.
    """
    rows: list[tuple[float, ...]] = []
    for clip in material.clips:
        source = next(clip_frames(clip, size))
        start, stop = material.driving
        driving = (frame for number, frame in enumerate(clip_frames(clip, size)) if number >= start)
        for number, frame in enumerate(driving, start=start):
            if stop is not None and number >= stop:
                break
            rows.append(_row(model, source, frame, material.person(clip.name, number, source, frame)))
    names = ("anchors_on_background", "weight_of_these", "confidence_person", "confidence_background")
    return {name: mean(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _row(model: MotionTransfer, source: torch.Tensor, frame: torch.Tensor, person: torch.Tensor) -> tuple[float, ...]:
    result = model(source, frame)
    points, confidence = result.driving_anchors.kp, result.motion.confidence
    small = torch.nn.functional.adaptive_max_pool2d(person.float(), confidence.shape[2:]) > 0
    masks = (confidence[small], confidence[~small])
    return (
        float(share_on_background(points, person)),
        float(share_in_use(points, person, result.motion.logits)),
        *(float(values.mean()) for values in masks),
    )
