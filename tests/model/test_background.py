"""How the background moves: the affine fit to matches, and the model that uses it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from internet import ops
from internet.geometry import identity_field, identity_grid
from internet.losses import Batch, Objective, Weights, background_loss
from internet.model import Anchors, INTERnet, INTERnetConfig, make_discriminator
from internet.model.background import BackgroundPredictor, Matches, affine_fit, inliers
from internet.model.checkpoint import save_model
from internet.model.motion import stabilised
from internet.training.checkpoint import warm_start
from tests.support.feature_networks import two_layers

AFFINE = torch.tensor([[[0.05, -0.02, 0.1], [0.03, -0.04, -0.07]]])


def points() -> Tensor:
    return identity_grid((8, 12), align_corners=False, like=torch.zeros(0, dtype=torch.float64)).flatten(0, 1)


def displaced(affine: Tensor) -> Tensor:
    return points() @ affine[:, :, :2].double().transpose(1, 2) + affine[:, None, :, 2].double()


def make(**changes: Any) -> INTERnet:
    torch.manual_seed(0)
    return INTERnet(INTERnetConfig.preset("tiny", size=64, background="affine", **changes)).eval()


def textured(batch: int = 2) -> Tensor:
    return torch.nn.functional.interpolate(torch.rand(batch, 3, 40, 40), scale_factor=2, mode="bilinear")


# The fit


def test_the_fit_is_the_affine_motion_of_its_matches() -> None:
    matches = Matches(displaced(AFFINE), torch.rand(1, 96).double() + 0.5)
    torch.testing.assert_close(affine_fit(points(), matches), AFFINE.double(), atol=1e-3, rtol=0)


def test_what_cannot_be_trusted_is_still() -> None:
    matches = Matches(displaced(AFFINE), torch.full((1, 96), 1e-9).double())
    assert affine_fit(points(), matches).abs().max() < 1e-5


def test_a_person_before_the_background_is_not_fitted() -> None:
    displacement = displaced(AFFINE)
    displacement[:, 40:60] = torch.tensor([-0.3, 0.2]).double()
    matches = Matches(displacement, torch.ones(1, 96).double())
    first = affine_fit(points(), matches)
    fitted = first
    for _ in range(5):
        fitted = affine_fit(points(), inliers(points(), matches, fitted, torch.tensor(0.1).double()))
    torch.testing.assert_close(fitted, AFFINE.double(), atol=5e-3, rtol=0)
    assert (first - AFFINE).abs().max() > 0.03  # otherwise the test would prove nothing


# The predictor


def test_the_matrix_is_affine_and_learns_from_both_frames() -> None:
    predictor = BackgroundPredictor(torch.nn.AvgPool2d(2))
    source, driving = textured().requires_grad_(), textured().requires_grad_()
    matrix = predictor(source, driving)
    assert matrix.shape == (2, 3, 3)
    assert matrix[:, 2].tolist() == [[0, 0, 1]] * 2
    matrix.square().sum().backward()
    for gradient in (source.grad, driving.grad, *(parameter.grad for parameter in predictor.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.any()


def test_what_matches_is_where_the_source_has_it() -> None:
    predictor = BackgroundPredictor(torch.nn.Identity(), width=8)
    predictor.features = torch.nn.Identity()  # frames are their own features: random and so distinctive
    predictor.sharpness.data.fill_(4.0)
    driving = torch.randn(1, 8, 20, 24)
    source = driving.roll((2, -3), (2, 3))  # rows down, columns to the left
    matrix = predictor(source, driving)
    expected = torch.tensor([[1, 0, -3 * 2 / 24], [0, 1, 2 * 2 / 20], [0, 0, 1]])
    torch.testing.assert_close(matrix[0], expected, atol=0.02, rtol=0)


def test_bfloat16_autocast_keeps_the_motion_in_float32() -> None:
    predictor, frames = BackgroundPredictor(torch.nn.AvgPool2d(2)), textured()
    with torch.autocast("cpu", torch.bfloat16):
        matrix = predictor(frames, frames.roll(2, 3))
    assert matrix.dtype == torch.float32
    torch.testing.assert_close(matrix, predictor(frames, frames.roll(2, 3)), atol=0.02, rtol=0)


# The model


def test_a_model_without_it_has_a_still_background() -> None:
    model = INTERnet(INTERnetConfig.preset("tiny", size=64)).eval()
    assert model.background_predictor is None
    assert model(*torch.rand(2, 1, 3, 64, 64)).motion.background is None
    with pytest.raises(ValueError, match="'first-order' has a still background"):
        INTERnetConfig.preset("tiny", stage_one="first-order", background="affine", depth=5)


def test_what_no_anchor_moves_moves_with_the_background() -> None:
    model, source = make(), torch.rand(1, 3, 64, 64)
    anchors, matrix = model.kp_detector(source), torch.eye(3)[None].clone()
    matrix[:, 0, 2] = 0.25
    with torch.no_grad():
        model.dense_motion_network.mask.bias[0] = 1e4
        motion = model.dense_motion_network(source, anchors, anchors, matrix)
    torch.testing.assert_close(motion.field, identity_field(16, 16) + torch.tensor([0.25, 0.0]))
    assert motion.background is matrix


def test_networks_see_the_source_as_the_driving_camera_would_have_taken_it() -> None:
    source, logits = textured(1)[..., ::2, ::2], torch.randn(1, 4, 10, 12)
    jac = torch.eye(2) + 0.1 * torch.randn(2, 1, 3, 2, 2)
    anchors, driving = (Anchors(kp, turn) for kp, turn in zip(torch.rand(2, 1, 3, 2) - 0.5, jac, strict=True))
    background = torch.eye(3)[None] + torch.nn.functional.pad(AFFINE, (0, 0, 0, 1))
    there, stable = stabilised(source, anchors, background)
    z = identity_field(*source.shape[2:])
    led = z @ background[0, :2, :2].T + background[0, :2, 2]
    torch.testing.assert_close(there, ops.confidence_warp(source, led))
    torch.testing.assert_close(stable.kp @ background[0, :2, :2].T + background[0, :2, 2], anchors.kp)
    moved = ops.affine_mixture(logits, anchors.kp, driving.kp, anchors.jac, driving.jac, background=background)
    still = ops.affine_mixture(logits, stable.kp, driving.kp, stable.jac, driving.jac)
    torch.testing.assert_close(moved, still @ background[0, :2, :2].T + background[0, :2, 2], atol=1e-5, rtol=0)


def test_a_stream_follows_the_camera_since_the_first_driving_frame() -> None:
    model = make()
    source, *driving = torch.rand(4, 1, 3, 64, 64)
    for result, frame in zip(model.transfer(source, driving), driving, strict=True):
        assert torch.equal(result.motion.background, model.background_motion(driving[0], frame))
    same = list(model.transfer(driving[0], driving))  # the source is the first frame, so this is what forward computes
    assert torch.equal(same[-1].frame, model(driving[0], driving[-1]).frame)


def test_it_is_compiled_with_the_rest() -> None:
    model = make()
    frames = torch.rand(2, 1, 3, 64, 64)
    expected = model(*frames).motion.background
    found = torch.compile(model.background_predictor, fullgraph=True, backend="eager")(*frames)
    torch.testing.assert_close(found, expected)


# Training


def test_the_loss_is_the_distance_on_the_background() -> None:
    motion, parts = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    motion[:, 0], parts[..., :4] = 2.0, 3  # two pixels of eight are half of a coordinate
    motion[:, :, :, :4] = 7.0  # the person's
    truth = torch.eye(3)[None].clone()
    truth[:, 0, 2] = 0.5
    assert background_loss(truth, motion, parts).item() == pytest.approx(0, abs=2e-4)
    assert background_loss(torch.eye(3)[None], motion, parts).item() == pytest.approx(0.5, abs=1e-4)
    assert background_loss(truth, motion, torch.ones_like(parts)).item() == 0  # none of it is visible


def test_what_the_loss_needs_is_named() -> None:
    frames = torch.rand(2, 1, 3, 64, 64)
    objective = Objective(two_layers, regularization="none", weights=Weights(0, 0, 0, 0, 0, 0, background=1.0))
    still, moving = INTERnet(INTERnetConfig.preset("tiny", size=64)), make()
    for model, words in ((still, "background is 'affine'"), (moving, "needs motion, the flow .* and the parts")):
        with pytest.raises(ValueError, match=words):
            objective(model(*frames), Batch(frames[1]), model.kp_detector, make_discriminator(model.config))


def test_weights_are_taken_over_with_and_without_it(tmp_path: Any) -> None:
    still, moving = INTERnet(INTERnetConfig.preset("tiny", size=64)), make()
    for name, model in (("still", still), ("moving", moving)):
        save_model(tmp_path / f"{name}.pt", model)
    begun = make().train()
    before = begun.background_predictor.sharpness.item()
    warm_start(begun, str(tmp_path / "still.pt"))
    assert begun.background_predictor.sharpness.item() == before
    assert torch.equal(begun.generator.last.weight, still.generator.last.weight)
    warm_start(still, str(tmp_path / "moving.pt"))
    assert torch.equal(still.generator.last.weight, moving.generator.last.weight)
    assert still.background_predictor is None
