"""Each loss against a direct computation of its equation."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from internet import ops
from internet.data.synthetic_dataset import SyntheticDataset
from internet.geometry import identity_field
from internet.losses import (
    Batch,
    Objective,
    ThinPlateSpline,
    Weights,
    anchor_losses,
    confidence_loss,
    discriminator_loss,
    equivariance_losses,
    feature_matching_loss,
    flow_guidance_loss,
    generator_loss,
    gram,
    make_features,
    perceptual_loss,
    region_loss,
    style_loss,
    temporal_loss,
)
from internet.losses.adversarial import FORMS
from internet.model import Anchors, INTERnet, INTERnetConfig, Result, make_discriminator

# Eqs. 2-4


def shifted(image: Tensor, dx: int, dy: int) -> Tensor:
    """The image sampled dx to the right and dy below, the border repeated."""
    height, width = image.shape[-2:]
    rows = (torch.arange(height) + dy).clamp(0, height - 1)
    columns = (torch.arange(width) + dx).clamp(0, width - 1)
    return image[..., rows[:, None], columns]


@pytest.fixture
def clip() -> dict[str, Tensor]:
    output, previous = torch.rand(2, 2, 3, 16, 16)
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 16, 16).contiguous()
    return {"output": output, "previous": previous, "flow": flow}


def test_equation_2(clip):
    expected = (shifted(clip["output"], 3, -2) - clip["previous"]).abs().mean()
    torch.testing.assert_close(temporal_loss(**clip, regularization="flow"), expected)


def test_equation_3(clip):
    """The mask of [27]: here the flows disagree in the right half, and elsewhere only what leaves the frame is lost."""
    backward = -clip["flow"].clone()
    backward[..., 8:] += 4
    x, y = torch.arange(16), torch.arange(16)[:, None]
    reliable = ((x + 3 < 8) & (y - 2 >= 0)).float()
    expected = ((shifted(clip["output"], 3, -2) - clip["previous"]) * reliable).abs().mean()
    loss = temporal_loss(**clip, regularization="extrinsic", flow_backward=backward)
    torch.testing.assert_close(loss, expected)


def test_equation_4(clip):
    base = torch.rand(2, 1, 4, 4)
    mask, _ = base, None
    for _ in range(2):
        mask = F.interpolate(mask, scale_factor=2, mode="bilinear", align_corners=False)
    expected = ((shifted(clip["output"], 3, -2) - clip["previous"]) * mask).abs().mean()
    torch.testing.assert_close(temporal_loss(**clip, regularization="intrinsic", confidence=base), expected)


def test_no_regularisation_is_zero(clip):
    assert temporal_loss(**clip, regularization="none") == 0


@pytest.mark.parametrize(
    ("regularization", "words"),
    [
        ("extrinsic", "needs flow_backward"),
        ("intrinsic", "needs confidence"),
        ("mixed", "regularization is 'mixed', expected 'none' or 'flow' or"),
    ],
)
def test_a_scheme_without_what_it_needs(clip, regularization, words):
    with pytest.raises(ValueError, match=words):
        temporal_loss(**clip, regularization=regularization)


# Eq. 8


def judgement() -> list[list[Tensor]]:
    return [[torch.randn(2, 4, 6, 6), torch.randn(2, 1, 5, 5)], [torch.randn(2, 4, 3, 3), torch.randn(2, 1, 2, 2)]]


def test_equation_8():
    """Both sides play the one game: what the generator minimises is the part of the objective with O_t in it."""
    fake, real = judgement(), judgement()
    probability = [[scale[-1].double().sigmoid() for scale in side] for side in (fake, real)]
    of_fake = sum((1 - d).log().mean() for d in probability[0])
    of_real = sum(d.log().mean() for d in probability[1])
    for form in ("log", "nonsaturating"):
        assert discriminator_loss(fake, real, form).item() == pytest.approx(-(of_fake + of_real).item(), rel=1e-5)
    assert generator_loss(fake, "log").item() == pytest.approx(of_fake.item(), rel=1e-5)
    expected = -sum(d.log().mean() for d in probability[0]).item()
    assert generator_loss(fake, "nonsaturating").item() == pytest.approx(expected, rel=1e-5)


def test_other_forms():
    fake, real = judgement(), judgement()
    pairs = [(ours[-1], theirs[-1]) for ours, theirs in zip(fake, real, strict=True)]
    squares = sum((f**2).mean() + ((r - 1) ** 2).mean() for f, r in pairs)
    hinges = sum((1 + f).clamp(min=0).mean() + (1 - r).clamp(min=0).mean() for f, r in pairs)
    torch.testing.assert_close(discriminator_loss(fake, real, "lsgan"), squares)
    torch.testing.assert_close(discriminator_loss(fake, real, "hinge"), hinges)
    torch.testing.assert_close(generator_loss(fake, "lsgan"), sum(((f - 1) ** 2).mean() for f, _ in pairs))
    torch.testing.assert_close(generator_loss(fake, "hinge"), sum(-f.mean() for f, _ in pairs))


@pytest.mark.parametrize("form", FORMS)
def test_the_adversarial_losses_push_apart(form):
    """The discriminator lowers logits of fakes and raises those of real frames; the generator raises its own."""
    fake, real = (torch.full((1, 1, 2, 2), 0.5, requires_grad=True) for _ in range(2))
    discriminator_loss([[fake]], [[real]], form).backward()
    assert (fake.grad > 0).all()
    assert (real.grad < 0).all()
    fake.grad = None
    generator_loss([[fake]], form).backward()
    assert (fake.grad < 0).all()


def test_confident_logits_stay_finite():
    far = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    for form in FORMS:
        total = discriminator_loss([[far]], [[-far]], form) + generator_loss([[far]], form)
        total.backward()
        assert total.isfinite()
        assert far.grad.isfinite().all()


def test_an_unknown_form():
    for call in (lambda: generator_loss(judgement(), "tanh"), lambda: Objective(lambda x: [x], adversarial="tanh")):
        with pytest.raises(ValueError, match="'tanh', expected"):
            call()


def test_feature_matching():
    fake, real = judgement(), judgement()
    expected = sum((ours[0] - theirs[0]).abs().mean() for ours, theirs in zip(fake, real, strict=True)) / 2
    torch.testing.assert_close(feature_matching_loss(fake, real), expected)


# Eqs. 9-11


def test_equations_9_to_11():
    # the last layer has more channels than pixels, and so another way to the same
    ours, theirs = ([torch.randn(2, 3, 4, 5), torch.randn(2, 6, 2, 2), torch.randn(2, 9, 2, 2)] for _ in range(2))
    perceptual, style = 0.0, 0.0
    for a, b in zip(ours, theirs, strict=True):
        batch, channels, height, width = a.shape
        size = channels * height * width
        for n in range(batch):
            perceptual += (a[n] - b[n]).abs().sum() / size / batch
            difference = torch.zeros(channels, channels)
            for i in range(channels):
                for j in range(channels):
                    difference[i, j] = ((a[n, i] * a[n, j]).sum() - (b[n, i] * b[n, j]).sum()) / size
            style += (difference**2).sum() / size / batch
    torch.testing.assert_close(perceptual_loss(ours, theirs), perceptual)
    torch.testing.assert_close(style_loss(ours, theirs), style)


def test_the_style_loss_of_a_deep_layer_has_the_gradient_of_its_gram_matrices():
    ours, theirs = torch.randn(2, 1, 9, 2, 2, dtype=torch.float64).unbind()
    ours.requires_grad_()
    plain = (gram(ours) - gram(theirs)).square().sum() / ours.numel()
    torch.testing.assert_close(style_loss([ours], [theirs]), plain)
    gradients = (torch.autograd.grad(loss, ours) for loss in (style_loss([ours], [theirs]), plain))
    torch.testing.assert_close(*gradients)
    assert style_loss([ours], [ours.detach()]).item() == 0


def test_the_gram_matrix_is_in_float32_under_autocast():
    features = torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        low = gram(features.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, gram(features), atol=0.01, rtol=0.01)


# Thin-plate splines


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
    assert torch.linalg.det(one.jacobian(z)).min() > 0  # nothing folds over
    still = ThinPlateSpline.random(1, affine=0, bend=0)
    torch.testing.assert_close(still(z[:1]), z[:1], atol=1e-5, rtol=0)


def test_a_warped_frame_shows_at_z_what_was_at_t_of_z():
    spline = ThinPlateSpline.random(2, affine=0.02, bend=0.02)
    x, y = ((2 * torch.arange(64) + 1) / 64 - 1 for _ in range(2))
    ramp = torch.stack([x.expand(64, 64), y[:, None].expand(64, 64)]).expand(2, 2, 64, 64)  # shows its own position
    warped = spline.warp(ramp)
    z = ramp.flatten(2).mT
    inside = (spline(z).abs() < 0.97).all(-1)
    torch.testing.assert_close(warped.flatten(2).mT[inside], spline(z)[inside], atol=1e-5, rtol=0)
    assert inside.float().mean() > 0.8


# Equivariance


def blob_anchors(frame: Tensor) -> Anchors:
    """A detector that is equivariant: the centre and the spread of a bright blob, as a point and a matrix."""
    weight = frame[:, :1].clamp(min=0)
    weight = weight / weight.sum((2, 3), keepdim=True)
    height, width = frame.shape[2:]
    x, y = (2 * torch.arange(width) + 1) / width - 1, (2 * torch.arange(height) + 1) / height - 1
    z = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    kp = (weight[..., None] * z).sum((2, 3))
    return Anchors(kp, torch.eye(2).expand(len(frame), 1, 2, 2))


def blob(size: int = 128) -> Tensor:
    x = (2 * torch.arange(size) + 1) / size - 1
    bump = torch.exp(-((x - 0.2) ** 2 + (x[:, None] + 0.1) ** 2) / (2 * 0.03**2))
    return bump.expand(1, 3, size, size)


def test_an_equivariant_detector_has_next_to_no_loss():
    torch.manual_seed(3)
    frame, spline = blob(), ThinPlateSpline.random(1)
    points, _ = equivariance_losses(blob_anchors, frame, blob_anchors(frame), spline)
    assert points < 0.005  # not 0: a blob has a size, over which the spline is not quite affine

    def fixed(frame: Tensor) -> Anchors:
        return blob_anchors(blob())

    unmoved, _ = equivariance_losses(fixed, frame, fixed(frame), spline)
    assert unmoved > 10 * points


#: The length of a joint's two arms, and the spread of the spots that mark it.
ARM, SPOT = 0.04, 0.015


def marked_joints(joints: Tensor, size: int) -> Tensor:
    """A frame with three spots for each of the joints (B, K, 2), a channel each: (B, 3K, size, size).

    One at the joint, one to its right and one below: what deforms the frame turns and stretches their triangle.
    """
    arms = torch.tensor([[0.0, 0.0], [ARM, 0.0], [0.0, ARM]])
    spots = (joints[:, :, None] + arms).flatten(1, 2)[:, :, None, None]
    z = identity_field(size, size)[0]
    return torch.exp(-(z - spots).square().sum(-1) / (2 * SPOT**2))


def read_joints(frame: Tensor) -> Anchors:
    """What :func:`marked_joints` drew, by the spots' centres of gravity: the joint, and the arms as a matrix."""
    weight = frame / frame.sum((2, 3), keepdim=True)
    centres = torch.einsum("bkhw,hwc->bkc", weight, identity_field(*frame.shape[2:])[0]).unflatten(1, (-1, 3))
    arms = (centres[:, :, 1:] - centres[:, :, :1]) / ARM
    return Anchors(centres[:, :, 0], arms.mT)


