"""`internet import-fomm`: stage I of a first-order-motion checkpoint, as the start of an INTERnet."""

import argparse
from typing import Any

from internet.commands._shared.arguments import argument_errors
from internet.model.first_order import stage_one
from internet.model.weights import read_weights, write_weights
from internet.utils.files import output_file


def add_parser(subparsers: Any) -> None:
    """Add `import-fomm` to the command line."""
    parser = subparsers.add_parser(
        "import-fomm",
        help="take stage I from a first-order-motion checkpoint",
        description="Check the key-point detector and the dense-motion network of a first-order-motion checkpoint "
        "and write their weights, for a model with stage_one = 'first-order': `internet train warm_start=FILE "
        "model.stage_one=first-order ...`, or `model.load_stage_one`. The generator's weights stay behind.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="for instance vox-cpk.pth.tar")
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write, such as stage_one.pth")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument(
        "--trust", action="store_true", help="read a file that holds more than tensors, and run what code is in it"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    with argument_errors("--out"):
        output_file(args.out, overwrite=args.overwrite)
    with argument_errors("CHECKPOINT"):
        state = stage_one(read_weights(args.checkpoint, trust=args.trust))
    with argument_errors("--out"):
        write_weights(args.out, state)
    parameters = sum(value.numel() for name, value in state.items() if "running" not in name)
    anchors = state["kp_detector.kp.weight"].shape[0]
    print(f"{args.out}: {len(state)} tensors, {parameters / 1e6:.1f} M numbers, {anchors} anchors")
    return 0
