"""What the feature networks share: ImageNet's normalisation, weights from a file, and that they never learn."""

import os
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

RANDOM = "random"


class MissingWeightsError(FileNotFoundError):
    """Pretrained weights are not where they should be; the message says how to get them."""


class FrozenFeatures(nn.Module):
    """A network that stays in evaluation mode and whose parameters take no gradient; its input does.

    mean, std: of the images it was trained on, for each channel, in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def normalise(self, frame: Tensor) -> Tensor:
        """Frame (B, 3, H, W) in [0, 1] -> what the network was trained on."""
        return (frame - self.mean) / self.std

    def freeze(self) -> None:
        """Call when the weights are there."""
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenFeatures":
        """Stay in evaluation mode, whatever the module around does."""
        return super().train(False)


def read_weights(path: str | os.PathLike[str], how_to_get: str) -> dict[str, Tensor]:
    """A state dict from a file; a missing file raises :class:`MissingWeightsError` that ends with `how_to_get`."""
    if not Path(path).is_file():
        raise MissingWeightsError(f"there are no weights at '{path}'. {how_to_get}")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"'{path}' is no file of weights ({str(error).splitlines()[0]})") from error
    return state


def load_matching(module: nn.Module, state: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Load what the module needs of a state dict, leave the rest; a ValueError names what is missing or misshapen."""
    expected = module.state_dict()
    complaints = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}" if name in state else f"missing: {name}"
        for name, value in expected.items()
        if name not in state or state[name].shape != value.shape
    ]
    if complaints:
        raise ValueError(f"the weights in '{path}' do not fit:\n  " + "\n  ".join(complaints))
    module.load_state_dict({name: state[name] for name in expected})
