"""Whole models: streaming and training steps, with our operators and with eager ones; same weights, same frames.

`python -m benchmarks throughput` prints a Markdown table; the GPU report has the same rows. "reference" are our
operators in plain torch, "eager" those of first-order-motion and its descendants (`internet.comparison.eager`).
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.lib import memory
from benchmarks.lib.backends import backends
from benchmarks.lib.cuda_graph import replayed
from benchmarks.models.end_to_end import FRAME, STEP, render
from internet import ops
from internet.comparison import eager, timing
from internet.comparison.inputs import Maker
from internet.losses import Batch, Objective, ThinPlateSpline, make_features
from internet.model import INTERnet, INTERnetConfig, make_discriminator
from internet.training.step import MicroBatch, StepResult, TrainingStep
from internet.utils.machine import processor

Module = TypeVar("Module", bound=nn.Module)

PRESETS = ("tiny", "internet-256", "internet-512")
FEATURES = {"tiny": "efficientnet-lite0"}
"""The network of the perceptual loss by preset; for the paper's sizes it is the paper's, VGG-19."""
BATCH = 4
"""Samples of a training step."""
PRECISIONS = {"cpu": "float32", "cuda": "bfloat16"}


class EndToEnd:
    """A preset with random weights, source and driving frames on a device: a frame, and a training step."""

    def __init__(
        self, preset: str, device: torch.device, *, size: int | None = None, batch: int = BATCH, precision: str
    ) -> None:
        torch.manual_seed(0)
        config = INTERnetConfig.preset(preset)
        side = size or config.size
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        self._model, discriminator = _placed(INTERnet(config), device), _placed(make_discriminator(config), device)
        objective = Objective(_placed(make_features(FEATURES.get(preset, "vgg19"), "random"), device))
        # a rate of 0 takes as long as any other, and every step starts from the same weights
        sides = (self._model, discriminator)
        optimizers = tuple(torch.optim.RAdam(side.parameters(), lr=0.0) for side in sides)
        self._step = TrainingStep(*sides, objective, optimizers, precision=precision)  # type: ignore[arg-type]
        source, target, previous = (
            frame.contiguous(memory_format=torch.channels_last)
            for frame in torch.rand(3, batch, 3, side, side, device=device)
        )
        flow = Maker(torch.float32, "contiguous", device).optical_flow(batch, side)
        self._part = MicroBatch(source, Batch(target, previous, flow), ThinPlateSpline.random(batch, device=device))
        self._source, self._driving = source[:1], target[:1]
        with torch.no_grad(), self._autocast:
            self._known = self._model.kp_detector(self._source), self._model.generator.encode(self._source)

    def frame(self) -> Tensor:
        """One frame of a stream: the source's anchors and features have been computed before."""
        with torch.no_grad(), self._autocast:
            driving = self._model.kp_detector(self._driving)
            background = self._model.background_motion(self._source, self._driving)
            return self._model.imitate(self._source, *self._known, driving, background).frame

    def step(self) -> StepResult:
        """One step of both sides with the intrinsic scheme."""
        return self._step([self._part])


def _placed(module: Module, device: torch.device) -> Module:
    """The module on the device, with weights in the memory format that is fastest there."""
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return module


def measure(
    preset: str,
    device: torch.device,
    seconds: float,
    *,
    size: int | None = None,
    batch: int = BATCH,
    precision: str | None = None,
) -> dict[str, Any]:
    """Samples of both passes by backend; frames are replays of a CUDA graph if one can be captured."""
    precision = precision or PRECISIONS[device.type]
    model = EndToEnd(preset, device, size=size, batch=batch, precision=precision)
    names = (*backends(device), "reference")
    contexts: dict[str, Callable[[], AbstractContextManager[None]]] = {
        name: partial(ops.backend, name) for name in names
    }
    contexts["eager"] = eager.in_place_of_ours
    frames = {name: _within(context, model.frame) for name, context in contexts.items()}
    steps = {name: _without_result(_within(context, model.step)) for name, context in contexts.items()}
    captured = {name: replayed(run) for name, run in frames.items()} if device.type == "cuda" else {}
    replays = {name: replay for name, replay in captured.items() if replay}
    return {
        "preset": preset,
        "device": device.type,
        "precision": precision,
        "passes": {
            FRAME: _measure_pass({**frames, **replays}, device, seconds) | {"batch": 1, "replayed": list(replays)},
            STEP: _measure_pass(steps, device, seconds) | {"batch": batch, "replayed": []},
        },
    }


def _measure_pass(runs: dict[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, Any]:
    timings = timing.interleaved(runs, device, seconds=seconds, rounds=15, with_host=True)
    return {
        "samples": {name: list(found.samples) for name, found in timings.items()},
        "extra_memory": {name: memory.extra_peak(run, device) for name, run in runs.items()},
    }


def _within(context: Callable[[], AbstractContextManager[None]], run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with context():
            return run()

    return call


def _without_result(run: Callable[[], Any]) -> Callable[[], None]:
    """Drop the result of a step, which would otherwise count as memory that the step needs."""

    def call() -> None:
        run()

    return call


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["tiny"], help="which presets (tiny)")
    parser.add_argument("--size", type=int, help="side of the frames, instead of the preset's own")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"samples of a training step ({BATCH})")
    parser.add_argument("--precision", choices=sorted({*PRECISIONS.values()}), help="float32 on the CPU, or bfloat16")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads (1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each pass of each preset (20)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    options = {"size": args.size, "batch": args.batch, "precision": args.precision}
    print(f"{processor(device)}, torch {torch.__version__}, CPU threads: {args.threads}\n")
    print(render([measure(preset, device, args.seconds, **options) for preset in args.preset]))


if __name__ == "__main__":
    main()
