"""Whole models: streaming inference and training steps, fused and by the reference backend: same weights, same frames.

`python -m benchmarks.throughput` prints a Markdown table; `benchmarks.gpu_report` has the same rows.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from benchmarks import memory, timing
from benchmarks.report import graphs, speed
from internet import ops
from internet.losses import Batch, Objective, make_features
from internet.model import INTERnet, INTERnetConfig, make_discriminator

Module = TypeVar("Module", bound=nn.Module)

PRESETS = ("tiny", "internet-256", "internet-512")


class Whole:
    """A preset with random weights, a source and driving frames on a device: a frame, and a training step."""

    def __init__(self, preset: str, device: torch.device, size: int | None = None) -> None:
        torch.manual_seed(0)
        config = INTERnetConfig.preset(preset)
        side = size or config.size
        self._device = device
        self._model = _placed(INTERnet(config), device)
        self._discriminator = _placed(make_discriminator(config), device)
        self._objective = Objective(make_features("efficientnet-lite0", "random").to(device))
        self._source, target, previous = torch.rand(3, 1, 3, side, side, device=device)
        self._batch = Batch(target, previous, torch.zeros(1, 2, side, side, device=device))
        # a rate of 0 costs what any other costs, and every step starts from the same weights
        self._optimizer = torch.optim.RAdam(self._model.parameters(), lr=0.0)

    def frame(self) -> Callable[[], Any]:
        """One more frame of a stream: what is known of the source is computed already."""
        self._model.eval()
        with torch.no_grad(), self._precision():
            anchors, features = self._model.kp_detector(self._source), self._model.generator.encode(self._source)

        def run() -> Any:
            with torch.no_grad(), self._precision():
                driving = self._model.kp_detector(self._batch.target)
                return self._model.imitate(self._source, anchors, features, driving).frame

        return run

    def step(self) -> Callable[[], Any]:
        """One optimisation step of the generator's side, at batch 1, under the intrinsic scheme."""
        self._discriminator.requires_grad_(False)

        def run() -> None:
            self._model.train()
            self._optimizer.zero_grad()
            with self._precision():
                result = self._model(self._source, self._batch.target)
                terms = self._objective(result, self._batch, self._model.kp_detector, self._discriminator)
                total = self._objective.total(terms)
            total.backward()
            self._optimizer.step()

        return run

    def _precision(self) -> AbstractContextManager[Any]:
        """bfloat16 where there are units for it."""
        return torch.autocast("cuda", torch.bfloat16) if self._device.type == "cuda" else nullcontext()


def _placed(module: Module, device: torch.device) -> Module:
    """On the device, with weights as its convolutions like them."""
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return module


def measure(preset: str, device: torch.device, seconds: float, size: int | None = None) -> dict[str, Any]:
    """Samples of both passes by backend; frames are replays of a CUDA graph where there is CUDA."""
    whole = Whole(preset, device, size)
    names = [*speed.backends(device), "reference"]
    frames = {name: _on(name, whole.frame()) for name in names}
    if device.type == "cuda":
        frames = {name: graphs.replayed(run) for name, run in frames.items()}
    steps = {name: _on(name, whole.step()) for name in names}
    return {
        "preset": preset,
        "passes": {
            name: {
                "samples": {key: list(found.samples) for key, found in _timed(runs, device, seconds).items()},
                "extra_memory": {key: memory.extra_peak(run, device) for key, run in runs.items()},
            }
            for name, runs in (("frame", frames), ("training step", steps))
        },
    }


def _timed(runs: dict[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, timing.Timing]:
    return timing.interleaved(runs, device, seconds=seconds, rounds=15)


def _on(backend: str, run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with ops.backend(backend):
            return run()

    return call


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The rows as a Markdown table."""
    yield "| preset | pass | backend | a second | over reference | extra memory |\n|---|---|---|--:|--:|--:|"
    for row in rows:
        for passed, measured in row["passes"].items():
            slow = timing.Timing(tuple(measured["samples"]["reference"]))
            for name, samples in measured["samples"].items():
                found = timing.Timing(tuple(samples))
                extra = measured["extra_memory"][name]
                taken = "–" if extra is None else f"{extra / 2**20:.0f} MiB"
                yield (
                    f"| `{row['preset']}` | {passed} | {name} | {1 / found.median:.3g} "
                    f"| {slow.over(found):.2f}× | {taken} |"
                )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["tiny"], help="which presets (tiny)")
    parser.add_argument("--size", type=int, help="side of the frames, instead of the preset's own")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads (1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each pass of each preset (20)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print("\n".join(lines([measure(preset, device, args.seconds, args.size) for preset in args.preset])))


if __name__ == "__main__":
    main()
