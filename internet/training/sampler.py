"""Which samples a step takes: a function of the seed and the step's number alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


def generator(*entropy: int) -> torch.Generator:
    """A generator of random numbers that depend on these numbers and on nothing else."""
    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


class Stream(Dataset[dict[str, Any]]):
    """The samples of epoch after epoch as one endless row. Number k is what it is whoever asks for it, and when.

    Args:
        data: a data set; one with a `set_epoch` is told the epoch of the sample that is asked for.
        seed: of the order, another in each epoch.
        endless: the data set is a row already: take it as it comes.
    """

    def __init__(self, data: Any, seed: int, *, endless: bool = False) -> None:
        self.data, self.seed, self.endless = data, seed, endless
        self._order: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, number: int) -> dict[str, Any]:
        epoch, place = divmod(number, len(self.data))
        if hasattr(self.data, "set_epoch"):
            self.data.set_epoch(epoch)
        sample: dict[str, Any] = self.data[place if self.endless else self.order(epoch)[place]]
        return sample

    def order(self, epoch: int) -> list[int]:
        """The samples of an epoch, shuffled."""
        if self._order[0] != epoch:
            self._order = (
                epoch,
                torch.randperm(len(self.data), generator=generator(self.seed, epoch), device="cpu").tolist(),
            )
        return self._order[1]


@dataclass(frozen=True)
class Share:
    """What each of `size` processes computes of a batch: `parts` pieces, one after the other.

    Raises:
        ValueError: the batch cannot be divided so.
    """

    batch: int
    parts: int = 1
    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.parts * self.size):
            raise ValueError(
                f"run.batch is {self.batch}, expected a multiple of run.accumulate times the number of processes, "
                f"{self.parts} x {self.size}"
            )

    def rows(self, part: int) -> slice:
        """The rows of the batch that are this process's piece number `part`."""
        count = self.batch // (self.parts * self.size)
        begin = (part * self.size + self.rank) * count
        return slice(begin, begin + count)


class Steps(Sampler[list[int]]):
    """The numbers of the samples of each piece of each step, from step `start` to before step `stop`."""

    def __init__(self, share: Share, start: int, stop: int) -> None:
        self.share, self.start, self.stop = share, start, stop

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            row = range(step * self.share.batch, (step + 1) * self.share.batch)
            for part in range(self.share.parts):
                yield list(row[self.share.rows(part)])

    def __len__(self) -> int:
        return (self.stop - self.start) * self.share.parts
