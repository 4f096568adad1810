"""The Fréchet distance between generated and real frames: FID, or with the features of another network."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from internet.evaluation.embedding import EFFICIENTNET, GET_INCEPTION, Inception, SharedFeatures
from internet.evaluation.frechet import frechet_distance
from internet.evaluation.measure import Column, Measure

GENERATED, REFERENCE = "frames_generated", "frames_reference"


class FrameDistribution(Measure):
    """The distance for the frames of each clip, "clip-wise FID", and for those of all clips together.

    Args:
        pooled: a frame (1, 3, H, W) in [0, 1] -> (1, D).
        column: named after the network.
    """

    def __init__(self, pooled: Callable[[Tensor], Tensor], column: Column) -> None:
        self._pooled, self.columns = pooled, (column,)
        self.reset()

    def reset(self) -> None:
        self._generated: list[Tensor] = []
        self._reference: list[Tensor] = []

    def update(self, generated: Tensor, reference: Tensor) -> None:
        self._generated.append(self._pooled(generated).cpu())
        self._reference.append(self._pooled(reference).cpu())

    def values(self) -> dict[str, float]:
        return self.pooled([self.features()])

    def features(self) -> dict[str, np.ndarray]:
        return {GENERATED: torch.cat(self._generated).numpy(), REFERENCE: torch.cat(self._reference).numpy()}

    def pooled(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
        sets = (np.concatenate([clip[name] for clip in features]) for name in (GENERATED, REFERENCE))
        return {self.columns[0].key: frechet_distance(*sets)}


def inception_distance(network: Inception) -> FrameDistribution:
    """FID."""
    about = "Fréchet distance of Inception-v3's features of frames"
    return FrameDistribution(network.pooled, Column("fid", "FID", "lower", about, network.identity))


def efficientnet_distance(features: SharedFeatures) -> FrameDistribution:
    """The stand-in for FID."""
    about = "Fréchet distance of EfficientNet-Lite0's features of frames; its numbers are not FID's"
    column = Column("fd_efficientnet", "FD-EfficientNet", "lower", about, EFFICIENTNET, f"FID, {GET_INCEPTION}")
    return FrameDistribution(features.pooled, column)
