"""The reference, which specifies everything else, against independent formulations of the same equations.

Loops over single numbers are written straight from the equations, at tiny sizes; where torch or the field has
its own way of computing something, that is used.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from internet.ops import reference
from tests.support import samples
from tests.support.compare import assert_close, tensors_of
from tests.support.samples import DIFFERENTIABLE

# --------------------------------------------------------------------------- the equations, in single numbers


def pixel(j: int, size: int, align_corners: bool) -> float:
    """Normalised coordinate of pixel j."""
    if align_corners:
        return 2 * j / (size - 1) - 1 if size > 1 else 0.0
    return (2 * j + 1) / size - 1


def position(z: float, size: int, align_corners: bool) -> float:
    """Pixel position of a normalised coordinate."""
    return (z + 1) / 2 * (size - 1) if align_corners else ((z + 1) * size - 1) / 2


def look(image: Tensor, x: float, y: float, border: bool) -> float:
    """One channel (H, W) at the pixel position (x, y), bilinearly."""
    height, width = image.shape
    if border:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    value = 0.0
    for j in (math.floor(y), math.floor(y) + 1):
        for i in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < width and 0 <= j < height:
                value += (1 - abs(x - i)) * (1 - abs(y - j)) * image[j, i].item()
    return value


def local_motion(z: list[float], kp_s: Tensor, kp_d: Tensor, jac_s: Tensor | None, jac_d: Tensor | None) -> list[float]:
    """T_k(z), with the determinant's floor."""
    dx, dy = z[0] - kp_d[0].item(), z[1] - kp_d[1].item()
    if jac_s is None or jac_d is None:
        return [kp_s[0].item() + dx, kp_s[1].item() + dy]
    (a, b), (c, d) = jac_d.tolist()
    det = a * d - b * c
    if abs(det) < 1e-6:
        det = -1e-6 if det < 0 else 1e-6
    vx, vy = (d * dx - b * dy) / det, (-c * dx + a * dy) / det
    (a, b), (c, d) = jac_s.tolist()
    return [kp_s[0].item() + a * vx + b * vy, kp_s[1].item() + c * vx + d * vy]


def pixels(*sizes: int) -> list[tuple[int, ...]]:
    return [tuple(index.tolist()) for index in torch.ones(sizes).nonzero()]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.15])
@pytest.mark.parametrize("jacobians", [False, True])
def test_affine_mixture_is_equation_5(jacobians: bool, threshold: float, align_corners: bool) -> None:
    options = {"threshold": threshold, "align_corners": align_corners}
    sample = samples.build("affine_mixture", torch.float64, size=(3, 4), jacobians=jacobians, **options)
    logits, kp_s, kp_d, jac_s, jac_d = sample.args
    field = reference.affine_mixture(*sample.args, **options)
    expected = torch.empty_like(field)
    for b, j, i in pixels(2, 3, 4):
        z = [pixel(i, 4, align_corners), pixel(j, 3, align_corners)]
        weights = [math.exp(value) for value in logits[b, :, j, i].tolist()]
        weights = [max(weight / sum(weights) - threshold, 0) for weight in weights]
        motions = [z]
        for k in range(3):
            jacobian_pair = (jac_s[b, k], jac_d[b, k]) if jacobians else (None, None)
            motions.append(local_motion(z, kp_s[b, k], kp_d[b, k], *jacobian_pair))
        for axis in (0, 1):
            mixed = sum(w * m[axis] for w, m in zip(weights, motions, strict=True))
            expected[b, j, i, axis] = mixed / sum(weights)
    assert_close(field, expected, torch.float64)


def test_affine_mixture_is_first_order_motions_dense_motion() -> None:
    """As first-order-motion computes it: an identity grid, a 2x2 product per anchor and pixel, a softmax sum."""
    sample = samples.build("affine_mixture", torch.float64, align_corners=True)
    logits, kp_s, kp_d, jac_s, jac_d = sample.args
    batch, channels, height, width = logits.shape
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    identity = torch.stack([x, y], -1).view(1, 1, height, width, 2)
    relative = identity - kp_d.view(batch, channels - 1, 1, 1, 2)
    jacobian = (jac_s @ torch.inverse(jac_d))[:, :, None, None]
    driving_to_source = (jacobian @ relative.unsqueeze(-1)).squeeze(-1) + kp_s.view(batch, channels - 1, 1, 1, 2)
    motions = torch.cat([identity.expand(batch, 1, height, width, 2), driving_to_source], 1)
    expected = (F.softmax(logits, 1).unsqueeze(2) * motions.permute(0, 1, 4, 2, 3)).sum(1).permute(0, 2, 3, 1)
    assert_close(reference.affine_mixture(*sample.args, align_corners=True), expected, torch.float64)


