"""A model's confidence against what is really visible in the source, where that is known."""

import torch
from torch import Tensor

from internet import ops
from internet.evaluation.means import Means
from internet.evaluation.motion import MOVING, check_motion


class ConfidenceMeans:
    """The mean of M where it should be high and where it should be low.

    The result has "confidence_visible", over the pixels of the driving frame that are visible in the source, and
    "confidence_vacated", over background that the figure covered in the source and no longer covers. Background is what
    is still or, with a moving camera, what moves like half of the frame.
    """

    def __init__(self) -> None:
        self.means = Means(("confidence_visible", "confidence_vacated"))

    def reset(self) -> None:
        """Forget all samples."""
        self.means.reset()

    def update(self, field: Tensor, confidence: Tensor, motion: Tensor, visible: Tensor) -> None:
        """Add samples.

        Args:
            field, motion, visible: as for :class:`~internet.evaluation.MotionError`.
            confidence: M^0, (B, 1, h, w), upsampled progressively to (H, W).
        """
        check_motion(field, motion, visible)
        field, everywhere = field.detach().float(), confidence.detach().float()
        while everywhere.shape[2] < motion.shape[2]:
            field, everywhere = ops.upsample_motion(field, everywhere)  # type: ignore[assignment]  # one came, one goes
        seen = visible > 0.5
        motion = motion.float()
        camera = motion.flatten(2).median(dim=2).values[:, :, None, None]
        ground = torch.minimum(motion.norm(dim=1), (motion - camera).norm(dim=1))[:, None] <= MOVING
        self.means.add(confidence_visible=everywhere[seen], confidence_vacated=everywhere[~seen & ground])

    def compute(self) -> dict[str, float]:
        """The means over all counted pixels since the last reset, of this process; see :class:`Means`."""
        return self.means.compute()
