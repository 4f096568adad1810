"""Shared by the commands' parsers: numbers with limits, and errors that name the argument."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from internet import ops
from internet.utils.errors import format_error
from internet.utils.files import numbered_folder, output_folder


class ArgumentError(ValueError):
    """Something is wrong with what the user passed; the message begins with the argument's name."""


@contextmanager
def argument_errors(argument: str) -> Iterator[None]:
    """Put the argument's name before the message of any ValueError or OSError raised inside."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ArgumentError(f"{argument}: {format_error(error)}") from error


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number, at least ``least``."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got '{text}'") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}, got {value}")
        return value

    return number


def positive(text: str) -> float:
    """An argparse type: a finite number above 0."""
    return _number(text, "a number above 0", lambda value: 0 < value < math.inf)


def fraction(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    return _number(text, "a fraction, 0 to 1", lambda value: 0 <= value <= 1)


def _number(text: str, expected: str, allowed: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not allowed(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
    return value


def device(text: str) -> torch.device:
    """An argparse type: a device that torch can use here."""
    try:
        found = torch.device(text)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without CUDA
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"the device '{text}' cannot be used ({reason})") from None
    return found


def operator_backend(name: str | None, place: torch.device) -> AbstractContextManager[None]:
    """The context that selects the backend named by --backend; None for the fastest.

    Raises :class:`ArgumentError` if it is not ready, or does not serve this device.
    """
    if name is None:
        return nullcontext()
    try:
        with ops.backend(name):
            ops.upsample_motion(torch.zeros(1, 1, 1, 2, device=place))
    except RuntimeError as error:
        raise ArgumentError(f"--backend: {error}") from error
    return ops.backend(name)


def add_folder_arguments(parser: argparse.ArgumentParser, runs: Path) -> None:
    """--out and --overwrite, for :func:`result_folder`."""
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help=f"where the results go: a new or empty folder (default: the next free {runs}/run-001, run-002, ...)",
    )
    parser.add_argument("--overwrite", action="store_true", help="write to a folder that is not empty")


def result_folder(args: argparse.Namespace, runs: Path) -> Path:
    """The folder named by --out, or a new numbered one in `runs`, so that every run has its own."""
    with argument_errors("--out"):
        return output_folder(args.out, overwrite=args.overwrite) if args.out else numbered_folder(runs, "run")
