"""The reference of the warps and of upsampling, against the equations in single numbers and torch's own functions."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from internet.ops import reference
from tests.support import samples
from tests.support.compare import assert_close
from tests.support.equations import look, pixels, position


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 4)])
def test_upsampling_is_bilinear_interpolation(size: tuple[int, int]) -> None:
    field, confidence = samples.build("upsample_motion", torch.float64, size=size).args
    fine, fine_confidence = reference.upsample_motion(field, confidence)
    options = {"scale_factor": 2, "mode": "bilinear", "align_corners": False}
    assert_close(fine, F.interpolate(field.permute(0, 3, 1, 2), **options).permute(0, 2, 3, 1), torch.float64)
    assert_close(fine_confidence, F.interpolate(confidence, **options), torch.float64)


def test_two_steps_are_not_one_of_four() -> None:
    confidence = samples.build("upsample_motion", torch.float64).args[1]
    steps = reference.upsample_2x(reference.upsample_2x(confidence))
    assert not torch.allclose(steps, F.interpolate(confidence, scale_factor=4, mode="bilinear"), atol=1e-3)


def test_upsampling_does_not_spread_an_infinite_pixel() -> None:
    """It reaches exactly the pixels that it contributes to, two on each side of its own two; none is NaN."""
    row = torch.zeros(1, 1, 1, 7)
    row[..., 3] = math.inf
    fine = reference.upsample_2x(row)[0, 0, 0]
    assert fine.isinf().nonzero().flatten().tolist() == [5, 6, 7, 8]
    assert not fine.isnan().any()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("ratio", [1, 2])
def test_confidence_warp_is_equation_6(ratio: int, padding_mode: str, align_corners: bool) -> None:
    options = {"padding_mode": padding_mode, "align_corners": align_corners}
    sample = samples.build("confidence_warp", torch.float64, size=(2, 3), ratio=ratio, reach=2.0, **options)
    features, field, confidence = sample.args
    warped = reference.confidence_warp(*sample.args, **options)
    if ratio == 2:
        field, confidence = reference.upsample_motion(field, confidence)
    expected = torch.empty_like(features)
    _, _, height, width = features.shape
    for b, c, j, i in pixels(*features.shape):
        x, y = field[b, j, i].tolist()
        at = position(x, width, align_corners), position(y, height, align_corners)
        expected[b, c, j, i] = look(features[b, c], *at, padding_mode == "border") * confidence[b, 0, j, i]
    assert_close(warped, expected, torch.float64)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (6, 10), (2, 2), (9, 4), (40, 31)])
def test_interpolation_is_torchs(size: tuple[int, int], align_corners: bool) -> None:
    """Values and gradients."""
    values = torch.randn(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    got = reference.interpolate(values, size, align_corners)
    expected = F.interpolate(values, size, mode="bilinear", align_corners=align_corners)
    incoming = torch.randn_like(expected)
    assert_close(got, expected, torch.float64)
    gradients = [torch.autograd.grad(result, values, incoming)[0] for result in (got, expected)]
    assert_close(*gradients, torch.float64)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (2, 3), (8, 8)])
def test_warps_are_articulated_animations_and_thin_plate_spline_motions(
    size: tuple[int, int], align_corners: bool
) -> None:
    """Field and mask resized to the features, each from its own size, then x * mask + previous * (1 - mask)."""
    parameters: dict[str, Any] = {"size": (4, 4), "features_size": size, "confidence_size": (8, 8), "blend": True}
    options = {"interpolate_align_corners": align_corners, "align_corners": align_corners}
    sample = samples.build("confidence_warp", torch.float64, upsampling="interpolate", **parameters, **options)
    features, field, mask = sample.args
    resize: dict[str, Any] = {"size": size, "mode": "bilinear", "align_corners": align_corners}
    field = F.interpolate(field.permute(0, 3, 1, 2), **resize).permute(0, 2, 3, 1)
    mask = F.interpolate(mask, **resize)
    expected = F.grid_sample(features, field, align_corners=align_corners) * mask + sample.kwargs["blend"] * (1 - mask)
    assert_close(reference.confidence_warp(*sample.args, **sample.kwargs), expected, torch.float64)


def test_pyramid_takes_a_confidence_and_a_blend_for_each_level() -> None:
    masks = {"confidence_sizes": [(3, 5), None, (6, 10)], "blend": [True, False, True]}
    sample = samples.build("pyramid_warp", torch.float64, levels=((2, 1), (3, 1), (1, 4)), **masks)
    features, field, confidence = sample.args
    results = reference.pyramid_warp(*sample.args, **sample.kwargs)
    for result, *level in zip(results, features, confidence, sample.kwargs["blend"], strict=True):
        assert torch.equal(result, reference.confidence_warp(level[0], field, level[1], blend=level[2]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_coordinates_out_of_the_world(value: float) -> None:
    features = 1 + torch.rand(1, 1, 2, 3, dtype=torch.float64)
    field = torch.zeros(1, 2, 3, 2, dtype=torch.float64)
    field[..., 0] = value
    assert (reference.confidence_warp(features, field) == 0).all()
    column = 2 if value > 0 else 0  # the border on its side; for NaN, the first pixel
    expected = features[..., column].mean(2)  # y = 0 lies between the two rows
    bordered = reference.confidence_warp(features, field, padding_mode="border")
    assert_close(bordered, expected[..., None, None].expand_as(bordered), torch.float64)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("size", [(4, 3, 5), (1, 2, 3), (3, 1, 1), (2, 4, 1), (1, 1, 1)])
def test_volumes_are_sampled_as_grid_sample_does(
    size: tuple[int, int, int], padding_mode: str, align_corners: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    grid = 1.6 * (2 * torch.rand(2, 3, 4, 5, 3, generator=generator, dtype=torch.float64) - 1)
    grid.requires_grad_()
    sampled = reference.sample(volume, grid, padding_mode, align_corners)
    expected = F.grid_sample(volume, grid, padding_mode=padding_mode, align_corners=align_corners)
    assert_close(sampled, expected, torch.float64)
    weight = torch.randn(sampled.shape, generator=generator, dtype=torch.float64)
    got = torch.autograd.grad(sampled, (volume, grid), weight)
    for one, other in zip(got, torch.autograd.grad(expected, (volume, grid), weight), strict=True):
        assert_close(one, other, torch.float64)


def test_samples_of_a_volume_read_eight_voxels_and_no_others() -> None:
    """Other slices, and the rows next to a slice in memory, are not read, whatever they contain."""
    volume = torch.full((1, 1, 4, 4, 4), math.nan, dtype=torch.float64)
    volume[..., 1:3, 1:3, 1:3] = 1.0
    volume.requires_grad_()
    grid = torch.zeros(1, 2, 2, 2, 3, dtype=torch.float64)
    grid[0, 0, 0] = torch.tensor([[0.1, -0.2, 0.15], [1.3, 0.0, 0.0]])  # between those, and out of the frame
    grid[0, 0, 1] = torch.tensor([[0.0, -1.3, 0.0], [0.0, 0.0, 1.3]])
    grid[0, 1, 0] = torch.tensor([[math.nan, 0.0, 0.0], [0.0, math.inf, 0.0]])
    grid[0, 1, 1] = torch.tensor([[0.0, 0.0, -math.inf], [1e30, 1e30, 1e30]])
    grid.requires_grad_()
    sampled = reference.sample(volume, grid, "zeros", False)
    assert_close(sampled.flatten(), torch.eye(8, dtype=torch.float64)[0], torch.float64)
    for gradient in torch.autograd.grad(sampled.sum(), (volume, grid)):
        assert gradient.isfinite().all()


def test_pyramid_is_each_level_on_its_own() -> None:
    sample = samples.build("pyramid_warp", torch.float64, levels=((2, 2), (3, 1), (1, 4)))
    features, field, confidence = sample.args
    results = reference.pyramid_warp(features, field, confidence)
    for level, result in zip(features, results, strict=True):
        assert torch.equal(result, reference.confidence_warp(level, field, confidence))
