"""Act-Recog-L1 and FVD: short clips compared by the features of an action recognition network."""

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet.evaluation.embedding import EFFICIENTNET, SharedFeatures, load_script
from internet.evaluation.frechet import frechet_distance
from internet.evaluation.measure import Column, Curve, Measure
from internet.utils.weight_files import read_weight_file

#: Frames in a window, and between the starts of two windows; side of I3D's frames.
WINDOW, STRIDE, SIDE = 16, 8, 224

GENERATED, REFERENCE = "windows_generated", "windows_reference"

GET = "which needs I3D, Kinetics-400, as TorchScript: --i3d i3d_torchscript.pt, the usual file of FVD implementations"


class WindowNetwork(Protocol):
    """A network that turns a window of frames into features."""

    def embed(self, frame: Tensor) -> Tensor:
        """What the network needs of a frame (1, 3, H, W) in [0, 1]."""

    def __call__(self, embedded: Sequence[Tensor]) -> Tensor:
        """That of the frames of a window -> features (1, D)."""


class I3d:
    """The inflated Inception of Carreira and Zisserman, as TorchScript: a window of frames -> features (1, D)."""

    def __init__(self, path: str | os.PathLike[str], device: torch.device) -> None:
        found = read_weight_file(path, f"Act-Recog-L1 and FVD, {GET}")
        self.identity = found.identity
        self._network = load_script(found, "--i3d", device)

    def embed(self, frame: Tensor) -> Tensor:
        """The frame (1, 3, H, W) in [0, 1] as input of the network: (1, 3, 224, 224) in [-1, 1]."""
        small = functional.interpolate(frame, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        return small * 2 - 1

    @torch.no_grad()
    def __call__(self, embedded: Sequence[Tensor]) -> Tensor:
        clip = torch.stack(list(embedded), 2)
        return self._network(clip, rescale=False, resize=False, return_features=True).float()


class StillFeatures:
    """A stand-in for I3D: the means over a window of EfficientNet-Lite0's features, and of their changes.

    It recognises objects, not actions: of motion it captures only how much the features change between frames.
    """

    identity = EFFICIENTNET

    def __init__(self, features: SharedFeatures) -> None:
        self._features = features

    def embed(self, frame: Tensor) -> Tensor:
        """The frame's features, (1, D)."""
        return self._features.pooled(frame)

    def __call__(self, embedded: Sequence[Tensor]) -> Tensor:
        rows = torch.cat(list(embedded))
        changes = rows.diff(dim=0).abs().mean(0, keepdim=True) if len(rows) > 1 else torch.zeros_like(rows)
        return torch.cat([rows.mean(0, keepdim=True), changes], 1)


class ActionDistance(Measure):
    """The L1 distance of each window's features, and the Fréchet distance of all windows' features.

    Windows are 16 frames long and begin every 8 frames, with one more at the end of the clip; a shorter clip is one
    window, with its last frame repeated. On the curve, a window's distance is at its last frame.

    Args:
        network: computes the features of windows.
        columns: for the distance, and for the Fréchet distance.
    """

    def __init__(self, network: WindowNetwork, columns: tuple[Column, Column]) -> None:
        self._network, self.columns = network, columns
        self.reset()

    def reset(self) -> None:
        self._recent: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._seen = self._measured = 0
        self._rows: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._curve: Curve = []

    def update(self, generated: Tensor, reference: Tensor) -> None:
        for recent, frame in zip(self._recent, (generated, reference), strict=True):
            recent.append(self._network.embed(frame))
            del recent[:-WINDOW]
        self._seen += 1
        self._curve.append(float("nan"))
        if self._seen >= WINDOW and (self._seen - WINDOW) % STRIDE == 0:
            self._measure()

    def _measure(self) -> None:
        for recent, rows in zip(self._recent, self._rows, strict=True):
            rows.append(self._network([*recent, *recent[-1:] * (WINDOW - len(recent))]).cpu())
        ours, theirs = self._rows
        self._curve[-1] = float((ours[-1] - theirs[-1]).abs().sum())
        self._measured = self._seen

    def curves(self) -> dict[str, Curve]:
        self._finish()
        return {self.columns[0].key: self._curve}

    def values(self) -> dict[str, float]:
        return super().values() | self.pooled([self.features()])

    def features(self) -> dict[str, np.ndarray]:
        self._finish()
        return {name: torch.cat(rows).numpy() for name, rows in zip((GENERATED, REFERENCE), self._rows, strict=True)}

    def _finish(self) -> None:
        """The window that ends with the clip."""
        if self._measured < self._seen:
            self._measure()

    def pooled(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
        sets = (np.concatenate([clip[name] for clip in features]) for name in (GENERATED, REFERENCE))
        return {self.columns[1].key: frechet_distance(*sets)}


def i3d_distance(network: I3d) -> ActionDistance:
    """Act-Recog-L1 and FVD."""
    about = f"I3D's features of windows of {WINDOW} frames"
    return ActionDistance(
        network,
        (
            Column(
                "act_recog_l1", "Act-Recog-L1", "lower", f"sum of absolute differences of {about}", network.identity
            ),
            Column("fvd", "FVD", "lower", f"Fréchet distance of {about}", network.identity),
        ),
    )


def efficientnet_clip_distance(features: SharedFeatures) -> ActionDistance:
    """The stand-in for both."""
    network = StillFeatures(features)
    about = f"EfficientNet-Lite0's features, their means and mean changes over windows of {WINDOW} frames"
    columns = (
        Column(
            "clip_l1_efficientnet",
            "Clip-L1-EfficientNet",
            "lower",
            f"sum of absolute differences of {about}",
            network.identity,
            f"Act-Recog-L1, {GET}",
        ),
        Column(
            "clip_fd_efficientnet",
            "Clip-FD-EfficientNet",
            "lower",
            f"Fréchet distance of {about}",
            network.identity,
            f"FVD, {GET}",
        ),
    )
    return ActionDistance(network, columns)
