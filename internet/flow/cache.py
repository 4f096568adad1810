"""Optical flow on disk: each pair of frames is estimated only once.

A flow is identified by its inputs: its name is a hash of both frames' pixels and of the estimator's identity. A clip
that is moved or renamed keeps its flows, one that is edited or cropped differently gets new ones, and nothing ever
needs to be invalidated. A file gets its name only when it is complete, so processes may share a folder and be killed
at any moment: at worst two of them compute the same flow, and one result replaces an identical one.
"""

import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.flow.estimators import FlowEstimator
from internet.utils.files import atomic_write, output_folder


class FlowCache:
    """An estimator with a cache on disk, called like the estimator itself.

    Flows are stored in float16, whose rounding is at most 1/128 pixel for motions below 32 pixels: far below any
    estimator's own error. A flow from the cache and one that has just been computed are bitwise equal.

    Args:
        folder: where the flows are; created if it does not exist. Any number of clips and estimators may share it.
        estimator: computes flows that are not in the folder.

    Raises:
        OutputError: the folder cannot be created or written.
    """

    def __init__(self, folder: str | os.PathLike[str], estimator: FlowEstimator) -> None:
        self.folder = output_folder(folder, overwrite=True)
        self.estimator = estimator

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Optical flow of images (B, 3, H, W) in [0, 1]: float32 (B, 2, H, W), in pixels, on their device."""
        flows = [self._pair(one[None], other[None]) for one, other in zip(first, second, strict=True)]
        return torch.cat(flows).to(first.device) if flows else self.estimator(first, second)

    def _pair(self, first: Tensor, second: Tensor) -> Tensor:
        path = self.path(first, second)
        flow = _read(path)
        if flow is None:
            flow = self.estimator(first, second).cpu().to(torch.float16)
            path.parent.mkdir(exist_ok=True)
            atomic_write(path, _packed(flow), durable=False)  # a file damaged by a crash is computed again
        return flow.float()

    def path(self, first: Tensor, second: Tensor) -> Path:
        """Where the flow between two images (1, 3, H, W) is or will be."""
        digest = hashlib.sha256(self.estimator.identity.encode())
        for image in (first, second):
            digest.update(str(tuple(image.shape)).encode())
            digest.update(_levels(image))
        name = digest.hexdigest()[:40]
        return self.folder / name[:2] / f"{name[2:]}.npz"


def _levels(image: Tensor) -> bytes:
    """The picture as 8-bit levels, as it was decoded and as estimators use it."""
    return image.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).contiguous().numpy().tobytes()


def _packed(flow: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, flow=flow.numpy())
    return buffer.getvalue()


def _read(path: Path) -> Tensor | None:
    """The flow, or None if there is no readable file: a damaged one is computed again and replaced."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file["flow"])
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
