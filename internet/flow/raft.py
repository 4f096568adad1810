"""Dense optical flow by torchvision's RAFT (Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms", 2020)."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from internet.flow.opencv import check_pair
from internet.model.weights import read_weights
from internet.utils.optional import require

WEIGHTS = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"
"""The file name of torchvision's best weights in torch.hub's cache."""

STRIDE, SMALLEST = 8, 128
"""RAFT needs sides that are multiples of STRIDE and at least SMALLEST pixels."""


class Raft:
    """RAFT-large with its weights loaded, called with two images.

    Args:
        weights: path of torchvision's state dict; None looks in torch.hub's cache, without downloading.
        device: where it runs.
        updates: iterations of the recurrent update.

    Raises:
        MissingExtraError: torchvision is not installed.
        FileNotFoundError: the weights are missing; the message says how to get them.
        ValueError: the file is damaged, or holds no weights.
    """

    def __init__(
        self, weights: str | Path | None = None, *, device: str | torch.device = "cpu", updates: int = 12
    ) -> None:
        models = require("torchvision.models.optical_flow", "optical flow (RAFT)")
        path = Path(weights) if weights else Path(torch.hub.get_dir(), "checkpoints", WEIGHTS)
        if not path.is_file():
            raise FileNotFoundError(
                f"the weights of RAFT are not at '{path}'; give their path, or fetch them once with: "
                "python -c \"import torchvision; torchvision.models.get_model('raft_large', weights='DEFAULT')\""
            )
        self._network = models.raft_large(weights=None)
        self._network.load_state_dict(read_weights(path))
        self._network.eval().to(device)
        self._device, self._updates = torch.device(device), updates
        self.identity = f"raft:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}:{updates}"

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Optical flow from ``first`` to ``second``, images (B, 3, H, W) in [0, 1]: float32 (B, 2, H, W), in pixels."""
        check_pair(first, second)
        if first.shape[1] != 3:
            raise ValueError(f"RAFT takes images (B, 3, H, W); got {tuple(first.shape)}")
        height, width = first.shape[-2:]
        flow = self._network(self._prepare(first), self._prepare(second), num_flow_updates=self._updates)[-1]
        return flow[..., :height, :width].float().contiguous().to(first.device)

    def _prepare(self, image: Tensor) -> Tensor:
        """Scale to [-1, 1], and repeat the last row and column up to a size that RAFT supports."""
        height, width = image.shape[-2:]
        down, right = (max(SMALLEST, -(-side // STRIDE) * STRIDE) - side for side in (height, width))
        scaled = image.to(self._device, torch.float32) * 2 - 1
        return functional.pad(scaled, (0, right, 0, down), mode="replicate")