def test_the_identities_hold_for_the_true_joints_of_drawn_figures():
    """p = T(p') and J = T'(p') J', read off deformed frames; what is not 0 is that a triangle has a size."""
    joints = torch.stack([SyntheticDataset(16, seed=3)[index]["current_anchors"] for index in (0, 9, 18, 27)])
    frame, spline = marked_joints(joints.clamp(-0.7, 0.7), 256), ThinPlateSpline.random(4)
    anchors = read_joints(frame)
    losses = equivariance_losses(read_joints, frame, anchors, spline)
    unmoved = equivariance_losses(lambda _: anchors, frame, anchors, spline)
    assert losses[0] < 0.01 * unmoved[0]
    assert losses[1] < 0.15 * unmoved[1]


def test_equivariance_is_first_order_motion_s():
    frame, spline = torch.rand(2, 3, 32, 32), ThinPlateSpline.random(2)
    anchors, deformed = (
        Anchors(torch.rand(2, 5, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 5, 2, 2)) for _ in range(2)
    )
    seen = []

    def detector(image: Tensor) -> Anchors:
        seen.append(image)
        return deformed

    points, jacobians = equivariance_losses(detector, frame, anchors, spline)
    torch.testing.assert_close(seen[0], spline.warp(frame))
    torch.testing.assert_close(points, (anchors.kp - spline(deformed.kp)).abs().mean())
    product = torch.inverse(anchors.jac) @ spline.jacobian(deformed.kp) @ deformed.jac
    torch.testing.assert_close(jacobians, (torch.eye(2) - product).abs().mean(), atol=1e-5, rtol=1e-4)


