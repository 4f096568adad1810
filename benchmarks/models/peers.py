"""Models that people run, as they are and accelerated: `python benchmarks/models/peers.py --repo PATH`.

PATH is a checkout of first-order-model, DaGAN, articulated-animation, Thin-Plate-Spline-Motion-Model, LIA, EDTalk,
One-Shot_Free-View_Neural_Talking_Head_Synthesis, SadTalker or LivePortrait. Its own code runs with its own
configuration and random weights. For each it prints, as rows of a Markdown table:

- how far values and, in float64, gradients are apart;
- how many times as fast a frame, a training step (forward and backward) and the part that operators compute are,
  interleaved in one process, medians, on one thread;
- the part's peak memory, forward and forward with backward.

A frame is what a demo does for each frame of a video: source and its key points are there already. The part is what
is left when every network of convolutions returns what it returned before.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not installed: found from this file
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor, nn

import internet
from benchmarks.lib import markdown, memory
from benchmarks.models.checkouts import Checkout, checkout_of
from internet.accelerate.replacement import original_class

HEADER = (
    "model",
    "values, float64",
    "picture, float32",
    "gradients, float64",
    "frame",
    "step",
    "part",
    "part, with backward",
    "memory of the part",
    "with backward",
)


FIGURES = ("values", "gradients", "frame", "step", "part")
PART_ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repo", type=Path, action="append", required=True, help="a checkout; may be given several times"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of interleaved calls (default: %(default)s)")
    parser.add_argument("--row", action="store_true", help="no heading")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="the others are left out")
    arguments = parser.parse_args()
    if not arguments.row:
        print(markdown.table(HEADER, []))
    if len(arguments.repo) == 1:
        print(row_of(arguments.repo[0], arguments.rounds, arguments.only), flush=True)
        return
    for repo in arguments.repo:  # a process for each: their packages have the same names
        options = ["--rounds", str(arguments.rounds), "--row", "--only", *arguments.only]
        subprocess.run([sys.executable, __file__, "--repo", str(repo), *options], check=True)


def row_of(repo: Path, rounds: int, figures: Sequence[str] = FIGURES) -> str:
    """The figures of one checkout, as a row of the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    checkout = checkout_of(repo)
    torch.manual_seed(0)
    theirs = _after_training(checkout.model()).eval()
    ours = copy.deepcopy(theirs)
    print(internet.accelerate(ours), file=sys.stderr, flush=True)
    both = (theirs, ours)
    cells = [checkout.name]
    cells += _parity_of_values(theirs, ours, checkout) if "values" in figures else [markdown.UNKNOWN] * 2
    cells += [_parity_of_gradients(checkout) if "gradients" in figures else markdown.UNKNOWN]
    cells += [_compared([_frame(m, checkout) for m in both], rounds) if "frame" in figures else markdown.UNKNOWN]
    cells += [_compared([_step(m, checkout) for m in both], rounds) if "step" in figures else markdown.UNKNOWN]
    cells += _figures_of_part(both, checkout) if "part" in figures else [markdown.UNKNOWN] * 4
    return f"| {' | '.join(cells)} |"


def _figures_of_part(models: Sequence[nn.Module], checkout: Checkout) -> list[str]:
    parts = [_Part(model, checkout) for model in models]
    passes = [[part.forward for part in parts], [part.backward for part in parts]]
    peaks = [[memory.extra_peak(call, torch.device("cpu")) for call in calls] for calls in passes]
    used = [f"{_mib(before)} → {_mib(after)} MiB" for before, after in peaks]
    return [*(_compared(calls, PART_ROUNDS) for calls in passes), *used]


def _mib(count: int | None) -> str:
    return markdown.UNKNOWN if count is None else f"{count / 2**20:.1f}"


def _after_training(model: nn.Module) -> nn.Module:
    """Random weights where their code begins with zeros, and statistics of norms as after some steps."""
    generator = torch.Generator().manual_seed(0)
    modules: list[Any] = list(model.modules())
    for module in modules:
        if getattr(module, "running_var", None) is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(0, 0.05, generator=generator)
    return model


def _parity_of_values(theirs: nn.Module, ours: nn.Module, checkout: Checkout) -> list[str]:
    """Everything that a frame returns, in float64; and its picture in float32, where their own rounding is as large."""
    source, driving = checkout.images()
    with torch.no_grad():
        pictures = [_picture(checkout.frame(model, source, driving)()) for model in (theirs, ours)]
        torch.manual_seed(0)
        exact = _after_training(checkout.model(small=checkout.parity_side is not None)).double().eval()
        accelerated = copy.deepcopy(exact)
        internet.accelerate(accelerated)
        images = [image.double() for image in checkout.images(checkout.parity_side)]
        results = [_tensors(checkout.frame(model, *images)()) for model in (exact, accelerated)]
    return [f"{_largest_difference(*results):.0e}", f"{_largest_difference(*pictures):.0e}"]


