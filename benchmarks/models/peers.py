"""Models that people run, as they are and accelerated: `python benchmarks/models/peers.py --repo PATH`.

PATH is a checkout of first-order-model, DaGAN, articulated-animation, Thin-Plate-Spline-Motion-Model, LIA, EDTalk,
One-Shot_Free-View_Neural_Talking_Head_Synthesis, SadTalker or LivePortrait. Its own code runs with its own
configuration and random weights. For each it prints, as rows of a Markdown table:

- how far values and gradients are apart in float64, and, beside it, how far the authors' own code is from itself when
  images and weights move by one rounding; and how far the picture of each in float32 is from its authors' in float64;
- how many times as fast a frame, a training step (forward and backward) and the part that operators compute are,
  interleaved in one process, by medians and by the least of all rounds: processor time of one thread, or with
  `--device cuda` the time of a call in a row of calls; with `--compile` how many times as fast `compile=True` makes a
  frame that is accelerated already;
- the part's peak memory in inference, beyond what it makes for others, and what a backward pass keeps of it.

A frame is what a demo does for each frame of a video: source and its key points are there already. The part is what
is left when every network of convolutions returns what it returned before.
"""

import argparse
import copy
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not installed: found from this file
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor, nn

import internet
from benchmarks.lib import markdown, memory, processor_time
from benchmarks.models.checkouts import Checkout, checkout_of
from benchmarks.models.parts import Part, tensors
from internet.comparison import timing

HEADER = (
    "model",
    "values, float64",
    "picture, float32, from float64",
    "gradients, float64: apart; their own code by one rounding",
    "frame",
    "frame, compiled",
    "step",
    "part",
    "part, with backward",
    "memory of the part",
    "saved for backward",
)


FIGURES = ("values", "gradients", "frame", "step", "part")
PART_ROUNDS = 9
ZERO = 1e-10
"""A tensor whose largest value is a smaller share of the largest of all is zero but for rounding."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repo", type=Path, action="append", required=True, help="a checkout; may be given several times"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of interleaved calls (default: %(default)s)")
    parser.add_argument("--side", type=int, help="of the images that are timed (default: the model's own)")
    parser.add_argument("--device", default="cpu", type=torch.device, help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--row", action="store_true", help="no heading")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="the others are left out")
    parser.add_argument("--compile", action="store_true", help="also a frame with compile=True, which takes minutes")
    arguments = parser.parse_args()
    if arguments.device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {arguments.device}: torch finds no GPU")
    if not arguments.row:
        print(markdown.table(HEADER, []))
    if len(arguments.repo) == 1:
        checkout = checkout_of(arguments.repo[0], arguments.device)
        checkout.side = arguments.side or checkout.side
        print(row_of(checkout, arguments.rounds, arguments.only, compiled=arguments.compile), flush=True)
        return
    for repo in arguments.repo:  # a process for each: their packages have the same names
        options = ["--rounds", str(arguments.rounds), "--row", "--only", *arguments.only]
        options += ["--compile"] if arguments.compile else []
        options += ["--side", str(arguments.side)] if arguments.side else []
        options += ["--device", str(arguments.device)]
        subprocess.run([sys.executable, __file__, "--repo", str(repo), *options], check=True)


def row_of(checkout: Checkout, rounds: int, figures: Sequence[str] = FIGURES, *, compiled: bool = False) -> str:
    """The figures of one checkout, as a row of the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    theirs = _after_training(checkout.model()).to(checkout.device).eval()
    ours = copy.deepcopy(theirs)
    print(internet.accelerate(ours), file=sys.stderr, flush=True)
    both = (theirs, ours)
    # first: after a step in training, a spectral norm holds what cannot be copied
    of_part = _figures_of_part(both, checkout) if "part" in figures else [markdown.UNKNOWN] * 4
    cells = [checkout.name]
    cells += _parity_of_values(theirs, ours, checkout) if "values" in figures else [markdown.UNKNOWN] * 2
    cells += [_parity_of_gradients(checkout) if "gradients" in figures else markdown.UNKNOWN]
    cells += [_of_both(_frame, both, checkout, rounds) if "frame" in figures else markdown.UNKNOWN]
    cells += [_gain_of_compiling(ours, checkout, rounds) if compiled else markdown.UNKNOWN]
    cells += [_of_both(_step, both, checkout, rounds) if "step" in figures else markdown.UNKNOWN]
    return f"| {' | '.join([*cells, *of_part])} |"


def _figures_of_part(models: Sequence[nn.Module], checkout: Checkout) -> list[str]:
    parts = [Part(model, checkout) for model in models]
    passes = [[part.forward for part in parts], [part.backward for part in parts]]
    peaks = [memory.extra_peak(part.made, checkout.device) for part in parts]
    saved = [part.saved() for part in parts]
    used = [f"{_mib(before)} → {_mib(after)} MiB" for before, after in (peaks, saved)]
    return [*(_compared(calls, PART_ROUNDS, checkout.device) for calls in passes), *used]


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
    """Everything that a frame returns, in float64; and each picture in float32 against theirs in float64."""
    with torch.no_grad():
        return [f"{_difference_of_values(checkout):.0e}", _rounding(theirs, ours, checkout)]


def _difference_of_values(checkout: Checkout) -> float:
    torch.manual_seed(0)
    theirs = _after_training(checkout.model(small=checkout.parity_side is not None)).to(checkout.device).double().eval()
    ours = copy.deepcopy(theirs)
    internet.accelerate(ours)
    images = [image.double() for image in checkout.images(checkout.parity_side)]
    return _largest_difference(*(tensors(checkout.frame(model, *images)()) for model in (theirs, ours)))