def test_true_jacobians_have_no_loss():
    """J = T'(p') J' and p = T(p'), whatever J' is."""
    spline = ThinPlateSpline.random(2)
    deformed = Anchors(torch.rand(2, 5, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 5, 2, 2))
    true = Anchors(spline(deformed.kp), spline.jacobian(deformed.kp) @ deformed.jac)
    losses = equivariance_losses(lambda _: deformed, torch.rand(2, 3, 8, 8), true, spline)
    assert max(losses) < 1e-4


# Flow guidance


def test_guidance_is_the_part_of_the_flow_that_is_left():
    motion = torch.zeros(2, 2, 16, 32)
    motion[:, 0], motion[:, 1] = 4, -4  # 0.25 and -0.5 of half a frame
    whole, epsilon = 0.25**2 + 0.5**2, 0.02**2
    still = identity_field(4, 8).repeat(2, 1, 1, 1)
    assert flow_guidance_loss(still, motion).item() == pytest.approx(whole / (whole + epsilon))
    moved = still + torch.tensor([0.25, -0.5])
    assert flow_guidance_loss(moved, motion).item() == pytest.approx(0, abs=1e-6)
    assert flow_guidance_loss(moved, -motion).item() == pytest.approx(4 * whole / (whole + epsilon))
    visible = torch.zeros(2, 1, 16, 32)
    visible[0, :, :, :8] = 1  # and of the second sample nothing
    assert flow_guidance_loss(still, motion, visible).item() == pytest.approx(whole / (whole + epsilon) / 2)


