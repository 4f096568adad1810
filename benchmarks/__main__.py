"""The commands: `python -m benchmarks COMMAND --help`."""

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "compare": "benchmarks.ops.compare",
    "variants": "benchmarks.ops.variants",
    "overhead": "benchmarks.ops.overhead",
    "small-shapes": "benchmarks.ops.small_shapes",
    "throughput": "benchmarks.models.throughput",
    "animation": "benchmarks.models.animation",
    "gpu-report": "benchmarks.gpu.report",
    "publish": "benchmarks.gpu.publish",
}
"""The module of each command. Only the requested one is imported."""


def usage() -> str:
    """Every command, with the first line of its module's docstring."""
    about = {name: (importlib.import_module(module).__doc__ or "").splitlines()[0] for name, module in COMMANDS.items()}
    lines = (f"  {name:<13}{summary.partition(': `')[0]}" for name, summary in about.items())
    return "\n".join(["usage: python -m benchmarks COMMAND ...", "", *lines])


def main(argv: Sequence[str]) -> None:
    """Run the command named by the first argument."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return
    if argv[0] not in COMMANDS:
        sys.exit(f"python -m benchmarks: got {argv[0]!r}, expected one of {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[argv[0]]).main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