def _rounding(theirs: nn.Module, ours: nn.Module, checkout: Checkout) -> str:
    images = checkout.images()
    exact = _picture(checkout.frame(copy.deepcopy(theirs).double(), *(image.double() for image in images))())
    pictures = [_picture(checkout.frame(model, *images)()) for model in (theirs, ours)]
    return "theirs {:.1e}, ours {:.1e}".format(*(_largest_difference(exact, picture) for picture in pictures))


def _picture(result: Any) -> dict[str, Tensor]:
    if isinstance(result, Tensor):
        return {"picture": result}
    return {"picture": result["prediction" if "prediction" in result else "out"]}


def _parity_of_gradients(checkout: Checkout) -> str:
    """Of all gradients as one vector, relative to its norm; and of the tensor that differs most from its own size.

    What rounding does to a gradient goes with the terms that it is the sum of. Those of a bias in front of a norm sum
    to zero, and nothing of them is left but rounding, which differs between any two programs: such tensors are counted
    and not compared. Each figure has beside it that of the authors' code against itself.
    """
    theirs, ours, moved = (
        _gradients(checkout, accelerated=accelerated, moved=moved)
        for accelerated, moved in ((False, False), (True, False), (False, True))
    )
    compared = _names_of_nonzero(theirs, ours, moved)
    return "ours {:.0e}, theirs {:.0e}; worst of {} tensors: ours {:.0e}, theirs {:.0e}; {} are zero".format(
        *(_difference_of_all(theirs, other) for other in (ours, moved)),
        len(compared),
        *(_largest_difference(*({n: of[n] for n in compared} for of in (theirs, other))) for other in (ours, moved)),
        len(theirs) - len(compared),
    )


def _gradients(checkout: Checkout, *, accelerated: bool, moved: bool) -> dict[str, Tensor]:
    """Of the weights, after a step in float64; of images and weights that are moved by one rounding, on request."""
    torch.manual_seed(0)
    model = _after_training(checkout.model(small=checkout.parity_side is not None)).to(checkout.device).double().train()
    images = [image.double() for image in checkout.images(checkout.parity_side)]
    if moved:
        generator = torch.Generator().manual_seed(0)
        images = [_neighbour(image, generator) for image in images]
        for weight in model.parameters():
            weight.data = _neighbour(weight.data, generator)
    if accelerated:
        internet.accelerate(model)
    torch.manual_seed(1)
    checkout.step(model, *images)()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _neighbour(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Each value's next, above or below at random."""
    up = torch.rand(tensor.shape, generator=generator) < 0.5
    return torch.nextafter(tensor, torch.where(up, torch.inf, -torch.inf).to(tensor))


def _names_of_nonzero(*of: Mapping[str, Tensor]) -> list[str]:
    """The tensors that are more than rounding in any of several sets of gradients."""
    floor = ZERO * max(tensor.abs().max().item() for tensor in of[0].values())
    return [name for name in of[0] if any(gradients[name].abs().max() > floor for gradients in of)]


def _difference_of_all(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Of all tensors as one vector, relative to its norm."""
    norms = [torch.stack([tensor.norm() for tensor in of]).norm() for of in ([a[n] - b[n] for n in a], [*a.values()])]
    return (norms[0] / norms[1]).item()


def _largest_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Of each tensor, relative to its largest value; where that is zero but for rounding, relative to `ZERO`."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    floor = ZERO * max(tensor.abs().max().item() for tensor in a.values())
    return max(((a[n].double() - b[n].double()).abs().max() / max(a[n].abs().max().item(), floor)).item() for n in a)


def _frame(model: nn.Module, checkout: Checkout) -> Callable[[], Any]:
    frame = checkout.frame(model, *checkout.images())

    def call() -> Any:
        model.eval()
        with torch.no_grad():
            return frame()

    return call


def _of_both(
    made: Callable[[nn.Module, Checkout], Callable[[], Any]],
    models: Sequence[nn.Module],
    checkout: Checkout,
    rounds: int,
) -> str:
    return _compared([made(model, checkout) for model in models], rounds, checkout.device)


def _gain_of_compiling(ours: nn.Module, checkout: Checkout, rounds: int) -> str:
    compiled = copy.deepcopy(ours)
    internet.accelerate(compiled, compile=True)
    return _of_both(_frame, (ours, compiled), checkout, rounds)


def _step(model: nn.Module, checkout: Checkout) -> Callable[[], None]:
    step = checkout.step(model, *checkout.images())

    def call() -> None:
        model.train()
        step()
        model.zero_grad(set_to_none=True)

    return call


def _compared(calls: Sequence[Callable[[], Any]], rounds: int, device: torch.device) -> str:
    """How many times as fast the second is, round by round and by the least of each, and what each takes."""
    named = dict(zip(("before", "after"), calls, strict=True))
    if device.type == "cpu":
        before, after = processor_time.interleaved(named, rounds).values()
    else:
        before, after = timing.interleaved(named, device, rounds=rounds, with_host=True).values()
    least = f"{before.least / after.least:.2f}× by the least"
    return f"{before.over(after):.2f}×, {least} ({1e3 * before.median:.4g} → {1e3 * after.median:.4g} ms)"


if __name__ == "__main__":
    main()
