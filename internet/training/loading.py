"""Samples read by other processes, and what goes wrong there raised in this one, whatever it was.

A process that reads sends back either samples or, as text, the reason why there are none. So no error has to be
pickled, none is lost on its way, and none arrives as another process's traceback.
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

#: For how long the system's word that a process has ended is waited for.
SIGNAL_SECONDS = 5.0


class SampleError(ValueError):
    """Samples cannot be read; the message says why."""


@dataclass(frozen=True)
class Failure:
    """Why samples could not be read: the reason, and where it was raised if it is a bug of ours."""

    reason: str
    trace: str = ""


class MicroBatchDataset(Dataset[Any]):
    """Collated samples of a stream by a list of their numbers, or the :class:`Failure` to read them."""

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
    """Collated samples, micro-batch after micro-batch.

    Args:
        stream: where samples come from.
        sampler: their numbers.
        workers: how many processes read; 0: this one does.
        pin: put them into pinned memory, from which a GPU copies faster.

    Raises:
        SampleError: they cannot be read, or a process that reads was killed.
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
        generator=torch.Generator("cpu"),  # or it would draw from everybody's
    )
    with noticing_lost_workers():
        for samples in _received(loader):
            if isinstance(samples, Failure):
                if samples.trace:
                    raise RuntimeError(f"a bug in reading samples:\n{samples.trace}")
                raise SampleError(f"samples cannot be read: {samples.reason}")
            yield samples


def _received(loader: "DataLoader[Any]") -> Iterator[Any]:
    """What a loader gives; a process that ends while its samples are fetched is a lost one too."""
    samples = iter(loader)
    end = object()
    while True:
        try:
            received = next(samples, end)
        except (OSError, EOFError) as error:  # the memory of samples is asked for at the process that made them
            time.sleep(SIGNAL_SECONDS)  # torch raises from here when the system says which process it was
            raise RuntimeError(f"a DataLoader worker cannot be reached ({format_error(error)})") from error
        if received is end:
            return
        yield received


@contextmanager
def noticing_lost_workers() -> Iterator[None]:
    """A block in which torch's error about a reading process that was killed, raised anywhere, is a SampleError."""
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
    """In a process that reads: end at SIGTERM from the parent, and at nobody else's.

    A terminal's Ctrl-C and a batch system's SIGTERM reach all processes of a run. Those that read must go on then, for
    the one they read for finishes its step and saves its work.
    """
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # for the thread below as well, and all that follow

    def wait() -> None:
        while True:
            sent = signal.sigwaitinfo(_SIGNALS)
            if sent.si_signo == signal.SIGTERM and sent.si_pid == parent:
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _as_it_is(samples: Any) -> Any:
    return samples
