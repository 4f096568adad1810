"""Perceptual distances of frames: LPIPS, and its stand-in."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.evaluation.embedding import EFFICIENTNET, SharedFeatures
from internet.evaluation.measure import Column, Curve, Measure
from internet.model.weights import as_expected, check_weights, read_weights
from internet.utils.optional import require
from internet.utils.weight_files import read_weight_file

#: Mean and standard deviation of the channels, for frames in [-1, 1] (the "scaling layer" of the original code).
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)

GET = (
    "which needs torchvision's AlexNet or VGG-16, whose heads are in torchmetrics: --lpips "
    "alexnet-owt-7be5be79.pth, or vgg16-397923af.pth, from https://download.pytorch.org/models"
)

#: Convolutions as (channels, kernel, stride, padding), "M" a pooling, each convolution with its ReLU, as torchvision
#: numbers them; and the layers after which features are taken.
_NETWORKS = {
    "alex": (
        ((64, 11, 4, 2), "M", (192, 5, 1, 2), "M", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)),
        (nn.MaxPool2d, 3),
        (1, 4, 7, 9, 11),
    ),
    "vgg": (
        tuple(
            "M" if width == 0 else (width, 3, 1, 1)
            for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
        ),
        (nn.MaxPool2d, 2),
        (3, 8, 15, 22, 29),
    ),
}


class Lpips(nn.Module):
    r"""LPIPS, version 0.1 (Zhang et al., 2018): a perceptual distance fitted to human judgements.

    .. math:: d = \sum_l \tfrac{1}{H_l W_l} \sum_{h,w} w_l \cdot (\hat{y}^l_{hw} - \hat{y}'^l_{hw})^2

    with features normalised to unit length over the channels.

    Args:
        network: "alex" or "vgg", the backbone.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: str) -> None:
        super().__init__()
        layers, (pooling, side), self._taps = _NETWORKS[network]
        self.features = nn.Sequential()
        channels, widths = 3, []
        for layer in layers:
            if isinstance(layer, tuple):
                width, kernel, stride, padding = layer
                self.features.append(nn.Conv2d(channels, width, kernel, stride, padding))
                self.features.append(nn.ReLU())
                channels = width
            else:
                self.features.append(pooling(side, 2))
            if len(self.features) - 1 in self._taps:
                widths.append(channels)
        self.heads = nn.ParameterList([torch.ones(1, width, 1, 1) for width in widths])
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Lpips":
        """With the backbone in this file, AlexNet or VGG-16 of torchvision, and the heads from torchmetrics.

        Raises:
            MissingWeightsError: there is no such file; the message says how to get it.
            ValueError: it belongs to another network.
        """
        read_weight_file(path, f"LPIPS, {GET}")
        weights = read_weights(path)
        first = weights.get("features.0.weight")
        name = "alex" if first is not None and first.shape[-1] == 11 else "vgg"
        network = cls(name)
        expected = network.features.state_dict(prefix="features.")
        check_weights(weights, expected, f"'{path}'", spare=True)
        network.load_state_dict(as_expected(weights, expected), strict=False)
        package = require("torchmetrics.functional.image.lpips", "LPIPS's heads")
        heads = read_weights(Path(package.__file__).parent / "lpips_models" / f"{name}.pth")
        for index, head in enumerate(network.heads):
            head.copy_(heads[f"lin{index}.model.1.weight"])
        return network

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] -> distances (B,)."""
        pairs = zip(self._layers(output), self._layers(target), self.heads, strict=True)
        return torch.stack([(head * _unit_difference(a, b)).sum(1).mean((1, 2)) for a, b, head in pairs]).sum(0)

    def _layers(self, frame: Tensor) -> list[Tensor]:
        x, taps = (frame * 2 - 1 - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                taps.append(x)
        return taps


def _unit_difference(one: Tensor, other: Tensor) -> Tensor:
    """The squared difference of features that are normalised to unit length in the channels."""
    return (functional.normalize(one, dim=1, eps=1e-10) - functional.normalize(other, dim=1, eps=1e-10)).square()


def unweighted_distance(layers: list[Tensor], others: list[Tensor]) -> Tensor:
    """LPIPS's formula with a weight of 1 for every channel: features (B, C_l, H_l, W_l) -> (B,)."""
    pairs = zip(layers, others, strict=True)
    return torch.stack([_unit_difference(a, b).sum(1).mean((1, 2)) for a, b in pairs]).sum(0)


class PerceptualDistance(Measure):
    """A perceptual distance of each frame of a clip.

    Args:
        distance: two frames (1, 3, H, W) in [0, 1] -> (1,).
        column: named after it.
    """

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor], column: Column) -> None:
        self._distance, self.columns = distance, (column,)
        self.reset()

    def reset(self) -> None:
        self._curve: Curve = []

    @torch.no_grad()
    def update(self, generated: Tensor, reference: Tensor) -> None:
        self._curve.append(float(self._distance(generated, reference)))

    def curves(self) -> dict[str, Curve]:
        return {self.columns[0].key: self._curve}


def lpips_distance(path: str | os.PathLike[str], device: torch.device) -> PerceptualDistance:
    """LPIPS, by the backbone in this file; raises as :meth:`Lpips.load` does."""
    network, identity = Lpips.load(path).to(device), read_weight_file(path).identity
    return PerceptualDistance(network, Column("lpips", "LPIPS", "lower", "learned perceptual distance, 0.1", identity))


def efficientnet_perceptual_distance(features: SharedFeatures) -> PerceptualDistance:
    """The stand-in for LPIPS."""
    about = "LPIPS's formula on EfficientNet-Lite0, without its fitted weights; its numbers are not LPIPS's"
    column = Column("pd_efficientnet", "PD-EfficientNet", "lower", about, EFFICIENTNET, f"LPIPS, {GET}")
    return PerceptualDistance(lambda a, b: unweighted_distance(features.layers(a), features.layers(b)), column)
