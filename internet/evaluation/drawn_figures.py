"""Evaluation on drawn figures that are not used in training."""

import torch
from torch.utils.data import DataLoader, Subset

from internet.data.synthetic_dataset import SyntheticDataset
from internet.evaluation.transfer import TransferMetrics
from internet.model import MotionTransfer

#: Training and validation use smaller seeds for their clips.
UNSEEN_SEED = 1 << 24


@torch.no_grad()
def measure_on_figures(
    model: MotionTransfer,
    *,
    samples: int = 256,
    moving_background: float = 0.0,
    seed: int = UNSEEN_SEED,
    batch: int = 8,
) -> dict[str, float]:
    """The metrics of :class:`~internet.evaluation.TransferMetrics` over drawn clips, where each clip's first frame is
    the source.

    Args:
        model: in evaluation mode, on its device.
        samples: how many.
        moving_background: the fraction of clips whose background moves.
        seed: of the clips.
        batch: samples per call of the model.
    """
    data = SyntheticDataset(
        model.config.size, seed=seed, min_seconds=0, moving_background=moving_background, previous=False
    )
    device = next(model.parameters()).device
    metrics = TransferMetrics()
    for sample in DataLoader(Subset(data, range(samples)), batch, generator=torch.Generator("cpu")):
        source, target, motion, visible = (
            sample[name].to(device) for name in ("source", "current", "motion", "motion_visible")
        )
        metrics.update(model(source, target), source, target, motion, visible)
    return metrics.compute()
