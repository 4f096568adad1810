"""A whole model's frames per second, fused and eager, and the share of a frame that its operators take."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from internet import ops
from internet.comparison import eager
from internet.comparison.replacement import replaced_operators
from internet.comparison.timing import interleaved, synchronize
from internet.model import MotionTransfer


@dataclass(frozen=True)
class FrameSpeed:
    """Median seconds per frame, and the operators' share of it, for the fused and for the eager operators."""

    seconds: float
    eager_seconds: float
    share: float
    eager_share: float

    @property
    def ratio(self) -> float:
        """How many times faster the whole frame is."""
        return self.eager_seconds / self.seconds


class OperatorClock:
    """Adds up the seconds spent in the operators of `internet.ops`, or in their replacements."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """A context in which every call is timed, waiting for a GPU before and after each."""
        timed = {name: self._timed(getattr(ops, name)) for name in ops.OPERATORS}
        with replaced_operators(timed):
            yield

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            synchronize(self.device)
            begin = time.perf_counter()
            result = function(*arguments, **options)
            synchronize(self.device)
            self.seconds += time.perf_counter() - begin
            return result

        return call


def measure_frames(model: MotionTransfer, source: Tensor, driving: Tensor, seconds: float) -> FrameSpeed:
    """Stream frames, alternating between fused and eager, for a given time.

    What is computed once per source, its anchors and features, is not counted, as in a long video.

    Args:
        model: in evaluation mode.
        source, driving: (1, 3, H, W) in [0, 1], on the model's device.
        seconds: in total.
    """

    @torch.no_grad()
    def frame() -> Tensor:
        background = model.background_motion(source, driving)
        return model.imitate(source, anchors, features, model.kp_detector(driving), background).frame

    def eager_frame() -> Tensor:
        with eager.in_place_of_ours():
            return frame()

    with torch.no_grad():
        anchors, features = model.kp_detector(source), model.generator.encode(source)
    runs = {"fused": frame, "eager": eager_frame}
    timings = interleaved(runs, source.device, seconds=0.7 * seconds, with_host=True)
    fused, theirs = timings["fused"].median, timings["eager"].median
    count = max(3, int(0.1 * seconds / fused))
    share = _share(frame, source.device, count)
    with eager.in_place_of_ours():
        return FrameSpeed(fused, theirs, share, _share(frame, source.device, count))


def _share(run: Callable[[], Any], device: torch.device, count: int) -> float:
    """The share of `count` runs that is spent in the operators."""
    clock = OperatorClock(device)
    with clock.running():
        begin = time.perf_counter()
        for _ in range(count):
            run()
        synchronize(device)
        return clock.seconds / (time.perf_counter() - begin)
