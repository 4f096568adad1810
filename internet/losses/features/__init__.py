"""The pretrained networks whose features Eqs. 9-11 compare."""

import os
from collections.abc import Callable

from internet.losses.features.efficientnet import EfficientNetLite0
from internet.losses.features.frozen import RANDOM, FrozenFeatures
from internet.losses.features.vgg import VGG19
from internet.utils.weight_files import MissingWeightsError

#: The paper's network, and one whose weights need no download from outside a package index.
NETWORKS: dict[str, Callable[[str | os.PathLike[str] | None], FrozenFeatures]] = {
    "vgg19": VGG19,
    "efficientnet-lite0": EfficientNetLite0,
}


def make_features(name: str, weights: str | os.PathLike[str] | None = None) -> FrozenFeatures:
    """A network by name: frames (B, 3, H, W) in [0, 1] -> features of five layers.

    Args:
        name: "vgg19" (the paper's) or "efficientnet-lite0".
        weights: a file; None looks where the weights usually are; "random" is for tests.

    Raises:
        ValueError: an unknown name, or weights that do not fit.
        MissingWeightsError: no weights there; the message says how to get them.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no feature network {name!r}, expected {' or '.join(map(repr, NETWORKS))}")
    return NETWORKS[name](weights)


__all__ = [
    "NETWORKS",
    "RANDOM",
    "VGG19",
    "EfficientNetLite0",
    "FrozenFeatures",
    "MissingWeightsError",
    "make_features",
]
