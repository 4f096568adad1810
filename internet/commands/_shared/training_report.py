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

#: Limits on the pictures on the slider: their number, and their bytes in total.
PICTURES, PICTURE_BYTES = 16, 8_000_000
LABELS = (("source", "driving frame", "before", "after"),)


class TrainingReport:
    """Measures a run before its first step, and writes a report after the last.

    Every process of a run creates one, because they measure together; only the main one writes.

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
        """The path of the page."""
        return self.folder / REPORT

    def _look(self, model: MotionTransfer) -> None:
        """Record the model's current output for the clip."""
        self.clip = HeldOutClip.of(self.trainer.config)
        training = model.training
        self.frames_before = self.clip.animated_by(model)
        model.train(training)

    def write(self) -> None:
        """Write the page, the video and the figure; call this after the run."""
        self.seconds = time.perf_counter() - self._began
        model = load_model(self.trainer.config.out, device=self.trainer.world.device)
        self._write_video(self.clip.animated_by(model))
        rows = self._rows(model)
        panels = [panel for row in rows for panel in row]
        figure = draw.figure(panels, columns=len(rows[0]), title=self.clip.title, inches=2.0)
        atomic_write(self.folder / FIGURE, draw.figure_png(figure))
        atomic_write(self.path, self._page(rows))

    def metrics(self) -> list[tuple[str, list[float]]]:
        """By label, the metrics of a model that does nothing, of the model before training and after it."""
        before, after = self.metrics_before, self.trainer.metrics
        return [(label, [after[idle], before[name], after[name]]) for label, name, idle in METRICS if name in after]

    def metrics_table(self) -> str:
        """The same as text."""
        return table(["doing nothing", "before", "after"], dict(self.metrics()), digits=3)

    @torch.no_grad()
    def _rows(self, model: MotionTransfer, count: int = 4) -> list[list[Panel]]:
        """The trained model's results for a few frames, one row each."""
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
                    report.gallery("Four of the frames, generated by the trained model.", rows),
                ),
                report.section("Learning curves", report.plots(self._curves())),
                *self._along_the_way(),
                report.section(
                    "Go on",
                    report.paragraph("To continue this run, and to animate a picture of your own with it:"),
                    report.command(f"internet train {config.out}/config.yaml"),
                    report.command(animate_command(config.out)),
                ),
            ],
        )

    def _along_the_way(self) -> list[str]:
        """The run's pictures at each validation, on a slider; nothing if there are none."""
        pictures = read_pictures(self.trainer.config.out, "validation")
        if not pictures:
            return []
        slider = report.slider("Held-out samples, generated by the model at that step.", _chosen(pictures), TITLES)
        return [report.section("Along the way", slider)]

    def _curves(self) -> list[str]:
        """Charts of the loss and of the metrics; the latter begin with those before the run."""
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
    """The command that animates a picture with the model of a run."""
    return f"internet animate --checkpoint {run} --source PICTURE --driving VIDEO --out VIDEO"


def _chosen(pictures: Sequence[tuple[int, bytes]]) -> dict[str, bytes]:
    """Pictures for the slider, by their steps: evenly spaced, including the last."""
    largest = max(len(content) for _, content in pictures)
    count = max(2, min(PICTURES, PICTURE_BYTES // largest, len(pictures)))
    places = {round(i * (len(pictures) - 1) / (count - 1)) for i in range(count)}
    return {f"step {step}": content for step, content in (pictures[place] for place in sorted(places))}