def test_affine_mixture_of_volumes_is_the_masked_sum_of_sparse_motions() -> None:
    """As models of 3-D key points compute it: the motions of a grid of voxels, times a softmax mask, summed."""
    sample = samples.build("affine_mixture", torch.float64, size=(3, 4, 5), jacobians=True, align_corners=True)
    logits, kp_s, kp_d, jac_s, jac_d = sample.args
    batch, channels, depth, height, width = logits.shape
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in logits.shape[2:]), indexing="ij")
    identity = torch.stack([x, y, z], -1).view(1, 1, depth, height, width, 3)
    relative = identity - kp_d.view(batch, channels - 1, 1, 1, 1, 3)
    jacobian = (jac_s @ torch.inverse(jac_d))[:, :, None, None, None]
    moved = (jacobian @ relative.unsqueeze(-1)).squeeze(-1) + kp_s.view(batch, channels - 1, 1, 1, 1, 3)
    motions = torch.cat([identity.expand(batch, -1, -1, -1, -1, -1), moved], 1).permute(0, 1, 5, 2, 3, 4)
    expected = (motions * F.softmax(logits, 1).unsqueeze(2)).sum(1).permute(0, 2, 3, 4, 1)
    assert_close(reference.affine_mixture(*sample.args, align_corners=True), expected, torch.float64)


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)], ids=["image", "volume"])
def test_background_motion_is_a_quotient_of_homogeneous_coordinates(size: tuple[int, ...]) -> None:
    """Where the background has all the weight, the field is P applied to (z, 1), divided by the last coordinate."""
    sample = samples.build("affine_mixture", torch.float64, size=size, background=True)
    logits, *points = sample.args
    matrix = sample.kwargs["background"]
    logits = torch.full_like(logits, -math.inf).index_fill(1, torch.tensor([0]), 0.0)
    field = reference.affine_mixture(logits, *points, background=matrix)
    for b, *place in pixels(2, *size):
        homogeneous = [*(pixel(j, n, False) for j, n in zip(reversed(place), reversed(size), strict=True)), 1.0]
        *numerators, denominator = [
            sum(m * z for m, z in zip(row, homogeneous, strict=True)) for row in matrix[b].tolist()
        ]
        expected = torch.tensor([numerator / denominator for numerator in numerators], dtype=torch.float64)
        assert_close(field[(b, *place)], expected, torch.float64)


def test_background_motion_of_the_identity_is_none() -> None:
    sample = samples.build("affine_mixture", torch.float64, threshold=0.1)
    still = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    assert_close(reference.affine_mixture(*sample.args, **sample.kwargs, background=still), sample(), torch.float64)


@pytest.mark.parametrize("determinant", [0.0, 1e-9, -1e-9, 5e-7, -5e-7])
def test_collapsed_anchor_moves_far_but_finitely(determinant: float) -> None:
    """The inverse is the adjugate over the determinant kept at 1e-6, its sign kept."""
    matrix = torch.tensor([[determinant, 0.0], [0.0, 1.0]], dtype=torch.float64)
    inverse = reference.inverse(matrix)
    floor = -1e-6 if determinant < 0 else 1e-6
    assert_close(inverse, torch.tensor([[1.0, 0.0], [0.0, determinant]], dtype=torch.float64) / floor, torch.float64)


def test_determinants_above_the_floor_are_inverted_truly() -> None:
    matrix = torch.tensor([[2e-6, 0.3], [0.0, -1.0]], dtype=torch.float64)
    assert_close(reference.inverse(matrix), torch.inverse(matrix), torch.float64)


@pytest.mark.parametrize("determinant", [0.0, 1e-9, -1e-9, 5e-7, -5e-7, 2e-6, -3.0])
def test_inverse_of_3x3(determinant: float) -> None:
    """The adjugate over the determinant kept at 1e-6, its sign kept."""
    rows = torch.tensor([[determinant, 0.3, -0.2], [0.0, 2.0, 0.7], [0.0, 0.0, 0.5]], dtype=torch.float64)
    matrix = rows.roll(1, 0)  # an even permutation
    kept = (-1 if determinant < 0 else 1) * max(abs(determinant), 1e-6)
    adjugate = torch.empty_like(matrix)
    for i, j in pixels(3, 3):
        minor = matrix[[k for k in range(3) if k != i]][:, [k for k in range(3) if k != j]]
        adjugate[j, i] = (-1) ** (i + j) * torch.linalg.det(minor)
    assert_close(reference.inverse(matrix), adjugate / kept, torch.float64)


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
    """It reaches the pixels it weighs in, two to each side of its own two, and no further; none is NaN."""
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
    """Field and mask resized to the features, each from its own size, and x * mask + previous * (1 - mask)."""
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
    column = 2 if value > 0 else 0  # the border on its side; a NaN's is the first pixel
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
    """Whatever else the volume holds: the slices beside and behind, and the rows of other slices, are not read."""
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


