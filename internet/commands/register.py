"""`internet register`: explain one picture by another."""

import argparse
from typing import Any

from internet._files import output_folder
from internet.commands.arguments import ArgumentError, add_fit_arguments, blame
from internet.commands.explain import explain, require_packages
from internet.data.image import read_image


def add_parser(subparsers: Any) -> None:
    """Add `register` to the command line."""
    parser = subparsers.add_parser(
        "register",
        help="fit the motion between two pictures",
        description="Fit local affine motions that explain the driving picture by the source picture; "
        "write figure.png and state.pt.",
    )
    parser.add_argument("--source", required=True, metavar="PICTURE", help="the picture that is moved")
    parser.add_argument("--driving", required=True, metavar="PICTURE", help="the picture that is explained")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go: a new or empty folder")
    add_fit_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; bad input raises an error that names the argument."""
    require_packages()
    with blame("--source"):
        source = read_image(args.source)
    with blame("--driving"):
        driving = read_image(args.driving)
    if source.shape != driving.shape:
        sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (source, driving)]
        raise ArgumentError(f"--source is {sizes[0]} and --driving is {sizes[1]}; they must have the same size")
    with blame("--out"):
        folder = output_folder(args.out, overwrite=args.overwrite)
    explain(source, driving, f"{args.driving} explained by {args.source}", folder, args)
    return 0
