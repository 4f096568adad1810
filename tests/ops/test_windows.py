"""Planes that the CPU's forward pass of `confidence_warp` samples where they lie, through windows.

That is an image of many channels, contiguous and not too large. The same image in channels_last is sampled pixel by
pixel, at the same positions and with the same weights: so the two must agree up to the order of four additions, and
exactly in what is infinite or NaN.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import internet
from tests.support.compare import require

CHANNELS = 35
"""More than a block, and not a multiple of the planes that share a window."""

Positions = tuple[Tensor, Tensor]


def _partly_nan(positions: Tensor) -> Tensor:
    return torch.where(torch.rand(positions.shape) < 0.2, math.nan, positions)


FIELDS: dict[str, Callable[[Tensor, Tensor], Positions]] = {
    "shifted": lambda x, y: (x + 2.3, y - 1.4),
    "on the pixels": lambda x, y: (x, y),
    "three rows": lambda x, y: (x + 0.6, y + 0.3 * x - 2),
    "four rows": lambda x, y: (x - 0.6, y - 0.6 * x + 5),
    "six rows": lambda x, y: (x + 0.2, y + 1.3 * x - 5),
    "eight rows": lambda x, y: (x + 0.2, 6 - 1.9 * x + y),
    "more rows than a window has": lambda x, y: (x + 0.2, y + 3.1 * x - 9),
    "just as many columns as a window has": lambda x, y: (2.1 * x - 1.2, y + 0.4),
    "more columns than a window has": lambda x, y: (3.2 * x - 7, y + 0.4),
    "mirrored": lambda x, y: (x.amax() - x, y.amax() - y + 0.2),
    "all at one": lambda x, y: (0 * x + 3.3, 0 * y + 1.7),
    "waves": lambda x, y: (x + 2.5 * torch.sin(0.9 * y), y + 2.5 * torch.sin(0.7 * x)),
    "across the left edge": lambda x, y: (x - 4.5, y + 0.1 * x),
    "across the right edge": lambda x, y: (x + 4.5, y + 0.1 * x),
    "across the top": lambda x, y: (x + 0.3, y - 2.5),
    "across the bottom": lambda x, y: (x + 0.3, y + 2.5),
    "outside": lambda x, y: (x + 1000, y),
    "random": lambda x, y: (x.amax() * torch.rand(x.shape), y.amax() * torch.rand(y.shape)),
    "partly NaN": lambda x, y: (_partly_nan(x + 0.4), y - 0.3),
    "random, partly NaN": lambda x, y: (_partly_nan(x.amax() * torch.rand(x.shape)), y),
}
"""Where the output pixels at x and y are sampled, in pixels; the shapes are those of a window of eight columns."""


def _field(name: str, height: int, width: int, align_corners: bool) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    placed = []
    for position, size in zip(FIELDS[name](x, y), (width, height), strict=True):
        placed.append(2 * position / max(size - 1, 1) - 1 if align_corners else (2 * position + 1) / size - 1)
    return torch.stack(placed, dim=-1)[None].float()


@pytest.fixture(autouse=True)
def _on_the_cpu() -> None:
    require("cpu", "confidence_warp")
    torch.manual_seed(0)


def _compare(features: Tensor, field: Tensor, **options: object) -> None:
    confidence = torch.rand(1, 1, *features.shape[2:])
    by_pixels = features.contiguous(memory_format=torch.channels_last)
    for blend in (None, torch.randn_like(features)):
        results = [
            internet.ops.confidence_warp(laid_out, field, confidence, blend=blend, **options)
            for laid_out in (features, by_pixels)
        ]
        assert results[0].is_contiguous()
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("width", [7, 8, 9, 15, 16, 17, 24, 33])
@pytest.mark.parametrize("name", FIELDS)
def test_every_width_and_field(name: str, width: int) -> None:
    for height in (1, 2, 11):
        for align_corners in (False, True):
            for padding_mode in ("zeros", "border"):
                field = _field(name, height, width, align_corners)
                features = torch.randn(1, CHANNELS, height, width)
                _compare(features, field, padding_mode=padding_mode, align_corners=align_corners)


@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("name", FIELDS)
def test_no_sample_sees_a_pixel_that_it_does_not_read(name: str, padding_mode: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        features = torch.randn(1, CHANNELS, 11, 19)
        features[torch.rand(features.shape) < 0.1] = value
        _compare(features, _field(name, 11, 19, False), padding_mode=padding_mode)


@pytest.mark.parametrize("upsampling", ["progressive", "interpolate"])
def test_coarse_fields(upsampling: str) -> None:
    features, field = torch.randn(1, CHANNELS, 32, 48), _field("waves", 8, 12, False)
    confidence = torch.rand(1, 1, 8, 12)
    results = [
        internet.ops.confidence_warp(laid_out, field, confidence, upsampling=upsampling)
        for laid_out in (features, features.contiguous(memory_format=torch.channels_last))
    ]
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_views() -> None:
    field = _field("waves", 11, 19, False)
    sliced = torch.randn(1, 2 * CHANNELS, 14, 25)[:, ::2, 1:12, 2:21]
    expanded = torch.randn(1, 1, 11, 19).expand(1, CHANNELS, 11, 19)
    for features in (sliced, expanded):
        result = internet.ops.confidence_warp(features, field)
        assert torch.equal(result, internet.ops.confidence_warp(features.contiguous(), field))


def test_an_image_does_not_depend_on_its_batch() -> None:
    features = torch.randn(3, CHANNELS, 40, 48)
    field = torch.cat([_field(name, 40, 48, False) for name in ("waves", "random", "outside")])
    together = internet.ops.confidence_warp(features, field)
    for image in range(3):
        one = slice(image, image + 1)
        assert torch.equal(together[one], internet.ops.confidence_warp(features[one], field[one]))
