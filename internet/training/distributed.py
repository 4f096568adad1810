"""The processes that train together, and what they exchange besides gradients."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

#: Matches the message of a collective whose peer has ended.
_CONNECTION_LOST = re.compile(r"connection (closed|reset|refused)|broken pipe|socket closed", re.IGNORECASE)


class PeerError(RuntimeError):
    """Another process of this training has failed; it has printed the reason."""


@dataclass(frozen=True)
class World:
    """This process among `size` processes, and its device. With one process the exchanges do nothing."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str = "auto") -> "World":
        """The world that torchrun's environment variables describe, or a single process; `device` is auto, cpu or cuda.

        Raises:
            ValueError: there is no CUDA device for "cuda"; the environment variables are not torchrun's.
            OSError: the processes cannot connect.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("run.device is cuda, and torch finds no CUDA device")
        kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        if "RANK" not in os.environ:
            return cls(torch.device(kind))
        rank, size, place = _place(kind)
        try:
            store, rank, size = next(distributed.rendezvous("env://"))
            # torchrun keeps the store when it restarts all processes: the entries of the first start must not be read
            attempt = distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
            distributed.init_process_group(backend, store=attempt, rank=rank, world_size=size)
        except (RuntimeError, ValueError) as error:
            address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            reason = str(error).splitlines()[0]
            raise OSError(f"the processes cannot meet at {address} (MASTER_ADDR, MASTER_PORT): {reason}") from error
        return cls(place, rank, size)

    def leave(self) -> None:
        """Leave the process group, if there is one."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, with gradients averaged over all processes.

        Not every step uses every parameter: a term's weight may still be 0. With `find_unused_parameters` the buckets
        of the exchange also stay the same from the first step on, so that sums over more than two processes are taken
        in the same order after a restart.
        """
        return DistributedDataParallel(module, find_unused_parameters=True) if self.size > 1 else module

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that, if it fails in one process, raises an error in all of them at once.

        Otherwise the others would wait for that process in their next collective. The block itself must have none.

        Raises:
            PeerError: another process failed.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        (failed,) = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise PeerError("another process of this training has failed")

    @contextmanager
    def noticing_lost_peers(self) -> Iterator[None]:
        """A block whose collectives raise a PeerError, not the backend's own error, if a process has ended."""
        try:
            yield
        except RuntimeError as error:
            if self.size > 1 and _CONNECTION_LOST.search(str(error)):
                raise PeerError("another process of this training has ended") from error
            raise

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is true in any process."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return [bool(flag) for flag in raised]

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The mean of each scalar over all processes."""
        stacked = torch.stack([value.detach().double() for value in values.values()]).cpu()
        return dict(zip(values, (self.sum(stacked) / self.size).tolist(), strict=True))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on the CPU."""
        values = values.cpu()
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def all_gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes."""
        if self.size == 1:
            return list(items)
        lists: list[Any] = [None] * self.size
        distributed.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def broadcast(self, item: T) -> T:
        """The item of the main process."""
        items = [item]
        if self.size > 1:
            distributed.broadcast_object_list(items, device=torch.device("cpu"))
        return items[0]


def _place(kind: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes and device, from torchrun's environment variables; ValueError if they are invalid."""
    rank, size = _variable("RANK"), _variable("WORLD_SIZE")
    if not 0 <= rank < size:
        raise ValueError(f"the environment variable RANK is {rank}, expected 0 to WORLD_SIZE - 1, {size - 1}")
    if kind == "cpu":
        return rank, size, torch.device("cpu")
    local, count = _variable("LOCAL_RANK"), torch.cuda.device_count()
    if not 0 <= local < count:
        raise ValueError(f"the environment variable LOCAL_RANK is {local}, and torch finds {count} CUDA devices")
    torch.cuda.set_device(local)
    return rank, size, torch.device("cuda", local)


def _variable(name: str) -> int:
    text = os.environ.get(name, "")
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"the environment variable {name} is '{text}', expected a number, as torchrun sets it"
        ) from None
