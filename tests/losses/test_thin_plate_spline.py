"""Thin-plate splines: their definition, their Jacobian, and the frames they deform."""

import math

import torch
from torch import Tensor

from internet.losses import (
    ThinPlateSpline,
)


def control_points() -> Tensor:
    line = torch.linspace(-1, 1, 5, dtype=torch.float64)
    return torch.stack([line.repeat(5), line.repeat_interleave(5)], dim=-1)


def test_a_spline_takes_its_control_points_where_it_is_told():
    targets = control_points() + 0.2 * torch.randn(2, 25, 2, dtype=torch.float64)
    spline = ThinPlateSpline.through(targets)
    torch.testing.assert_close(spline(control_points().expand(2, -1, -1)), targets, atol=1e-9, rtol=0)


def test_a_spline_reproduces_affine_maps():
    matrix, shift = torch.randn(2, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    spline = ThinPlateSpline.through((control_points() @ matrix.mT + shift)[None])
    z = 3 * torch.randn(1, 50, 2, dtype=torch.float64)
    torch.testing.assert_close(spline(z), z @ matrix.mT + shift, atol=1e-9, rtol=0)
    torch.testing.assert_close(spline.jacobian(z), matrix.expand(1, 50, 2, 2), atol=1e-9, rtol=0)


def test_a_spline_is_the_textbook_s():
    """Bookstein's definition, sum by sum, with conditions that make the bending energy finite."""
    spline = ThinPlateSpline.through(control_points()[None] + 0.2 * torch.randn(1, 25, 2, dtype=torch.float64))
    weights, centres = spline.weights[0], control_points()
    bending, constant, linear = weights[:25], weights[25], weights[26:]
    z = torch.tensor([0.3, -0.7], dtype=torch.float64)
    expected = constant + z @ linear
    for weight, centre in zip(bending, centres, strict=True):
        r = math.dist(z.tolist(), centre.tolist())
        expected = expected + weight * r**2 * math.log(r**2)
    torch.testing.assert_close(spline(z[None, None])[0, 0], expected)
    assert bending.sum(0).abs().max() < 1e-9
    assert (centres.mT @ bending).abs().max() < 1e-9


def test_the_jacobian_is_exact():
    spline = ThinPlateSpline.through(control_points() + 0.2 * torch.randn(3, 25, 2, dtype=torch.float64))
    z = (2 * torch.rand(3, 7, 2, dtype=torch.float64) - 1).requires_grad_()
    slopes = [torch.autograd.grad(spline(z)[..., i].sum(), z, retain_graph=True)[0] for i in range(2)]
    torch.testing.assert_close(spline.jacobian(z), torch.stack(slopes, dim=-2))
    at_a_centre = spline.jacobian(control_points().expand(3, -1, -1))
    assert at_a_centre.isfinite().all()


def test_random_splines_are_near_the_identity_and_repeat_with_their_seed():
    one, two = (ThinPlateSpline.random(64, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one.weights, two.weights)
    z = (2 * torch.rand(64, 100, 2) - 1) * 0.9
    moved = (one(z) - z).flatten(1).abs().amax(1)
    assert moved.min() > 0.02
    assert moved.max() < 0.8
    assert torch.linalg.det(one.jacobian(z)).min() > 0  # no folding
    still = ThinPlateSpline.random(1, affine=0, bend=0)
    torch.testing.assert_close(still(z[:1]), z[:1], atol=1e-5, rtol=0)


def test_a_warped_frame_shows_at_z_what_was_at_t_of_z():
    spline = ThinPlateSpline.random(2, affine=0.02, bend=0.02)
    x, y = ((2 * torch.arange(64) + 1) / 64 - 1 for _ in range(2))
    ramp = torch.stack([x.expand(64, 64), y[:, None].expand(64, 64)]).expand(2, 2, 64, 64)  # its own coordinates
    warped = spline.warp(ramp)
    z = ramp.flatten(2).mT
    inside = (spline(z).abs() < 0.97).all(-1)
    torch.testing.assert_close(warped.flatten(2).mT[inside], spline(z)[inside], atol=1e-5, rtol=0)
    assert inside.float().mean() > 0.8


def test_a_part_of_the_deformations_is_that_of_its_samples():
    spline, z = ThinPlateSpline.random(5), torch.rand(5, 7, 2) * 2 - 1
    torch.testing.assert_close(spline.part(slice(1, 3))(z[1:3]), spline(z)[1:3])
