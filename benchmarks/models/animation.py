"""Frames a second of `internet animate`, in every layout and precision: `python -m benchmarks animation`.

All use the same random weights and frames and take turns in one process; figures are medians of processor time. The
source is encoded beforehand, as once per clip; decoding and encoding of the video are not counted. The last column is
the difference of the frames from those in float32.
"""

import argparse
import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.lib import markdown, processor_time
from internet.model import PRESETS, FirstOrderConfig, FirstOrderMotion, INTERnet, INTERnetConfig, MotionTransfer
from internet.utils.machine import processor

FIRST_ORDER = "vox-256"
"""First-order-motion as it was published."""

HEADER = ("model", "how", "frames a second", "× the first", "largest, mean difference of pixels in [0, 1]")


def make_model(name: str) -> MotionTransfer:
    """A preset, or first-order-motion, with random weights, in evaluation mode."""
    if name == FIRST_ORDER:
        return FirstOrderMotion(FirstOrderConfig()).eval()
    return INTERnet(INTERnetConfig.preset(name)).eval()


def ways(name: str, compiled: bool) -> dict[str, Callable[[], Tensor]]:
    """The functions that make one frame, by the way of running the model."""
    torch.manual_seed(0)
    model = make_model(name)
    frames = torch.rand(2, 1, model.frame_channels, model.config.size, model.config.size)
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = {
        "contiguous": _frame(model, *frames),
        "channels_last": _frame(channels_last, *frames),
        "channels_last, bfloat16": _frame(channels_last, *frames, bfloat16=True),
    }
    if compiled:
        faster = copy.deepcopy(channels_last)
        faster.compile_parts()
        found["channels_last, compiled"] = _frame(faster, *frames)
        found["channels_last, compiled, bfloat16"] = _frame(faster, *frames, bfloat16=True)
    return found


def _frame(model: MotionTransfer, source: Tensor, driving: Tensor, *, bfloat16: bool = False) -> Callable[[], Tensor]:
    """The function that makes one frame of a stream."""
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
    with torch.no_grad(), autocast:
        known = model.kp_detector(source), model.generator.encode(source)

    def frame() -> Tensor:
        with torch.no_grad(), autocast:
            background = model.background_motion(source, driving)
            return model.imitate(source, *known, model.kp_detector(driving), background).frame

    return frame


def rows(name: str, rounds: int, compiled: bool) -> list[list[str]]:
    """A row of the table for each way of running a model."""
    runs = ways(name, compiled)
    timings = processor_time.interleaved(runs, rounds)
    first = next(iter(runs))
    expected = runs[first]()
    lines = []
    for how, found in timings.items():
        difference = (runs[how]().float() - expected).abs()
        speed = f"{timings[first].over(found):.2f}×"
        apart = f"{difference.max():.0e}, {difference.mean():.0e}"
        lines.append([f"`{name}`", how, f"{1 / found.median:.3g}", speed, apart])
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    names = (*PRESETS, FIRST_ORDER)
    parser = argparse.ArgumentParser(prog="python -m benchmarks animation", description=__doc__)
    parser.add_argument("--model", nargs="+", choices=names, default=names, help="presets, first-order-motion (all)")
    parser.add_argument("--compile", action="store_true", help="also as `internet animate --compile` does")
    parser.add_argument("--rounds", type=int, default=7, help="frames of each, after one that is not counted (7)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(f"{processor(torch.device('cpu'))}, torch {torch.__version__}, one thread\n")
    for name in args.model:  # a table each, as large models take long
        print(markdown.table(HEADER, rows(name, args.rounds, args.compile), words=2), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
