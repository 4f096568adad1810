"""The processes that train together: who they are, and what little they tell each other besides gradients."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among `size`, and its device. To a lone process all of this is trivial."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str = "auto") -> "World":
        """The world that torchrun's environment describes, or a world of one; `device` is auto, cpu or cuda.

        Raises:
            ValueError: CUDA is asked for and there is none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, and torch finds no CUDA device")
        kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        if "RANK" not in os.environ:
            return cls(torch.device(kind))
        place = torch.device("cpu")
        if kind == "cuda":
            place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(place)
        store, rank, size = next(distributed.rendezvous("env://"))
        # torchrun keeps the store when it starts everybody again: what they had written must not be found there
        attempt = distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        distributed.init_process_group(backend, store=attempt, rank=rank, world_size=size)
        return cls(place, rank, size)

    def leave(self) -> None:
        """The end of the conversation."""
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether it is this process that writes and speaks."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are means over all processes.

        Not every step reaches every parameter: a term may have no weight yet. To look for those that are not
        reached also keeps the buckets of the exchange as they are from the first step on, so that sums over more
        than two processes are taken in the same order after a restart.
        """
        return DistributedDataParallel(module, find_unused_parameters=True) if self.size > 1 else module

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether any process has raised it."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in raised]

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The mean of each scalar over all processes."""
        stacked = torch.stack([value.detach().double() for value in values.values()]).cpu()
        return dict(zip(values, (self.total(stacked) / self.size).tolist(), strict=True))

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, on the CPU."""
        values = values.cpu()
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def collected(self, items: Sequence[T]) -> list[T]:
        """The items of all processes."""
        if self.size == 1:
            return list(items)
        lists: list[Any] = [None] * self.size
        distributed.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def told(self, item: T) -> T:
        """What the first process says."""
        items = [item]
        if self.size > 1:
            distributed.broadcast_object_list(items, device=torch.device("cpu"))
        return items[0]