def test_guidance_without_a_flow(sample):
    model, result, batch = sample
    objective, batch = Objective(two_layers, weights=Weights(guidance=1)), dataclasses.replace(batch, motion=None)
    with pytest.raises(ValueError, match="guidance needs motion"):
        objective(result, batch, model.kp_detector, make_discriminator(model.config))


# What drawn figures teach


def test_anchors_on_their_parts_have_no_loss():
    points, turns = torch.rand(2, 3, 2) - 0.5, torch.randn(2, 3, 2, 2)
    anchors = Anchors(torch.cat([points, torch.rand(2, 1, 2)], 1), torch.cat([turns, torch.rand(2, 1, 2, 2)], 1))
    assert [loss.item() for loss in anchor_losses(anchors, points, turns)] == [0, 0]
    off, turned = anchor_losses(Anchors(anchors.kp + 0.25, anchors.jac - 0.5), points, turns)
    assert (off.item(), turned.item()) == (pytest.approx(0.25), pytest.approx(0.5))


def test_parts_out_of_the_frame_are_not_counted():
    points, turns = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, 2)
    points[0, 1, 0] = 1.5
    anchors = Anchors(torch.full((1, 2, 2), 0.1), torch.full((1, 2, 2, 2), 0.2))
    assert [loss.item() for loss in anchor_losses(anchors, points, turns)] == pytest.approx([0.1, 0.2])
    assert [loss.item() for loss in anchor_losses(anchors, points + 2, turns)] == [0, 0]
    with pytest.raises(ValueError, match="1 anchors, expected at least 2"):
        anchor_losses(Anchors(anchors.kp[:, :1], anchors.jac[:, :1]), points, turns)


