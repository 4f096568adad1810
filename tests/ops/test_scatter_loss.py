"""Scattered gradients: samples that share pixels, or jump all over the frame, are added up exactly.

The flows are whole pixels or halves of one and the values small whole numbers, so that every weight, product and
sum is a small multiple of 1/64, exact in float32 whatever the order of summation. The float64 reference comes close
to these (it rounds the coordinates of its grid) and is rounded to them; results have to be just that.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import internet
from tests.support.compare import COMPILED, DEVICES, require

HEIGHT, WIDTH = 70, 150  # beyond a band, a chunk and a vector, and multiples of none


def _positions() -> tuple[Tensor, Tensor]:
    return torch.meshgrid(torch.arange(WIDTH), torch.arange(HEIGHT), indexing="xy")


def _towards(x: float, y: float) -> Tensor:
    """Every pixel samples (x, y)."""
    columns, rows = _positions()
    return torch.stack([x - columns, y - rows])


def _random(reach: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(-2 * reach, 2 * reach + 1, (2, HEIGHT, WIDTH), generator=generator) / 2


def _columns_meet() -> Tensor:
    """Two neighbours sample one pixel, all along a row; every row samples the next but one."""
    columns, _ = _positions()
    return torch.stack([columns // 2 - columns, torch.full_like(columns, 2)])


def _turned() -> Tensor:
    """Reversed: the last sample of a row reads its first pixel."""
    columns, rows = _positions()
    return torch.stack([WIDTH - 1 - 2 * columns, HEIGHT - 1 - 2 * rows])


def _spiked(value: float) -> Callable[[], Tensor]:
    """Still, except for a few random samples."""

    def flow() -> Tensor:
        spiked = torch.zeros(2, HEIGHT, WIDTH)
        spiked.view(-1)[::37] = value
        return spiked

    return flow


FLOWS: dict[str, Callable[[], Tensor]] = {
    "identity": lambda: torch.zeros(2, HEIGHT, WIDTH),
    "constant": lambda: torch.tensor([3.5, -2.0])[:, None, None].expand(2, HEIGHT, WIDTH),
    "all to one pixel": lambda: _towards(31.0, 17.0),
    "all between four pixels": lambda: _towards(31.5, 17.5),
    "all to the corner": lambda: _towards(-0.5, -0.5),
    "neighbours meet": _columns_meet,
    "turned": _turned,
    "random, near": lambda: _random(2),
    "random, far": lambda: _random(HEIGHT),
    "random, mostly outside": lambda: _random(10 * WIDTH),
    "spikes of NaN": _spiked(float("nan")),
    "spikes of infinity": _spiked(float("inf")),
    "huge spikes": _spiked(-1e30),
}


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def whole_numbers(*shape: int, seed: int) -> Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


def multiples_of_64th(near: Tensor) -> Tensor:
    rounded = (64 * near).round() / 64
    assert (rounded - near).abs().max() < 1e-7
    return rounded


# -------------------------------------------------------------------------------- masked_backwarp_loss


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("padding_mode", ["border", "zeros", "valid"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("flow", FLOWS)
def test_loss(
    flow: str, backend: str, layout: torch.memory_format, padding_mode: str, reduction: str, threads: int
) -> None:
    """With the squared penalty, whose gradient with respect to a sample is a multiple of the residual."""
    require(backend, "masked_backwarp_loss")
    batch = 1 if flow.startswith("random") else 2
    motion = FLOWS[flow]().float().expand(batch, -1, -1, -1)
    output, target = (whole_numbers(batch, 3, HEIGHT, WIDTH, seed=s).contiguous(memory_format=layout) for s in (1, 2))
    mask = whole_numbers(batch, 1, HEIGHT, WIDTH, seed=3)
    found: list[list[Tensor]] = []
    for name, dtype in ((backend, torch.float32), ("reference", torch.float64)):
        place = DEVICES[name]
        leaves = [t.to(place, dtype).requires_grad_() for t in (output, target, mask)]
        with internet.ops.backend(name):
            loss = internet.ops.masked_backwarp_loss(
                leaves[0],
                leaves[1],
                motion.to(place, dtype),
                leaves[2],
                norm="l2",
                padding_mode=padding_mode,
                reduction=reduction,
            )
        gradients = torch.autograd.grad(loss, leaves, torch.ones_like(loss))
        found.append([t.detach().cpu().double() for t in (loss, *gradients)])
    for what, got, expected in zip(("loss", "output", "target", "confidence"), *found, strict=True):
        if what == "loss" and reduction == "sum":
            assert got.item() == pytest.approx(expected.item(), rel=1e-6)  # beyond the whole numbers of float32
        else:
            assert torch.equal(got, multiples_of_64th(expected)), f"{flow}: {what}"


@pytest.mark.slow
@pytest.mark.parametrize("backend", COMPILED)
def test_loss_of_a_frame_of_more_than_2_28_pixels(backend: str) -> None:
    """Offsets do not overflow. The frame is one pixel in memory, so only the loss is computed."""
    place = require(backend, "masked_backwarp_loss")
    size = 16400
    output, target, flow = (
        torch.full((1, channels, 1, 1), value, device=place).expand(1, channels, size, size)
        for channels, value in ((1, 2.0), (1, 0.5), (2, 0.25))
    )
    with internet.ops.backend(backend):
        loss = internet.ops.masked_backwarp_loss(output, target, flow, reduction="mean", padding_mode="border")
    assert loss.item() == pytest.approx(1.5, rel=1e-6)