def _picture(result: Any) -> dict[str, Tensor]:
    if isinstance(result, Tensor):
        return {"picture": result}
    return {"picture": result["prediction" if "prediction" in result else "out"]}


def _parity_of_gradients(checkout: Checkout) -> str:
    gradients = []
    for accelerated in (False, True):
        torch.manual_seed(0)
        model = _after_training(checkout.model(small=checkout.parity_side is not None)).double().train()
        if accelerated:
            internet.accelerate(model)
        images = [image.double() for image in checkout.images(checkout.parity_side)]
        torch.manual_seed(1)
        checkout.step(model, *images)()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    return f"{_largest_difference(*gradients):.0e}"


def _largest_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Of each tensor, relative to its largest value."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    scale = max(tensor.abs().max().item() for tensor in a.values())
    floor = 1e-6 * scale  # of gradients that are zero but for rounding: of biases that a norm takes away
    return max(((a[n].double() - b[n].double()).abs().max() / max(a[n].abs().max().item(), floor)).item() for n in a)


def _tensors(result: Any, name: str = "") -> dict[str, Tensor]:
    if isinstance(result, Tensor):
        return {name: result}
    pairs = result.items() if isinstance(result, Mapping) else enumerate(result)
    return {n: tensor for key, value in pairs for n, tensor in _tensors(value, f"{name}.{key}").items()}


def _frame(model: nn.Module, checkout: Checkout) -> Callable[[], Any]:
    frame = checkout.frame(model, *checkout.images())

    def call() -> Any:
        model.eval()
        with torch.no_grad():
            return frame()

    return call


def _step(model: nn.Module, checkout: Checkout) -> Callable[[], None]:
    step = checkout.step(model, *checkout.images())

    def call() -> None:
        model.train()
        step()
        model.zero_grad(set_to_none=True)

    return call


def _compared(calls: Sequence[Callable[[], Any]], rounds: int) -> str:
    """How many times as fast the second is, and milliseconds of this process, whatever else the machine does."""
    samples: list[list[float]] = [[], []]
    for call in calls:
        call()
    for _ in range(rounds):
        for call, taken in zip(calls, samples, strict=True):
            start = time.process_time()
            call()
            taken.append(time.process_time() - start)
    ratio = statistics.median(a / b for a, b in zip(*samples, strict=True))
    before, after = (1e3 * statistics.median(taken) for taken in samples)
    return f"{ratio:.2f}× ({before:.4g} → {after:.4g} ms)"


class _Part:
    """What a model computes between its networks of convolutions: those return what they returned in one frame."""

    def __init__(self, model: nn.Module, checkout: Checkout) -> None:
        self._calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []
        model = copy.deepcopy(model)
        if any(type(module) is not original_class(module) for module in model.modules()):
            internet.accelerate(model, cache_source=False)
        holders = [module for module in model.modules() if original_class(module).__name__ in checkout.holders]
        inner = {child for holder in holders for child in holder.modules() if child is not holder}
        outer = [holder for holder in holders if holder not in inner]
        handles = [holder.register_forward_pre_hook(self._remember, with_kwargs=True) for holder in outer]
        for holder in holders:
            _record(holder, holders)
        with torch.no_grad():
            checkout.frame(model.eval(), *checkout.images())()
        for handle in handles:
            handle.remove()

    def _remember(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._calls.append((module, _detached(arguments), _detached(named)))

    def forward(self) -> None:
        with torch.no_grad():
            for module, arguments, named in self._calls:
                module(*arguments, **named)

    def backward(self) -> None:
        for module, arguments, named in self._calls:
            made = _tensors(module(*_leaves(arguments), **_leaves(named)))
            outputs = [tensor for tensor in made.values() if tensor.requires_grad]
            torch.autograd.backward(outputs, [tensor.detach() for tensor in outputs])


def _detached(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().clone())


def _leaves(value: Any) -> Any:
    """As in training: gradients are asked for of all but images."""
    return _mapped(value, lambda tensor: tensor if tensor.shape[1:2] == (3,) else tensor.detach().requires_grad_())


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, function) for item in value)
    return value


def _record(module: nn.Module, holders: list[nn.Module]) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            _record(child, holders)
        elif child not in holders:
            setattr(module, name, _Recorded(child))


class _Recorded(nn.Module):
    """Returns what it returned the first time; a gradient of what came in is there likewise."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]  # no submodule
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"][0], name)

    def forward(self, x: Tensor, *arguments: Any, **named: Any) -> Any:
        if self._made is None:
            self._made = self._module[0](x, *arguments, **named)
            self._gradient = torch.randn_like(x)
        if not torch.is_grad_enabled():
            return self._made
        return _mapped(self._made, lambda tensor: _Constant.apply(x, tensor, self._gradient))


class _Constant(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return made.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient, None, None


if __name__ == "__main__":
    main()
