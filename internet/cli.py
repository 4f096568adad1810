"""The command line: `internet COMMAND ...`, or `python -m internet COMMAND ...`.

A command is a module with `add_parser(subparsers)`, which adds its parser, and `run(args)`. Only the module
of the command that is asked for is imported: a command does not fail for what another one lacks.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from internet import __version__

COMMANDS = {
    "info": "internet.info",
    "train": "internet.commands.train",
    "demo": "internet.commands.demo",
    "register": "internet.commands.register",
    "synth": "internet.commands.synth",
    "animate": "internet.commands.animate",
    "import-fomm": "internet.commands.import_fomm",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: the command's own, or 2 with the reason on standard error for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="internet", description="Operators for motion-transfer networks.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = [name for name in arguments[:1] if name in COMMANDS]
    modules = {name: importlib.import_module(COMMANDS[name]) for name in wanted or COMMANDS}
    for module in modules.values():
        module.add_parser(subparsers)
    args = parser.parse_args(arguments)
    try:
        status: int = modules[args.command].run(args)
    except (OSError, ValueError, ImportError) as error:  # what bad input raises; anything else is our mistake
        print(f"internet {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"internet {args.command}: interrupted", file=sys.stderr)
        return 130
    return status
