"""E_warp: how well the flow of the real video explains the generated one (Lai et al., 2018)."""

from collections.abc import Callable

import torch
from torch import Tensor

from internet import ops
from internet.evaluation.measure import Column, Curve, Measure
from internet.flow import FlowEstimator


@torch.no_grad()
def warping_error(
    frame: Tensor, following: Tensor, flow: Tensor, flow_backward: Tensor | None = None, mask: Tensor | None = None
) -> float:
    r"""The mean squared difference of a frame and the back-warped next one, where the flow is reliable.

    .. math:: \frac{1}{\sum_z M} \sum_z M \, \| O_t - f(O_{t+1}) \|_2^2

    per channel, as in "Learning blind video temporal consistency", Eq. 11; samples out of the frame do not count.

    Args:
        frame, following: O_t and O_{t+1}, (1, 3, H, W) in [0, 1].
        flow: from t to t + 1 in the *real* video, (1, 2, H, W) in pixels.
        flow_backward: from t + 1 to t; M is 1 where both agree.
        mask: M itself, (1, 1, H, W) of 0 and 1, instead.

    Returns:
        The error; NaN if no pixel is reliable.
    """
    if mask is None:
        if flow_backward is None:
            raise ValueError("flow_backward and mask are both missing; expected one of them")
        mask = ops.flow_confidence(flow, flow_backward)
    options = {"norm": "l2", "reduction": "sum", "padding_mode": "valid"}
    error = ops.masked_backwarp_loss(following, frame, flow, mask, **options)
    nothing, one = torch.zeros_like(frame), torch.ones_like(frame)
    counted = ops.masked_backwarp_loss(one, nothing, flow, mask, **options)
    return float(error / counted) if counted > 0 else float("nan")


class WarpingError(Measure):
    """E_warp of the generated video, and of the real one, which shows the effect of flow errors and noise.

    Args:
        flow: estimates the flow between two real frames.
    """

    def __init__(self, flow: FlowEstimator) -> None:
        self._flow: Callable[[Tensor, Tensor], Tensor] = flow
        about = "squared difference of a frame and the next, back-warped by the real video's flow where it is reliable"
        self.columns = (
            Column("e_warp", "E_warp ×1000", "lower", about, flow.identity),
            Column("e_warp_reference", "E_warp of the real video ×1000", "lower", "the same of it", flow.identity),
        )
        self.reset()

    def reset(self) -> None:
        self._before: tuple[Tensor, Tensor] | None = None
        self._curves: dict[str, Curve] = {column.key: [] for column in self.columns}

    def update(self, generated: Tensor, reference: Tensor) -> None:
        values = [float("nan")] * 2
        if self._before is not None:
            ours, theirs = self._before
            flow, backward = self._flow(theirs, reference), self._flow(reference, theirs)
            mask = ops.flow_confidence(flow, backward)
            pairs = ((ours, generated), (theirs, reference))
            values = [1000 * warping_error(*pair, flow, mask=mask) for pair in pairs]
        for column, value in zip(self.columns, values, strict=True):
            self._curves[column.key].append(value)
        self._before = generated, reference

    def curves(self) -> dict[str, Curve]:
        return self._curves