PENALTIES = {"l1": abs, "l2": lambda r: r * r, "charbonnier": lambda r: math.sqrt(r * r + 1e-6)}


@pytest.mark.parametrize("padding_mode", ["border", "zeros", "valid"])
@pytest.mark.parametrize("norm", PENALTIES)
def test_masked_backwarp_loss_is_equation_4(norm: str, padding_mode: str) -> None:
    options = {"norm": norm, "padding_mode": padding_mode}
    sample = samples.build("masked_backwarp_loss", torch.float64, size=(4, 6), ratio=1, **options)
    output, target, flow, mask = sample.args
    expected = torch.zeros(2, 1, 4, 6, dtype=torch.float64)
    for b, c, j, i in pixels(*output.shape):
        x, y = i + flow[b, 0, j, i].item(), j + flow[b, 1, j, i].item()
        if padding_mode == "valid" and not (0 <= x <= 5 and 0 <= y <= 3):
            continue
        residual = look(output[b, c], x, y, padding_mode == "border") - target[b, c, j, i].item()
        expected[b, 0, j, i] += PENALTIES[norm](residual * mask[b, 0, j, i].item())
    for reduction, value in {"none": expected, "sum": expected.sum(), "mean": expected.sum() / output.numel()}.items():
        assert_close(reference.masked_backwarp_loss(*sample.args, reduction=reduction, **options), value, torch.float64)


def test_mask_is_upsampled_progressively() -> None:
    sample = samples.build("masked_backwarp_loss", torch.float64, size=(8, 12), ratio=4)
    *frames, mask = sample.args
    fine = F.interpolate(F.interpolate(mask, scale_factor=2, mode="bilinear"), scale_factor=2, mode="bilinear")
    loss, expected = (reference.masked_backwarp_loss(*frames, m) for m in (mask, fine))
    assert_close(loss, expected, torch.float64)


@pytest.mark.parametrize("boundary", [None, (0.01, 0.002)])
@pytest.mark.parametrize("reach", [0.5, 1.5])
def test_flow_confidence_is_its_three_tests(reach: float, boundary: tuple[float, float] | None) -> None:
    sample = samples.build("flow_confidence", torch.float64, size=(4, 5), reach=reach, batch=4)
    forward, backward = sample.args
    mask = reference.flow_confidence(forward, backward, boundary=boundary)
    expected = torch.ones_like(mask)
    for b, j, i in pixels(4, 4, 5):
        u, v = forward[b, :, j, i].tolist()
        x, y = i + u, j + v
        back = [look(backward[b, c], x, y, border=False) for c in (0, 1)]
        length, back_length = u * u + v * v, back[0] ** 2 + back[1] ** 2
        occluded = (u + back[0]) ** 2 + (v + back[1]) ** 2 > 0.01 * (length + back_length) + 0.5
        gradient = 0.0
        for c in (0, 1):
            here = forward[b, c, j, i].item()
            gradient += (forward[b, c, j, i + 1].item() - here) ** 2 if i + 1 < 5 else 0
            gradient += (forward[b, c, j + 1, i].item() - here) ** 2 if j + 1 < 4 else 0
        at_boundary = boundary is not None and gradient > boundary[0] * length + boundary[1]
        if occluded or at_boundary or not (0 <= x <= 4 and 0 <= y <= 3):
            expected[b, 0, j, i] = 0
    assert torch.equal(mask, expected)
    assert 0 < mask.mean() < 1, "the sample decides nothing"


