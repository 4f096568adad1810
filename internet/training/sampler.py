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


class EpochStream(Dataset[dict[str, Any]]):
    """The samples of epoch after epoch as one endless sequence: sample k depends on k alone, not on who asks or when.

    Args:
        data: a data set; one with a `set_epoch` is told the epoch of the sample that is asked for.
        seed: of the order, another in each epoch.
        endless: the data set is endless and in random order itself: take it as it comes.
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
class BatchShard:
    """What each of `size` processes computes of a batch: `count` micro-batches, one after the other.

    Raises:
        ValueError: the batch cannot be divided so.
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
        """The rows of the batch that are this process's micro-batch number `index`."""
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