def test_the_region_loss_is_the_cross_entropy_of_the_parts():
    parts, logits = torch.randint(0, 3, (2, 1, 8, 8)), torch.randn(2, 4, 8, 8)  # one anchor has no part
    torch.testing.assert_close(region_loss(logits, parts.float()), F.cross_entropy(logits, parts[:, 0]))
    coarse = logits[..., ::2, ::2]
    enlarged = F.interpolate(coarse, scale_factor=2)
    torch.testing.assert_close(region_loss(coarse, parts), F.cross_entropy(enlarged, parts[:, 0]))


def test_the_confidence_loss_is_the_cross_entropy_of_the_visible_share():
    visible = torch.zeros(1, 1, 8, 8)
    visible[..., :2] = 1  # half of the left column of M, a quarter of its row
    confidence = torch.tensor([[0.6, 0.1], [0.7, 0.2]])[None, None]
    share = torch.tensor([[0.5, 0.0], [0.5, 0.0]])[None, None]
    expected = F.binary_cross_entropy(confidence, share)
    torch.testing.assert_close(confidence_loss(confidence, visible), expected)
    certain = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    confidence_loss(certain, visible).backward()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("name", ["anchors", "anchors_jacobian", "regions", "confidence"])
def test_what_is_taught_must_be_there(sample, name):
    model, result, batch = sample
    batch = dataclasses.replace(batch, motion_visible=None, source_turns=None, current_parts=None)
    objective = Objective(two_layers, regularization="none", weights=Weights(0, 0, 0, 0, 0, 0, **{name: 1.0}))
    with pytest.raises(ValueError, match=r"needs (the parts|motion_visible)"):
        objective(result, batch, model.kp_detector, make_discriminator(model.config))


# Eqs. 1 and 7


@pytest.fixture
def sample() -> tuple[INTERnet, Result, Batch]:
    model = INTERnet(INTERnetConfig.preset("tiny"))
    source, target, previous = torch.rand(3, 1, 3, 64, 64)
    visible = (torch.rand(1, 1, 64, 64) > 0.5).float()
    still, moved = torch.zeros(1, 2, 64, 64), torch.randn(1, 2, 64, 64)
    points, turns = torch.rand(2, 1, 4, 2) - 0.5, torch.randn(2, 1, 4, 2, 2)
    parts = torch.randint(0, 5, (1, 1, 64, 64)).float()
    batch = Batch(target, previous, still, still, moved, visible, *points, *turns, parts, 1 - visible)
    return model, model(source, target), batch


def two_layers(frame: Tensor) -> list[Tensor]:
    return [frame, F.avg_pool2d(frame, 4)]


