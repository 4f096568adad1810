"""The choice of a sample's frames among those of a clip."""

from collections.abc import Sequence

import torch

SOURCES = ("first", "random")


class FrameSampler:
    """Draws a source frame and a driving frame that is far enough from it in time.

    Args:
        min_seconds: the least time between the two.
        frames: (start, stop), as in ``slice``: the range of driving frames.
        source: "first", the clip's first frame, as in the paper; "random", any in the same range. A model that was
            trained on first frames alone generalises poorly to other sources.
    """

    def __init__(
        self, min_seconds: float = 2.0, frames: tuple[int | None, int | None] = (None, None), source: str = "first"
    ) -> None:
        if source not in SOURCES:
            raise ValueError(f"source is {source!r}, expected {' or '.join(map(repr, SOURCES))}")
        self.min_seconds, self.frames, self.source = min_seconds, slice(*frames), source

    def draw(self, times: Sequence[float], generator: torch.Generator) -> tuple[int, int]:
        """The numbers of a source and a driving frame of a clip whose frames are shown at `times` (seconds)."""
        current = _any(self.driving(times), generator)
        return _any(self.sources(times, current), generator), current

    def driving(self, times: Sequence[float]) -> list[int]:
        """The possible numbers of a driving frame: one with a predecessor that is not its source."""
        numbers = self.numbers(times)
        ends = self._known(numbers)[:1] + self._known(numbers)[-1:]  # times ascend, so the furthest is one of these
        return [number for number in numbers if number > 0 and self._far(times, number, ends)]

    def sources(self, times: Sequence[float], current: int) -> list[int]:
        """The possible numbers of a driving frame's source."""
        return self._far(times, current, self._known(self.numbers(times)))

    @property
    def need(self) -> str:
        """What a clip needs, in words for a message."""
        where = "" if self.frames == slice(None) else f" of those numbered {self.frames.start} to {self.frames.stop}"
        which = "the first" if self.source == "first" else "its source"
        return f"a sample needs three{where}, the driving one {self.min_seconds:g} s from {which}"

    def numbers(self, times: Sequence[float]) -> list[int]:
        """The numbers in the range, of driving frames and random sources."""
        return list(range(len(times)))[self.frames]

    def _known(self, numbers: list[int]) -> list[int]:
        return [0] if self.source == "first" else numbers

    def _far(self, times: Sequence[float], current: int, sources: list[int]) -> list[int]:
        far = [number for number in sources if abs(times[current] - times[number]) >= self.min_seconds]
        return [number for number in far if number not in (current, current - 1)]


def _any(numbers: Sequence[int], generator: torch.Generator) -> int:
    return numbers[int(torch.randint(len(numbers), (), generator=generator, device=generator.device))]
