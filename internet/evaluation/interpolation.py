"""Interp-PSNR: whether each frame is what its neighbours suggest."""

from collections import deque
from collections.abc import Callable

from torch import Tensor

from internet.evaluation.frames import EQUAL, frame_quality
from internet.evaluation.measure import Column, Curve, Measure

NOTHING = float("nan")


class InterpolationQuality(Measure):
    """The PSNR of frames that a network interpolates between their generated neighbours, O_{t-1} and O_{t+1}.

    The paper compares with the real frame I_t, so that a model must be right to score well. Compared with the generated
    O_t, it measures only flicker, and a frozen video is perfect. The first and the last frame have no value.

    Args:
        interpolate: two frames (1, 3, H, W) in [0, 1] -> the one in the middle.
        network: its name, for the columns' titles.
        weights: their identity.
        instead_of: see :class:`~internet.evaluation.measure.Column`.
    """

    def __init__(
        self, interpolate: Callable[[Tensor, Tensor], Tensor], network: str, weights: str, instead_of: str = ""
    ) -> None:
        self._interpolate = interpolate
        about = f"PSNR of the frame that {network} interpolates between O(t-1) and O(t+1), against "
        stands_for = f"Interp-PSNR {instead_of}" if instead_of else ""
        self.columns = (
            Column("interp_psnr", f"Interp-PSNR ({network}), dB", "higher", f"{about}I(t)", weights, stands_for),
            Column(
                "interp_psnr_own",
                f"Interp-PSNR ({network}) against O(t), dB",
                "higher",
                f"{about}O(t): smoothness alone",
                weights,
            ),
        )
        self.reset()

    def reset(self) -> None:
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=3)
        self._curves: dict[str, Curve] = {column.key: [] for column in self.columns}

    def update(self, generated: Tensor, reference: Tensor) -> None:
        self._recent.append((generated, reference))
        if len(self._recent) == 3:
            (before, _), (ours, theirs), (after, _) = self._recent
            middle = self._interpolate(before, after)
            for key, wanted in (("interp_psnr", theirs), ("interp_psnr_own", ours)):
                self._curves[key].append(min(float(frame_quality(middle, wanted)["psnr"]), EQUAL))
        elif len(self._recent) == 1:
            for curve in self._curves.values():
                curve.append(NOTHING)

    def curves(self) -> dict[str, Curve]:
        """NaN for the last frame, and for all frames of a clip with fewer than three."""
        ends = min(len(self._recent), 2) - 1
        return {key: curve + [NOTHING] * ends for key, curve in self._curves.items()}
