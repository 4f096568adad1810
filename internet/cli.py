"""The command line: `internet COMMAND ...`, or `python -m internet COMMAND ...`.

A command is a module with `add_parser(subparsers)`, which adds its parser, and `run(args)`. Only the module
of the requested command is imported, so that a command does not fail for something that only another one needs. torch
is imported with these modules and not before, so that Ctrl-C during its import is handled as at any other time.
"""

import argparse
import importlib
import io
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from internet import __version__
from internet.utils.errors import format_error, is_expected

COMMANDS = {
    "train": "internet.commands.train",
    "animate": "internet.commands.animate",
    "evaluate": "internet.commands.evaluate",
    "ablate": "internet.commands.ablate",
    "study": "internet.commands.study",
    "synth": "internet.commands.synth",
    "register": "internet.commands.register",
    "demo": "internet.commands.demo",
    "import-fomm": "internet.commands.import_fomm",
    "info": "internet.commands.info",
}

#: An option by itself, or with its value behind "="; a version may end its name (`--trained-with-torch-1.0`).
OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9-]*(=|$)|--[A-Za-z][A-Za-z0-9-]*-\d+\.\d+$")

ABOUT = """\
Human motion transfer: train an INTERnet, animate pictures, and see what the fused operators do on this machine.
`internet COMMAND --help` describes a command. The operators themselves are used from Python: `internet.ops`.
"""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received, which ends a command as Ctrl-C does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status, or 2, with the reason on standard error, for bad input.

    Ctrl-C and SIGTERM end a command with status 130 and 143. Both unwind the stack, so that no half-written file is
    left.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    with _sigterm_unwinds():
        try:
            return _run(arguments)
        except Terminated:
            how, number = "terminated", signal.SIGTERM
        except KeyboardInterrupt:
            how, number = "interrupted", signal.SIGINT
        print(f"{_called(arguments)}: {how}", file=sys.stderr)
    return 128 + number


def _run(arguments: list[str]) -> int:
    try:
        status = _command(arguments)
        if sys.stdout is not None:  # as after `>&-`
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has finished
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 128 + signal.SIGPIPE
    except Exception as error:
        if not is_expected(error):
            raise
        print(f"{_called(arguments)}: {format_error(error)}", file=sys.stderr)
        return 2
    return status


def _attach_names(arguments: list[str]) -> list[str]:
    """`--out -a.mp4` as `--out=-a.mp4`: argparse considers every word that begins with a dash an option."""
    attached: list[str] = []
    for argument in arguments:
        names_file = argument.startswith("-") and ("." in argument or "/" in argument) and not OPTION.match(argument)
        if names_file and attached and OPTION.fullmatch(attached[-1]):
            attached[-1] += f"={argument}"
        else:
            attached.append(argument)
    return attached


def _command(arguments: list[str]) -> int:
    """Parse the arguments and run the command that they name."""
    parser = argparse.ArgumentParser(prog="internet", description=ABOUT)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = [name for name in arguments[:1] if name in COMMANDS]
    modules = {name: importlib.import_module(COMMANDS[name]) for name in wanted or COMMANDS}
    for module in modules.values():
        module.add_parser(subparsers)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    args, behind = parser.parse_known_args(_attach_names(arguments))
    if behind and (not hasattr(args, "settings") or any(word.startswith("-") for word in behind)):
        parser.error(f"unrecognized arguments: {' '.join(behind)}")
    if behind:  # settings on both sides of an option: argparse only parsed the first group
        args.settings += behind
    args.line = shlex.join(["internet", *arguments])  # shown where a command has to be repeated
    status: int = modules[args.command].run(args)
    return status


def _called(arguments: list[str]) -> str:
    """The command as it was called, without its options."""
    return " ".join(["internet", *(name for name in arguments[:1] if name in COMMANDS)])


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """A context in which SIGTERM raises Terminated, unless it is handled already. Only works in the main thread.

    Not under torchrun: its processes may wait for each other in native code, where no handler runs, so they end at
        once.
    """
    lone = "RANK" not in os.environ and threading.current_thread() is threading.main_thread()
    ours = lone and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def unwind(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice: the second must not interrupt the clean-up
        raise Terminated

    if ours:
        signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
