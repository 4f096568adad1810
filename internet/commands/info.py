"""`python -m internet info`: versions, backends and why one is not ready, instruction set, GPU, build; or a model."""

import argparse
import importlib.metadata
import json
import platform
from typing import Any

import torch

import internet
from internet.commands._shared.arguments import argument_errors
from internet.model.checkpoint import find_checkpoint, read_checkpoint
from internet.model.config import PRESETS, INTERnetConfig
from internet.model.cost import model_cost
from internet.utils import library

_PLAIN = (bool, int, float, str)


def gather() -> dict[str, Any]:
    """Everything a bug report needs, as plain JSON types."""
    return {
        "versions": _versions(),
        "backends": {name: str(status) for name, status in internet.ops.backends().items()},
        "cpu": {"threads": torch.get_num_threads(), "instruction set": _instruction_set()},
        "gpu": [_gpu(index) for index in range(torch.cuda.device_count())],
        "build": library.build_info() or {"_C": library.reasons["_C"]},
    }


def _versions() -> dict[str, str | None]:
    try:
        triton = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        triton = None
    return {
        "internet": internet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "CUDA of torch": torch.version.cuda,
        "triton": triton,
        "platform": platform.platform(),
    }


def _instruction_set() -> str | None:
    try:
        return library.cpu_isa()
    except RuntimeError as error:  # INTERNET_CPU_ISA is not supported: report that, and continue
        return str(error)


def _gpu(index: int) -> dict[str, str]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memory": f"{properties.total_memory / 2**30:.1f} GiB",
        "compute capability": f"{properties.major}.{properties.minor}",
    }


def render(info: dict[str, Any]) -> str:
    """`gather()` as aligned text, one section after the other."""
    lines = []
    for section, content in info.items():
        lines.append(f"{section}:")
        entries = content if isinstance(content, list) else [content]
        lines += [f"  {key:<19} {_word(value)}" for entry in entries for key, value in entry.items()]
        if not entries:
            lines.append("  none that torch can use")
    return "\n".join(lines)


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def render_preset(cost: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """`model_cost()` as text."""
    return {
        "parameters": {part: f"{count / 1e6:.2f} M" for part, count in cost["parameters"].items()},
        "multiply-adds": {part: f"{count / 1e9:.2f} G" for part, count in cost["multiply-adds"].items()},
        "activations saved for the backward pass of one sample, float32": {
            part: f"{count / 2**20:.0f} MiB" for part, count in cost["activation bytes"].items()
        },
    }


def describe_checkpoint(path: str) -> dict[str, dict[str, Any]]:
    """The content of a checkpoint: its plain entries, its model, and tables of plain values such as metrics."""
    checkpoint = read_checkpoint(find_checkpoint(path))
    count = sum(value.numel() for value in checkpoint["model"].values())
    plain = {name: value for name, value in checkpoint.items() if isinstance(value, _PLAIN)}
    tables = {
        name: value
        for name, value in checkpoint.items()
        if isinstance(value, dict) and value and all(isinstance(entry, _PLAIN) for entry in value.values())
    }
    tables |= _tables({"metadata": checkpoint.get("metadata")})
    dtypes = {
        str(value.dtype).removeprefix("torch.") for value in checkpoint["model"].values() if value.is_floating_point()
    }
    weights = {
        "weights": f"{count / 1e6:.2f} M",
        "stored as": ", ".join(sorted(dtypes)) or "none",
        "averaged weights": "no" if checkpoint.get("ema") is None else "yes",
    }
    return {"checkpoint": plain | weights, "model_config": checkpoint["model_config"]} | tables


def _tables(entries: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The dictionaries of plain values among entries, at any depth, by their dotted names."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in entries.items():
        if isinstance(value, dict):
            plain = {str(key): entry for key, entry in value.items() if isinstance(entry, _PLAIN)}
            found |= {name: plain} if plain else {}
            found |= {f"{name}.{key}": table for key, table in _tables(value).items()}
    return found


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "info",
        help="show what is installed and what works here",
        description="Show versions, which backends of the operators are ready and why the others are not, the "
        "instruction set, GPUs and how the library was built; or what a preset costs; or what a checkpoint holds.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=sorted(PRESETS), help="parameters, multiply-adds and memory of a preset")
    which.add_argument(
        "--checkpoint", metavar="PATH", help="a checkpoint, the folder of a training run, or weights that ship"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Print what `gather` found, what a preset costs, or what a checkpoint holds."""
    if args.checkpoint:
        with argument_errors("--checkpoint"):
            info = words = describe_checkpoint(args.checkpoint)
    elif args.preset:
        info = model_cost(INTERnetConfig.preset(args.preset))
        words = render_preset(info)
    else:
        info = words = gather()
    print(json.dumps(info, indent=2) if args.json else render(words))
    return 0
