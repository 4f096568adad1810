"""The choice of a step's samples, which depends only on the seed and the step's number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


def generator(*entropy: int) -> torch.Generator:
    """A random number generator seeded by these numbers alone."""
    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


class EpochStream(Dataset[dict[str, Any]]):
    """The samples of successive epochs as one endless sequence; sample k depends only on k, not on earlier requests.

    Args:
        data: a data set; if it has a `set_epoch`, that is called with the requested sample's epoch.
        seed: of the order, which differs in each epoch.
        endless: the data set is itself endless and in random order: do not shuffle.
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
        """The numbers of an epoch's samples, shuffled."""
        if self._order[0] != epoch:
            self._order = (
                epoch,
                torch.randperm(len(self.data), generator=generator(self.seed, epoch), device="cpu").tolist(),
            )
        return self._order[1]


@dataclass(frozen=True)
class BatchShard:
    """The division of a batch among `size` processes, each with `count` micro-batches, one after the other.

    Raises:
        ValueError: the batch cannot be divided evenly.
    """

    batch: int
    count: int = 1
    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.count * self.size):
            raise ValueError(
                f"run.batch is {self.batch}, expected a multiple of run.accumulate times the number of processes, "
                f"{self.count} x {self.size}"
            )

    def rows(self, index: int) -> slice:
        """The rows of the batch in this process's micro-batch number `index`."""
        length = self.batch // (self.count * self.size)
        begin = (index * self.size + self.rank) * length
        return slice(begin, begin + length)


class StepSampler(Sampler[list[int]]):
    """The numbers of the samples of each micro-batch of each step, from step `start` to before step `stop`."""

    def __init__(self, shard: BatchShard, start: int, stop: int) -> None:
        self.shard, self.start, self.stop = shard, start, stop

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            numbers = range(step * self.shard.batch, (step + 1) * self.shard.batch)
            for index in range(self.shard.count):
                yield list(numbers[self.shard.rows(index)])

    def __len__(self) -> int:
        return (self.stop - self.start) * self.shard.count
