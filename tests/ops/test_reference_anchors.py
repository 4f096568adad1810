"""The reference of the operators with anchors, against the equations in single numbers and published models."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from internet.ops import reference
from tests.support import samples
from tests.support.compare import assert_close
from tests.support.equations import local_motion, look, pixel, pixels, position


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
    """As computed by first-order-motion: an identity grid, a 2x2 product per anchor and pixel, a softmax sum."""
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
    """As computed by models with 3-D key points: the motions of a grid of voxels, times a softmax mask, summed."""
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
    """If the background has all the weight, the field is P applied to (z, 1), divided by the last coordinate."""
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
    """The inverse is the adjugate over the determinant, of which at least 1e-6 is kept, with its sign."""
    matrix = torch.tensor([[determinant, 0.0], [0.0, 1.0]], dtype=torch.float64)
    inverse = reference.inverse(matrix)
    floor = -1e-6 if determinant < 0 else 1e-6
    assert_close(inverse, torch.tensor([[1.0, 0.0], [0.0, determinant]], dtype=torch.float64) / floor, torch.float64)


def test_determinants_above_the_floor_are_inverted_truly() -> None:
    matrix = torch.tensor([[2e-6, 0.3], [0.0, -1.0]], dtype=torch.float64)
    assert_close(reference.inverse(matrix), torch.inverse(matrix), torch.float64)


@pytest.mark.parametrize("determinant", [0.0, 1e-9, -1e-9, 5e-7, -5e-7, 2e-6, -3.0])
def test_inverse_of_3x3(determinant: float) -> None:
    """The adjugate over the determinant, of which at least 1e-6 is kept, with its sign."""
    rows = torch.tensor([[determinant, 0.3, -0.2], [0.0, 2.0, 0.7], [0.0, 0.0, 0.5]], dtype=torch.float64)
    matrix = rows.roll(1, 0)  # an even permutation
    kept = (-1 if determinant < 0 else 1) * max(abs(determinant), 1e-6)
    adjugate = torch.empty_like(matrix)
    for i, j in pixels(3, 3):
        minor = matrix[[k for k in range(3) if k != i]][:, [k for k in range(3) if k != j]]
        adjugate[j, i] = (-1) ** (i + j) * torch.linalg.det(minor)
    assert_close(reference.inverse(matrix), adjugate / kept, torch.float64)


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


def test_sums_over_many_pixels_are_exact_to_a_few_roundings_in_float32() -> None:
    """A matrix product adds one pixel after the other: it was wrong by some twenty roundings here."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 128, 128, generator=generator) / 10
    maps = torch.randn(2, 4, 4, 128, 128, generator=generator)
    found = reference.soft_argmax(logits, maps, covariance=True)
    exact = reference.soft_argmax(logits.double(), maps.double(), covariance=True)
    for rounded, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(rounded.double(), expected, rtol=0, atol=4 * 2**-24)


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
    """Articulated-animation's `region2gaussian` and background, face-vid2vid's volumes; sampled by torch itself."""
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
