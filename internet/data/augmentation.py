"""Flips and colour changes of whole samples: the same for all their frames, with flows and anchors to match."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from internet.utils.settings import Section, setting

PICTURES = ("source", "previous", "current")
FLOWS = ("flow", "flow_backward", "motion")
MASKS = ("visible", "motion_visible", "motion_reliable", "current_parts")
ANCHORS = ("source_anchors", "current_anchors")

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601."""


@dataclass(frozen=True)
class Augmentation(Section):
    """A random flip and a random change of colours, drawn once for the whole sample.

    All frames change in the same way, so that a change of colour does not look like motion. Flow is flipped with its
    frames and its x component changes sign, so that it still points from each pixel to its counterpart.

    The factors of the colour changes are drawn evenly from 1 - a to 1 + a.
    """

    flip: float = setting(0.5, "the probability of a horizontal flip", least=0, most=1)
    brightness: float = setting(0.1, "a: its factor is drawn evenly from 1 - a to 1 + a", least=0, below=1)
    contrast: float = setting(0.1, "likewise", least=0, below=1)
    saturation: float = setting(0.1, "likewise", least=0, below=1)

    def __call__(self, sample: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        """Augment a sample of :class:`~internet.data.dataset.ClipDataset` at random."""
        chance, *draws = torch.rand(4, generator=generator, device=generator.device).tolist()
        ranges = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = (1 + a * (2 * draw - 1) for a, draw in zip(ranges, draws, strict=True))
        middle = _grey(sample["source"]).mean()
        changed = dict(sample)
        for name in PICTURES:
            changed[name] = _recolour(sample[name], brightness, contrast, saturation, middle)
        return flipped(changed) if chance < self.flip else changed


def flipped(sample: dict[str, Any]) -> dict[str, Any]:
    """The mirrored sample, with x replaced by -x."""
    mirrored = dict(sample)
    for name in (*PICTURES, *FLOWS, *MASKS):
        if name in sample:
            mirrored[name] = sample[name].flip(-1)
    for name in FLOWS:
        if name in sample:
            mirrored[name] = mirrored[name] * mirrored[name].new_tensor([-1.0, 1.0])[:, None, None]
    for name in ANCHORS:
        if name in sample:
            mirrored[name] = sample[name] * sample[name].new_tensor([-1.0, 1.0])
    return mirrored


def _recolour(image: Tensor, brightness: float, contrast: float, saturation: float, middle: Tensor) -> Tensor:
    grey = _grey(image)
    coloured = grey + saturation * (image - grey)
    return ((middle + contrast * (coloured - middle)) * brightness).clamp(0, 1)


def _grey(image: Tensor) -> Tensor:
    """(3, H, W) -> (1, H, W)."""
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
