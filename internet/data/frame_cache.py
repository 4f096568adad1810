"""A cache of decoded frames and of results from them, so that a short clip is decoded once, not once per sample."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any


class FrameCache:
    """The most recently used frames or results, up to a number of bytes; each worker has its own.

    Args:
        limit: bytes; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self._frames: OrderedDict[tuple[Hashable, int], Any] = OrderedDict()

    def read(self, clip: Hashable, numbers: Sequence[int], read: Callable[[list[int]], list[Any]]) -> list[Any]:
        """The frames of a clip with these numbers; `read` is called once, for those that are not in the cache."""
        missing = sorted({number for number in numbers if (clip, number) not in self._frames})
        fresh = dict(zip(missing, read(missing), strict=True)) if missing else {}
        frames = [fresh[number] if number in fresh else self._frames[clip, number] for number in numbers]
        for number, frame in zip(numbers, frames, strict=True):
            self._keep((clip, number), frame)
        return frames

    def _keep(self, key: tuple[Hashable, int], frame: Any) -> None:
        if key not in self._frames:
            self.size += frame.nbytes
        self._frames[key] = frame
        self._frames.move_to_end(key)
        while self.size > self.limit:
            self.size -= self._frames.popitem(last=False)[1].nbytes

    def __getstate__(self) -> dict[str, object]:
        """A worker starts with an empty cache."""
        return {"limit": self.limit, "size": 0, "_frames": OrderedDict()}
