"""What the feature networks share: ImageNet's normalisation, weights from a file, frozen parameters."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from internet.model.weights import load_weights, read_weights
from internet.utils.weight_files import MissingWeightsError

RANDOM = "random"


class FrozenFeatures(nn.Module):
    """A network in evaluation mode whose parameters get no gradients; its input does.

    mean, std: of the images that it was trained on (in [0, 1]), for each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def normalise(self, frame: Tensor) -> Tensor:
        """Frame (B, 3, H, W) in [0, 1] -> the network's input, normalised as in its training."""
        return (frame - self.mean) / self.std

    def freeze(self) -> None:
        """Switch off gradients and training mode; to be called when the weights are loaded."""
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenFeatures":
        """Stay in evaluation mode, also when the module around it is trained."""
        return super().train(False)


def load_file(module: FrozenFeatures, path: str | os.PathLike[str], how_to_get: str) -> None:
    """Load what the module needs from a weights file; if there is no such file, the error ends with `how_to_get`."""
    if not Path(path).is_file():
        raise MissingWeightsError(f"there are no weights at '{path}'. {how_to_get}")
    load_weights(module, read_weights(path), f"'{path}'", spare=True)
