"""`internet import-fomm`: convert a first-order-motion checkpoint to one of this library."""

import argparse
from pathlib import Path
from typing import Any

from internet.commands._shared.arguments import ArgumentError, argument_errors, at_least
from internet.model.checkpoint import save_model
from internet.model.first_order import FirstOrderConfig, import_checkpoint
from internet.model.first_order.importing import PUBLISHED
from internet.model.first_order.settings_file import read_settings
from internet.model.weights import is_before_torch_1_6, read_weights
from internet.utils.files import output_file

EPILOG = """\
The weights show how many anchors, layers and channels there are. The temperature and padding of the heat maps, the
variance of the Gaussians, and the size of the frames are only in the YAML file (docs/import.md).
"""


def add_parser(subparsers: Any) -> None:
    """Add `import-fomm` to the command line."""
    parser = subparsers.add_parser(
        "import-fomm",
        help="convert a first-order-motion checkpoint to one of this library",
        description="Read a checkpoint written by first-order-motion's code, key-point detector and generator, and "
        "write the model for `internet animate --checkpoint`, `internet.load_model` and, for its stage I, "
        "`internet train warm_start=FILE model.stage_one=first-order`. Reading it runs no code from the file.",
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="for instance vox-cpk.pth.tar")
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--config", metavar="YAML", help="the settings it was trained with, such as vox-256.yaml")
    settings.add_argument(
        "--published-settings",
        action="store_true",
        help="without the YAML file: what the weights do not show is as in every published configuration, "
        + _listed(PUBLISHED),
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write, such as vox.safetensors")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--size", type=at_least(1), metavar="S", help="side of the frames (default: the settings')")
    parser.add_argument(
        "--trained-with-torch-1.0",
        action="store_true",
        dest="align_corners",
        help="sample as torch before 1.3 did (align_corners=True), with which the weights of 2019 were trained "
        "(default: as first-order-motion's code does with any later torch)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    if args.config is None and not args.published_settings:
        raise ArgumentError(
            f"--config: the weights do not show {', '.join(PUBLISHED)}; name the YAML file that they were trained "
            f"with, or pass --published-settings to assume {_listed(PUBLISHED)}"
        )
    with argument_errors("--out"):
        output_file(args.out, overwrite=args.overwrite)
    with argument_errors("CHECKPOINT"):
        checkpoint = read_weights(args.checkpoint)
    settings = None
    if args.config is not None:
        with argument_errors("--config"):
            settings = read_settings(args.config)
    given = {"CHECKPOINT": True, "--config": args.config, "--size": args.size}
    with argument_errors(", ".join(name for name, value in given.items() if value is not None)):
        model = import_checkpoint(checkpoint, settings, size=args.size, align_corners=args.align_corners)
    origin = {"checkpoint": Path(args.checkpoint).name, "settings": args.config and Path(args.config).name}
    with argument_errors("--out"):
        save_model(args.out, model, metadata={"imported_from": origin})
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.out}: first-order-motion, {parameters / 1e6:.1f} M parameters, {_summary(model.config)}")
    if settings is None:
        print(f"assumed, because the weights do not show it: {_listed({**PUBLISHED, 'size': model.config.size})}")
    if not args.align_corners and is_before_torch_1_6(args.checkpoint):
        print(
            "the checkpoint was saved by a torch before 1.6. If that was 1.0 to 1.2, as first-order-motion required "
            "until 2022, --trained-with-torch-1.0 samples as in training"
        )
    return 0


def _summary(config: FirstOrderConfig) -> str:
    """A summary of a model, in one line."""
    jacobians = {0: "no Jacobians", 1: "one Jacobian map"}.get(config.jacobian_maps, "a Jacobian map each")
    parts = [f"{config.anchors} anchors", jacobians, f"frames {config.size} × {config.size} × {config.frame_channels}"]
    return ", ".join([*parts, "an occlusion map" if config.confidence else "no occlusion map"])


def _listed(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