@pytest.mark.parametrize("align_corners", [False, True])
def test_soft_argmax_is_an_expectation(align_corners: bool) -> None:
    logits, maps = samples.build("soft_argmax", torch.float64, size=(3, 4), jacobian_maps=3).args
    kp, jac = reference.soft_argmax(logits, maps, temperature=0.5, align_corners=align_corners)
    for b, k in pixels(2, 3):
        weights = [[math.exp(value / 0.5) for value in row] for row in logits[b, k].tolist()]
        total = sum(map(sum, weights))
        p = {(j, i): weights[j][i] / total for j, i in pixels(3, 4)}
        x = sum(weight * pixel(i, 4, align_corners) for (_, i), weight in p.items())
        y = sum(weight * pixel(j, 3, align_corners) for (j, _), weight in p.items())
        assert kp[b, k].tolist() == pytest.approx([x, y], abs=1e-14)
        for row, column in pixels(2, 2):
            value = sum(weight * maps[b, k, 2 * row + column, j, i].item() for (j, i), weight in p.items())
            assert jac[b, k, row, column].item() == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize("size", [(5, 7), (3, 4, 5)], ids=["image", "volume"])
def test_covariances_are_second_moments_less_the_square_of_the_first(size: tuple[int, ...]) -> None:
    logits, maps = samples.build("soft_argmax", torch.float64, size=size).args
    kp, jac, cov = reference.soft_argmax(logits, maps, covariance=True)
    n = len(size)
    grid = reference.identity_grid(size, False, like=logits).flatten(0, -2)
    heat = (logits / 0.1).flatten(2).softmax(-1)
    assert_close(kp, torch.einsum("bkp,pi->bki", heat, grid), torch.float64)
    second = torch.einsum("bkp,pi,pj->bkij", heat, grid, grid)
    assert_close(cov, second - kp[..., None] * kp[..., None, :], torch.float64)
    assert_close(cov, cov.mT, torch.float64)
    assert jac.shape == (*kp.shape, n)


def test_the_covariance_of_a_narrow_peak_keeps_its_digits() -> None:
    """In float32, far from the frame's middle, the difference of second moments has none left."""
    x = reference.pixel_coordinates(1024, False, like=torch.zeros(0, dtype=torch.float64))
    logits = (-((x - 0.9) ** 2) / (2 * 0.003**2)).expand(1, 1, 3, -1)
    found = [reference.soft_argmax(t, temperature=1.0, covariance=True)[2] for t in (logits.float(), logits)]
    assert_close(found[0][..., 0, 0], found[1][..., 0, 0], torch.float32, slack=3)
    assert found[1][0, 0, 0, 0].item() == pytest.approx(0.003**2, rel=1e-3)


def test_a_sharp_peak_is_its_pixel() -> None:
    logits = torch.zeros(1, 1, 5, 7, dtype=torch.float64)
    logits[0, 0, 1, 5] = 100.0
    kp, jac = reference.soft_argmax(logits)
    assert kp[0, 0].tolist() == pytest.approx([pixel(5, 7, False), pixel(1, 5, False)])
    assert jac is None


@pytest.mark.parametrize("grid_align_corners", [None, True])
def test_anchor_features_are_heat_maps_and_moved_sources(grid_align_corners: bool | None) -> None:
    options = {"variance": 0.1, "grid_align_corners": grid_align_corners}
    sample = samples.build("anchor_features", torch.float64, size=(3, 4), channels=2, **options)
    source, kp_s, kp_d, jac_s, jac_d = sample.args
    features = reference.anchor_features(*sample.args, **options).unflatten(1, (3, 3))
    for b, k, j, i in pixels(2, 3, 3, 4):
        z = [pixel(i, 4, bool(grid_align_corners)), pixel(j, 3, bool(grid_align_corners))]
        heat, moved = 0.0, z
        if k > 0:
            pair = kp_d[b, k - 1].tolist(), kp_s[b, k - 1].tolist()
            near = [math.exp(-((z[0] - p[0]) ** 2 + (z[1] - p[1]) ** 2) / (2 * 0.1)) for p in pair]
            heat = near[0] - near[1]
            moved = local_motion(z, kp_s[b, k - 1], kp_d[b, k - 1], jac_s[b, k - 1], jac_d[b, k - 1])
        at = position(moved[0], 4, False), position(moved[1], 3, False)
        expected = [heat, *(look(source[b, c], *at, border=False) for c in (0, 1))]
        assert features[b, k, :, j, i].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)], ids=["image", "volume"])