def test_equations_1_and_7(sample):
    model, result, batch = sample
    weights = Weights(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    discriminator = make_discriminator(model.config)
    objective = Objective(two_layers, weights=weights)
    torch.manual_seed(5)
    terms = objective(result, batch, model.kp_detector, discriminator)
    torch.manual_seed(5)
    spline = ThinPlateSpline.random(1)
    points, jacobians = equivariance_losses(model.kp_detector, batch.target, result.driving_anchors, spline)
    fake, real = discriminator(result.frame), discriminator(batch.target)
    ours, theirs = two_layers(result.frame), two_layers(batch.target)
    taught = (
        anchor_losses(result.source_anchors, batch.source_anchors, batch.source_turns),
        anchor_losses(result.driving_anchors, batch.current_anchors, batch.current_turns),
    )
    expected = {
        "adversarial": generator_loss(fake),
        "perceptual": perceptual_loss(ours, theirs),
        "style": style_loss(ours, theirs),
        "temporal": ops.masked_backwarp_loss(result.frame, batch.previous, batch.flow, result.motion.confidence),
        "equivariance": points,
        "equivariance_jacobian": jacobians,
        "feature_matching": feature_matching_loss(fake, real),
        "pixel": (result.frame - batch.target).abs().mean(),
        "guidance": flow_guidance_loss(result.motion.field, batch.motion, batch.motion_reliable),
        "anchors": (taught[0][0] + taught[1][0]) / 2,
        "anchors_jacobian": (taught[0][1] + taught[1][1]) / 2,
        "regions": region_loss(result.motion.logits, batch.current_parts),
        "confidence": confidence_loss(result.motion.confidence, batch.motion_visible),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    total = sum(getattr(weights, name) * value for name, value in expected.items())
    torch.testing.assert_close(objective.total(terms), total)
    assert set(expected) == {field.name for field in dataclasses.fields(Weights)}
    torch.testing.assert_close(objective.discriminator_total(fake, real), discriminator_loss(fake, real))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Weights)])
def test_a_term_of_no_weight_is_left_out(sample, name):
    model, result, batch = sample
    ones = Weights(**{field.name: 1.0 for field in dataclasses.fields(Weights)})
    weights = dataclasses.replace(ones, **{name: 0.0})
    terms = Objective(two_layers, weights=weights)(result, batch, model.kp_detector, make_discriminator(model.config))
    assert set(terms) == {field.name for field in dataclasses.fields(Weights)} - {name}


def test_weights_and_deformations_of_one_step_take_the_place_of_the_objectives_own(sample):
    model, result, batch = sample
    objective, own = Objective(two_layers), Weights(adversarial=0, perceptual=3, style=0, equivariance_jacobian=0)
    spline = ThinPlateSpline.random(len(batch.target))
    anchors = (model.kp_detector, make_discriminator(model.config))
    terms = objective(result, batch, *anchors, weights=own, spline=spline)
    assert set(terms) == {"perceptual", "temporal", "equivariance"}
    expected, _ = equivariance_losses(model.kp_detector, batch.target, result.driving_anchors, spline)
    torch.testing.assert_close(terms["equivariance"], expected)
    total = 3 * terms["perceptual"] + 10 * terms["temporal"] + 10 * terms["equivariance"]
    torch.testing.assert_close(objective.total(terms, own), total)


def test_a_part_of_the_deformations_is_that_of_its_samples():
    spline, z = ThinPlateSpline.random(5), torch.rand(5, 7, 2) * 2 - 1
    torch.testing.assert_close(spline.part(slice(1, 3))(z[1:3]), spline(z)[1:3])


def test_an_unknown_scheme():
    with pytest.raises(ValueError, match="regularization is 'both', expected one of none, flow"):
        Objective(two_layers, regularization="both")


def test_all_losses_under_bfloat16_autocast(sample):
    model, _, batch = sample
    discriminator = make_discriminator(model.config)
    objective = Objective(make_features("efficientnet-lite0", "random"))
    torch.manual_seed(5)
    full = objective(model(batch.previous, batch.target), batch, model.kp_detector, discriminator)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        low = objective(model(batch.previous, batch.target), batch, model.kp_detector, discriminator)
    for name, value in full.items():
        assert low[name].dtype == torch.float32, name
        assert low[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.02), name
