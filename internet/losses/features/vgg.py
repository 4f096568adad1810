"""VGG-19 up to relu5_1, in torchvision's parameter names."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from internet.losses.features.frozen import RANDOM, FrozenFeatures, load_file

FILE = "vgg19-dcbb9e9d.pth"
HOW_TO_GET = (
    f"VGG-19's ImageNet weights are torchvision's: download https://download.pytorch.org/models/{FILE} and name the "
    "file, or put it into checkpoints/ of torch's hub folder. The feature network 'efficientnet-lite0' has its weights "
    "in a Python package."
)

#: Channels of the 3x3 convolutions; "M" halves the size. The last is conv5_1; the later layers are not needed.
_LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512)
#: relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 among the layers below.
_TAPS = (1, 6, 11, 20, 29)


class VGG19(FrozenFeatures):
    """Frame (B, 3, H, W) in [0, 1] -> relu1_1 ... relu5_1, with 64, 128, 256, 512, 512 channels at H, H/2, ..., H/16.

    Args:
        weights: a file of torchvision's state dict; None looks in torch's hub folder; "random" is for tests.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        layers: list[nn.Module] = []
        channels = 3
        for width in _LAYERS:
            if isinstance(width, int):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if weights != RANDOM:
            path = Path(torch.hub.get_dir(), "checkpoints", FILE) if weights is None else weights
            load_file(self, path, HOW_TO_GET)
        self.freeze()

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Frame (B, 3, H, W) -> five feature maps, fine to coarse."""
        x, taps = self.normalise(frame), []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                taps.append(x)
        return taps