@pytest.mark.parametrize("grid_align_corners", [False, True])
def test_anchor_features_as_the_models_write_them(size: tuple[int, ...], grid_align_corners: bool) -> None:
    """Articulated-animation's `region2gaussian` and background, face-vid2vid's volumes; sampled by torch alone."""
    wide = {"background": True, "covariances": True, "grid_align_corners": grid_align_corners}
    sample = samples.build("anchor_features", torch.float64, size=size, **wide)
    source, kp_s, kp_d, jac_s, jac_d = sample.args
    batch, anchors, axes = kp_s.shape
    ones = (1,) * axes
    lines = [torch.tensor([pixel(j, n, grid_align_corners) for j in range(n)], dtype=torch.float64) for n in size]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)[None, None]

    def gaussian(kp: Tensor, covariance: Tensor) -> Tensor:
        away = grid - kp.view(batch, anchors, *ones, axes)
        inverse = torch.inverse(covariance).view(batch, anchors, *ones, axes, axes)
        return torch.exp(-0.5 * (away.unsqueeze(-2) @ inverse @ away.unsqueeze(-1)).sum((-1, -2)))

    heat = gaussian(kp_d, sample.kwargs["covariance_driving"]) - gaussian(kp_s, sample.kwargs["covariance_source"])
    heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1).unsqueeze(2)
    jacobian = (jac_s @ torch.inverse(jac_d)).view(batch, anchors, *ones, axes, axes)
    away = grid - kp_d.view(batch, anchors, *ones, axes)
    moved = (jacobian @ away.unsqueeze(-1)).squeeze(-1) + kp_s.view(batch, anchors, *ones, axes)
    homogeneous = torch.cat([grid, torch.ones_like(grid[..., :1])], -1).unsqueeze(-1)
    still = (sample.kwargs["background"].view(batch, 1, *ones, axes + 1, axes + 1) @ homogeneous).squeeze(-1)
    motions = torch.cat([still[..., :-1] / still[..., -1:], moved], 1).flatten(0, 1)
    images = source.repeat_interleave(anchors + 1, 0)
    deformed = F.grid_sample(images, motions, align_corners=False).unflatten(0, (batch, anchors + 1))
    expected = torch.cat([heat, deformed], 2).flatten(1, 2)
    assert_close(reference.anchor_features(*sample.args, **sample.kwargs), expected, torch.float64)


def test_flat_covariances_make_ridges() -> None:
    """A covariance of determinant 0 has the heat map of a line: 1 along it, 0 beside it."""
    kp = torch.zeros(1, 1, 2, dtype=torch.float64)
    line = torch.diag(torch.tensor([0.3, 0.0], dtype=torch.float64))[None, None]
    heat = reference.gaussian_heatmaps(reference.identity_grid((3, 3), True, kp), kp, 0.01, line)
    assert_close(heat[0, 0], torch.tensor([[0.0] * 3, [1.0] * 3, [0.0] * 3]), torch.float64)


@pytest.mark.parametrize("order", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_reference_is_twice_differentiable(operator: str, order: object) -> None:
    """Against finite differences, in float64; what the field's operators lack, a second order, included."""
    assert callable(order)
    for parameters in _TWICE[operator]:
        sample = samples.build(operator, torch.float64, batch=1, **parameters)
        leaves = [tensor.detach().requires_grad_() for tensor in sample.tensors()]
        function = getattr(reference, operator)

        def call(*tensors: Tensor, sample: samples.Sample = sample, function: object = function) -> tuple[Tensor, ...]:
            assert callable(function)
            changed = sample.with_tensors(tensors)
            return tuple(tensors_of(function(*changed.args, **changed.kwargs)))

        assert order(call, leaves, fast_mode=True)


_TWICE: dict[str, list[dict[str, object]]] = {
    "affine_mixture": [
        {},
        {"threshold": 0.1, "align_corners": True},
        {"jacobians": False},
        {"background": True, "threshold": 0.1},
        {"size": (2, 3, 4), "background": True},
    ],
    "upsample_motion": [{}],
    "confidence_warp": [
        {"ratio": 2, "blend": True},
        {"padding_mode": "border", "align_corners": True},
        {"upsampling": "interpolate", "features_size": (4, 4)},
    ],
    "pyramid_warp": [{"confidence_sizes": [(3, 5), (6, 10)], "blend": [False, True]}],
    "volume_warp": [{}, {"padding_mode": "border", "align_corners": True}],
    "masked_backwarp_loss": [{"norm": norm} for norm in ("l1", "l2", "charbonnier")],
    "soft_argmax": [{}, {"jacobian_maps": 0, "covariance": True}, {"size": (2, 3, 4), "covariance": True}],
    "anchor_features": [
        {},
        {"background": True, "covariances": True},
        {"size": (2, 3, 4), "background": True, "covariances": True},
    ],
}
