"""The page of a training run: a held-out clip before and after, learning curves, and pictures along the way."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from internet.commands._shared.held_out_clip import HeldOutClip
from internet.commands._shared.metric_labels import METRICS
from internet.commands._shared.table import table
from internet.data.image import to_array
from internet.data.video_writer import write_video
from internet.model import MotionTransfer, load_model
from internet.training.curves import read_curves, read_pictures
from internet.training.trainer import Trainer
from internet.utils.files import atomic_write
from internet.visualization import charts, draw, report
from internet.visualization.charts import Curve
from internet.visualization.figures import TITLES, Panel, transfer_panels

REPORT, VIDEO, FIGURE = "report.html", "held-out.mp4", "figure.png"

#: Pictures on the slider: at most so many, of at most so many bytes together.
PICTURES, PICTURE_BYTES = 16, 8_000_000
LABELS = (("source", "driving frame", "before", "after"),)


class TrainingReport:
    """Looks at a run before its first step, and writes what came of it after the last.

    Every process of a run makes one, for they measure together; the main one alone writes.

    Args:
        trainer: before it runs; it has validation samples.
        folder: where the page and its files go.
    """

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        trainer.validate_and_save(validate=True, save=False)
        self.metrics_before, self.first_step = trainer.metrics, trainer.step
        with trainer.world.together():
            if trainer.world.is_main:
                self._look(trainer.model if trainer.ema is None else trainer.ema.model)
        self._began = time.perf_counter()

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / REPORT

    def _look(self, model: MotionTransfer) -> None:
        """Keep what the model makes of the clip now."""
        self.clip = HeldOutClip.of(self.trainer.config)
        training = model.training
        self.frames_before = self.clip.animated_by(model)
        model.train(training)

    def write(self) -> None:
        """Write the page, the video and the figure; call it when the run is over."""
        self.seconds = time.perf_counter() - self._began
        model = load_model(self.trainer.config.out, device=self.trainer.world.device)
        self._write_video(self.clip.animated_by(model))
        rows = self._rows(model)
        panels = [panel for row in rows for panel in row]
        figure = draw.figure(panels, columns=len(rows[0]), title=self.clip.title, inches=2.0)
        atomic_write(self.folder / FIGURE, draw.figure_png(figure))
        atomic_write(self.path, self._page(rows))

    def metrics(self) -> list[tuple[str, list[float]]]:
        """By label, the metrics of a model that does nothing, of the one before and of the trained one."""
        before, after = self.metrics_before, self.trainer.metrics
        return [(label, [after[idle], before[name], after[name]]) for label, name, idle in METRICS if name in after]

    def metrics_table(self) -> str:
        """The same as text."""
        return table(["doing nothing", "before", "after"], dict(self.metrics()), digits=3)

    @torch.no_grad()
    def _rows(self, model: MotionTransfer, count: int = 4) -> list[list[Panel]]:
        """What the trained model makes of a few frames, a row each."""
        driving = self.clip.driving[self.clip.spread(count)].to(self.trainer.world.device)
        source = self.clip.source.to(driving.device).expand_as(driving)
        return transfer_panels(model(source, driving), source, driving, count)

    def _write_video(self, after: list[torch.Tensor]) -> None:
        columns = zip(self.clip.driving, self.frames_before, after, strict=True)
        frames = (torch.cat([self.clip.source, driving[None], *outputs], 3) for driving, *outputs in columns)
        write_video(self.folder / VIDEO, map(to_array, frames), fps=self.clip.fps)

    def _page(self, rows: Sequence[Sequence[Panel]]) -> bytes:
        trainer, config = self.trainer, self.trainer.config
        steps = trainer.step - self.first_step
        size = f"{config.model.size} × {config.model.size}"
        lead = f"{steps} steps from step {self.first_step} in {self.seconds:.0f} s, {size}."
        measured = [[label, *(f"{value:.3f}" for value in values)] for label, values in self.metrics()]
        return report.page(
            f"Training run {config.out}",
            lead,
            [
                report.section(
                    "A clip that was not trained on",
                    report.video((self.folder / VIDEO).read_bytes(), self.clip.title, LABELS),
                    report.table("Held-out samples", ("", "doing nothing", "before", "after"), measured),
                    report.gallery("Four of the frames, by the trained model.", rows),
                ),
                report.section("Learning curves", report.plots(self._curves())),
                *self._along_the_way(),
                report.section(
                    "Go on",
                    report.paragraph("The same run, further; and a picture of yours, animated by it:"),
                    report.command(f"internet train {config.out}/config.yaml"),
                    report.command(animate_command(config.out)),
                ),
            ],
        )

    def _along_the_way(self) -> list[str]:
        """What the run showed at each validation, on a slider; nothing if it showed nothing."""
        pictures = read_pictures(self.trainer.config.out, "validation")
        if not pictures:
            return []
        slider = report.slider("Held-out samples, by the model of that step.", _chosen(pictures), TITLES)
        return [report.section("Along the way", slider)]

    def _curves(self) -> list[str]:
        """Charts of the loss and of the metrics, which begin with those from before the run."""
        recorded = read_curves(self.trainer.config.out)

        def held_out(name: str) -> Curve:
            first = (float(self.first_step), self.metrics_before[name])
            return [first, *(point for point in recorded[f"validation/{name}"] if point[0] > self.first_step)]

        found = []
        if "training/total" in recorded:  # a run of a few steps logs no loss
            found.append(charts.line_chart("loss", {"total": recorded["training/total"]}))
        for label, name, idle in METRICS:
            if name in self.metrics_before:
                found.append(charts.line_chart(label, {"model": held_out(name), "doing nothing": held_out(idle)}))
        return found


def animate_command(run: str) -> str:
    """What animates a picture by the model of a run."""
    return f"internet animate --checkpoint {run} --source PICTURE --driving VIDEO --out VIDEO"


def _chosen(pictures: Sequence[tuple[int, bytes]]) -> dict[str, bytes]:
    """Pictures for the slider, by their steps: evenly spread, the last among them."""
    largest = max(len(content) for _, content in pictures)
    count = max(2, min(PICTURES, PICTURE_BYTES // largest, len(pictures)))
    places = {round(i * (len(pictures) - 1) / (count - 1)) for i in range(count)}
    return {f"step {step}": content for step, content in (pictures[place] for place in sorted(places))}
