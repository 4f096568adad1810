"""The multi-scale patch discriminators of pix2pixHD (Eq. 8)."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from internet.model.blocks import GroupNorm

#: For each discriminator the features of its layers, followed by the logits of its patches.
DiscriminatorOutput = list[list[Tensor]]


class PatchDiscriminator(nn.Module):
    """Classifies every 70x70 patch: four 4x4 convolutions compute features, and one computes the logit."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers = [nn.Sequential(nn.Conv2d(3, width, 4, 2, padding=2), nn.LeakyReLU(0.2))]
        for inputs, outputs in pairwise(widths):
            stride = 1 if outputs == widths[-1] else 2
            convolution = nn.Conv2d(inputs, outputs, 4, stride, padding=2)
            layers.append(nn.Sequential(convolution, GroupNorm(outputs), nn.LeakyReLU(0.2)))
        layers.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, padding=2)))
        self.layers = nn.ModuleList(layers)

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Frame (B, 3, H, W) -> features (B, C_l, H_l, W_l) of each layer, and logits (B, 1, ~H/8, ~W/8)."""
        features = [frame]
        for layer in self.layers:
            features.append(layer(features[-1]))
        return features[1:]


class Discriminator(nn.Module):
    """N_D patch discriminators, each on the frame at half the size of the one before it."""

    def __init__(self, scales: int = 3, width: int = 64) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width) for _ in range(scales))

    def forward(self, frame: Tensor) -> DiscriminatorOutput:
        """Frame (B, 3, H, W) -> one list of features for each scale."""
        frames = [frame]
        for _ in range(len(self.scales) - 1):
            frames.append(functional.avg_pool2d(frames[-1], 3, 2, padding=1, count_include_pad=False))
        return [scale(small) for scale, small in zip(self.scales, frames, strict=True)]
