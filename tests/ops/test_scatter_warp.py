"""Fields that are difficult for a scatter: many pixels that read one, none, or any in random order.

Positions are odd multiples of 1/16 pixel, values multiples of 1/4, and the frame's side is a power of two: so in
float32 every product and every sum is exact, of all pixels that read one source pixel too. Then all results have
to be the reference's, rounded once, whatever the order of the additions; a pixel that is missed, added twice or
added elsewhere shows.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import internet
from internet.ops.results import motion_dtype
from tests.support.compare import COMPILED, require
from tests.support.samples import DTYPES

SIZE = 64


def _field(x: Tensor, y: Tensor) -> Tensor:
    """The motion field with these pixel positions, rounded to the next odd sixteenth (align_corners=False)."""
    pixels = (torch.stack([x, y], dim=2).unsqueeze(0) * 8).floor() / 8 + 1 / 16
    return (2 * pixels + 1) / SIZE - 1


def _grid() -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(SIZE).double(), torch.arange(SIZE).double(), indexing="ij")
    return x, y


def _one() -> Tensor:
    x, y = _grid()
    return _field(x * 0 + SIZE // 3, y * 0 + SIZE // 2)


def _shifted() -> Tensor:
    x, y = _grid()
    return _field(x + 3.5, y - 7.25)


def _identity() -> Tensor:
    return _field(*_grid())


def _upside_down() -> Tensor:
    x, y = _grid()
    return _field(x, SIZE - 1.5 - y)


def _random() -> Tensor:
    x, y = torch.rand(2, SIZE, SIZE).double()
    return _field((1.2 * x - 0.1) * SIZE, (1.2 * y - 0.1) * SIZE)


def _far() -> Tensor:
    return _identity() + 100.0


def _not_a_number() -> Tensor:
    return torch.where(torch.rand(1, SIZE, SIZE, 1) < 0.3, math.nan, _random())


FIELDS: dict[str, Callable[[], Tensor]] = {
    "one": _one,
    "shifted": _shifted,
    "identity": _identity,
    "random": _random,
    "upside down": _upside_down,
    "out of frame": _far,
    "NaN": _not_a_number,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _quarters(*shape: int) -> Tensor:
    """Multiples of 1/4 in [-1, 1]."""
    return torch.randint(-4, 5, shape).double() / 4


def _warp_with_gradients(
    features: Tensor, field: Tensor, confidence: Tensor, incoming: Tensor, padding_mode: str
) -> list[Tensor]:
    """The output and the gradients of features, field and confidence."""
    leaves = [tensor.detach().requires_grad_() for tensor in (features, field, confidence)]
    output = internet.ops.confidence_warp(*leaves, padding_mode=padding_mode)
    return [output.detach(), *torch.autograd.grad(output, leaves, incoming)]


@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
@pytest.mark.parametrize("channels", [1, 3, 16, 40, 64])
@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("backend", COMPILED)
def test_warp_scatters_exactly(backend: str, kind: str, channels: int, layout: str, padding_mode: str) -> None:
    device = require(backend, "confidence_warp")
    motion = [FIELDS[kind](), _quarters(1, 1, SIZE, SIZE)]
    images = [_quarters(1, channels, SIZE, SIZE).to(memory_format=getattr(torch, layout)) for _ in range(2)]
    with internet.ops.backend("reference"):
        expected = _warp_with_gradients(images[0], *motion, images[1], padding_mode)
    for dtype in DTYPES:
        features, incoming = (image.to(device, dtype) for image in images)
        field, confidence = (tensor.to(device, motion_dtype(dtype)) for tensor in motion)
        with internet.ops.backend(backend):
            results = _warp_with_gradients(features, field, confidence, incoming, padding_mode)
        names = ("output", "gradient of features", "gradient of field", "gradient of confidence")
        for name, got, wanted in zip(names, results, expected, strict=True):
            assert torch.equal(got.cpu(), wanted.to(got.dtype)), f"{name}, {dtype}"
