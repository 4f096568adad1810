"""A model's motion field against the true motion, where it is known."""

from torch import Tensor

from internet.evaluation.means import Means
from internet.geometry import full_flow

#: Pixels that move less are not counted: on a still background every model does well.
MOVING = 1.0


class MotionError:
    """Mean end-point error in pixels, over the pixels that truly move and whose source is visible.

    The result has "epe", of the model, and "epe_zero", of a model that moves nothing, which is the mean true length;
    and "unexplained", the sum of the squared errors over these pixels divided by the sum of the squared lengths: 0 for
    the true motion and 1 for none. Large motions, of a hand or a foot, have more weight in it than their few pixels.
    """

    def __init__(self) -> None:
        self.means = Means(("epe", "epe_zero", "unexplained"))

    def reset(self) -> None:
        """Forget all samples."""
        self.means.reset()

    def update(self, field: Tensor, motion: Tensor, visible: Tensor) -> None:
        """Add samples.

        Args:
            field: (B, h, w, 2), a motion field as in :class:`~internet.model.Motion`, normalised; upsampled
                progressively to (H, W), which is (h, w) times a power of two.
            motion: (B, 2, H, W), the true flow in pixels from the driving frame to the source.
            visible: (B, 1, H, W), 1 where the driving frame's content is visible in the source, too.
        """
        check_motion(field, motion, visible)
        height, width = motion.shape[-2:]
        found, motion = full_flow(field.detach().float(), (height, width)), motion.float()
        length = motion.norm(dim=1)
        counted = (visible[:, 0] > 0.5) & (length > MOVING)
        left, length = (found - motion).norm(dim=1)[counted], length[counted]
        self.means.add(epe=left, epe_zero=length)
        self.means.add_ratio("unexplained", left.square(), length.square())

    def compute(self) -> dict[str, float]:
        """The means over all counted pixels since the last reset, of this process; see :class:`Means`."""
        return self.means.compute()


def check_motion(field: Tensor, motion: Tensor, visible: Tensor) -> None:
    """Raise a ValueError for a field and a true motion that do not fit together."""
    if motion.dim() != 4 or motion.shape[1] != 2:
        raise ValueError(f"motion has shape {tuple(motion.shape)}, expected (B, 2, H, W)")
    batch, _, height, width = motion.shape
    if visible.shape != (batch, 1, height, width):
        raise ValueError(f"visible has shape {tuple(visible.shape)}, expected {(batch, 1, height, width)}")
    if field.dim() != 4 or field.shape[0] != batch or field.shape[3] != 2 or not _fits(field, motion):
        raise ValueError(
            f"field has shape {tuple(field.shape)}, expected ({batch}, h, w, 2), "
            f"where ({height}, {width}) is (h, w) times a power of two"
        )


def _fits(field: Tensor, motion: Tensor) -> bool:
    height, width = field.shape[1:3]
    factor = motion.shape[2] // max(height, 1)
    return factor.bit_count() == 1 and motion.shape[2:] == (height * factor, width * factor)
