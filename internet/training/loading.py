"""Samples read by worker processes, whose errors, of any kind, are raised in this process.

A worker sends back either samples or, as text, the reason why there are none. So no error has to be pickled or can be
lost, and none appears as another process's traceback.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from internet.training.sampler import EpochStream, StepSampler
from internet.utils.errors import format_error, is_expected

_SIGNALS = {signal.SIGTERM, signal.SIGINT}

#: How long to wait for the system's signal that a process has ended.
SIGNAL_SECONDS = 5.0


class SampleError(ValueError):
    """Samples cannot be read; the message states the reason."""


@dataclass(frozen=True)
class Failure:
    """Why samples could not be read: the reason and, for a bug in this library, the traceback."""

    reason: str
    trace: str = ""


class MicroBatchDataset(Dataset[Any]):
    """Collated samples of a stream, indexed by lists of their numbers; or the :class:`Failure` to read them."""

    def __init__(self, stream: EpochStream) -> None:
        self.stream = stream

    def __getitem__(self, numbers: list[int]) -> "dict[str, Any] | Failure":
        try:
            samples: dict[str, Any] = default_collate([self.stream[number] for number in numbers])
        except Exception as error:
            return Failure(format_error(error), "" if is_expected(error) else traceback.format_exc())
        return samples


def read_micro_batches(
    stream: EpochStream, sampler: StepSampler, *, workers: int, pin: bool
) -> Generator[Any, None, None]:
    """The collated samples of each micro-batch.

    Args:
        stream: of samples.
        sampler: of their numbers.
        workers: the number of processes that read; 0: this process reads.
        pin: into pinned memory, from which a GPU copies faster.

    Raises:
        SampleError: samples cannot be read, or a worker was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        MicroBatchDataset(stream),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=end_with_the_parent,
        multiprocessing_context="fork" if workers else None,
        pin_memory=pin,
        generator=torch.Generator("cpu"),  # not torch's global generator
    )
    with noticing_lost_workers():
        for samples in _received(loader):
            if isinstance(samples, Failure):
                if samples.trace:
                    raise RuntimeError(f"a bug in reading samples:\n{samples.trace}")
                raise SampleError(f"samples cannot be read: {samples.reason}")
            yield samples


def _received(loader: "DataLoader[Any]") -> Iterator[Any]:
    """The items of a loader; a worker that ends while its samples are fetched raises the same error as a killed one."""
    samples = iter(loader)
    end = object()
    while True:
        try:
            received = next(samples, end)
        except (OSError, EOFError) as error:  # the worker that made samples is asked for their memory
            time.sleep(SIGNAL_SECONDS)  # torch raises its own error here when the signal arrives
            raise RuntimeError(f"a DataLoader worker cannot be reached ({format_error(error)})") from error
        if received is end:
            return
        yield received


@contextmanager
def noticing_lost_workers() -> Iterator[None]:
    """A block that turns torch's error about a killed worker, which may be raised anywhere, into a SampleError."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SampleError(
            f"samples cannot be read: {str(error).splitlines()[0].rstrip('. ')}. Where memory is short, smaller "
            "data.workers and data.memory help"
        ) from error


def end_with_the_parent(worker: int = 0) -> None:
    """In a worker: end at SIGTERM from the parent process only.

    A terminal's Ctrl-C and a batch system's SIGTERM reach all processes of a run. Workers must continue then, as the
    process that needs their samples finishes its step and saves a checkpoint.
    """
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # also for the thread below and later ones

    def wait() -> None:
        while True:
            sent = signal.sigwaitinfo(_SIGNALS)
            if sent.si_signo == signal.SIGTERM and sent.si_pid == parent:
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _as_it_is(samples: Any) -> Any:
    return samples
