"""Generated frames against real ones where something moves; most of a whole frame is background."""

import torch
from torch import Tensor
from torch.nn import functional

from internet.evaluation.frames import check_frames
from internet.evaluation.means import Means
from internet.evaluation.motion import MOVING
from internet.utils.optional import require

#: Mean difference of the channels from which a pixel counts as changed; compression and noise stay below it.
CHANGED = 0.06

#: A pixel belongs to the person if this much of the window around it changed or moves: no specks, no pinholes.
_WINDOW, _SHARE = 5, 0.3


def moving_person(
    source: Tensor, target: Tensor, motion: Tensor | None = None, visible: Tensor | None = None
) -> Tensor:
    """Where the source or the driving frame shows the person and not the still background: bool (B, 1, H, W).

    That is where the two frames differ, or where there is motion between equal colours.

    Args:
        source, target: (B, 3, H, W) in [0, 1].
        motion: if known, the flow from the target to the source, (B, 2, H, W) in pixels.
        visible: (B, 1, H, W), 0 where that flow cannot be relied on.
    """
    moving = (source.float() - target.float()).abs().mean(1, keepdim=True) > CHANGED
    if motion is not None:
        flows = motion.float().norm(dim=1, keepdim=True) > MOVING
        moving = moving | (flows if visible is None else flows & (visible > 0.5))
    share = functional.avg_pool2d(moving.float(), _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
    return share > _SHARE


class PersonMetrics:
    """Means over frames of PSNR in dB, SSIM and sharpness over the pixels of :func:`moving_person`.

    Sharpness is the mean length of the output's image gradient divided by the real frame's: below 1 the output is
    blurred. Frames in which nothing moves are not counted.

    Args:
        prefix: of the names "person_psnr", "person_ssim" and "person_sharpness" in the result.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """

    def __init__(self, prefix: str = "") -> None:
        functions = require("torchmetrics.functional.image", "measuring frames")
        self._ssim = functions.structural_similarity_index_measure
        self.prefix = prefix
        self.means = Means(("person_psnr", "person_ssim", "person_sharpness"))

    def reset(self) -> None:
        """Forget all frames."""
        self.means.reset()

    def update(self, output: Tensor, target: Tensor, person: Tensor) -> None:
        """Add frames: output and target (B, 3, H, W) in [0, 1], person (B, 1, H, W), where they are compared."""
        check_frames(output, target)
        if person.shape != (len(output), 1, *output.shape[2:]):
            raise ValueError(f"person has shape {tuple(person.shape)}, expected {(len(output), 1, *output.shape[2:])}")
        output, target, weight = output.detach().float(), target.detach().float(), person.float()
        seen = weight.sum((1, 2, 3)) > 0
        if not seen.any():
            return
        output, target, weight = output[seen], target[seen], weight[seen]
        _, similar = self._ssim(output, target, data_range=1.0, return_full_image=True)
        error = _mean((output - target).square(), weight)
        self.means.add(
            person_psnr=-10 * error.log10(),
            person_ssim=_mean(similar, weight),
            person_sharpness=_mean(_steepness(output), weight) / _mean(_steepness(target), weight).clamp(min=1e-6),
        )

    def compute(self) -> dict[str, float]:
        """The means over all frames since the last reset, of this process; see :class:`Means`."""
        return {self.prefix + name: value for name, value in self.means.compute().items()}


def _mean(image: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W) -> (B,), where the weight (B, 1, H, W) is."""
    return (image * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * image.shape[1])


def _steepness(image: Tensor) -> Tensor:
    """The length of the gradient of each pixel and channel, by forward differences: (B, C, H, W)."""
    right = functional.pad(image.diff(dim=3), (0, 1))
    down = functional.pad(image.diff(dim=2), (0, 0, 0, 1))
    return torch.hypot(right, down)
