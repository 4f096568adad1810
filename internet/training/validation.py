"""Measure the model on held-out samples."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from internet.evaluation import TransferMetrics
from internet.model import INTERnet
from internet.training.distributed import World
from internet.training.step import MicroBatch
from internet.visualization.figures import training_sheet

#: Samples in a batch.
BATCH = 4


class ValidationResult(NamedTuple):
    """Metrics by name, and a contact sheet of the first samples, uint8 (H, W, 3)."""

    metrics: dict[str, float]
    sheet: np.ndarray | None


class Validation:
    """All of :class:`~internet.evaluation.TransferMetrics` over held-out samples.

    Args:
        samples: the held-out samples, divided among the processes.
        precision: of :class:`~internet.training.step.TrainingStep`.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """

    def __init__(self, samples: Dataset[dict[str, Any]], world: World, precision: str) -> None:
        mine = Subset(samples, range(world.rank, len(samples), world.size))  # type: ignore[arg-type]
        self._batches = DataLoader(mine, BATCH, generator=torch.Generator())
        self.world, self.precision = world, precision
        self._metrics = TransferMetrics()

    @torch.no_grad()
    def __call__(self, model: INTERnet) -> ValidationResult:
        """The model's metrics over all samples; its training or evaluation mode is restored."""
        training, sheet = model.training, None
        model.eval()
        self._metrics.reset()
        with self.world.together():
            for samples in self._batches:
                micro_batch = MicroBatch.of(samples, self.world.device)
                source, batch = micro_batch.source, micro_batch.batch
                with torch.autocast(source.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                    result = model(source, batch.target)
                self._metrics.update(result, source, batch.target, batch.motion, batch.motion_visible)
                if sheet is None:
                    sheet = training_sheet(result, source, batch.target)
        model.train(training)
        for measure in self._metrics.measures:
            measure.means.totals = self.world.sum(measure.means.totals)
        return ValidationResult(self._metrics.compute(), sheet)
