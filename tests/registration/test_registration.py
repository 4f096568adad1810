"""The fit: its initial estimate, its energy, its results on frames with known motion, and its errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from internet import ops
from internet.data.image import to_tensor
from internet.data.synthetic import WalkingClip
from internet.geometry import field_to_flow, full_flow, identity_field
from internet.ops import Status
from internet.registration import (
    MixtureMotion,
    Objective,
    Problem,
    Registration,
    Weights,
    compare,
    fit,
    register,
    why_not_fused,
)
from internet.registration.initialization import changed_pixels, group, initial_motion, large_pieces, pool_flow
from internet.registration.objective import edge_weights, local_contrast, pyramid

SIZE, BASE = 256, 64
ROUNDING = 5e-7  # of coordinates within [-1, 1] in float32


class Walk:
    """Two frames of a synthetic clip with the true motion."""

    def __init__(self, seed: int = 1) -> None:
        clip = WalkingClip(seed, (SIZE, SIZE))
        first, second = clip.time(28), clip.time(30)
        self.source, self.driving = to_tensor(clip[28]), to_tensor(clip[30])
        self.flow = torch.from_numpy(clip.flow(second, first))[None]  # driving -> source, as the field is
        back = torch.from_numpy(clip.flow(first, second))[None]
        self.visible = ops.flow_confidence(self.flow, back, boundary=None)
        self.figure = torch.from_numpy(clip.labels(second) > 0)[None, None].float()
        either = torch.maximum(self.figure, torch.from_numpy(clip.labels(first) > 0)[None, None].float())
        self.far_background = 1 - F.max_pool2d(either, 41, 1, 20)


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk()


@pytest.fixture(scope="module")
def found(walk: Walk) -> Registration:
    return register(walk.source, walk.driving, base=BASE, steps=60)


def mean_over(values: torch.Tensor, mask: torch.Tensor) -> float:
    return ((values * mask).sum() / mask.sum()).item()


def distance_to_truth(flow: torch.Tensor, walk: Walk) -> float:
    return mean_over((flow - walk.flow).norm(dim=1, keepdim=True), walk.figure * walk.visible)


def test_every_stage_explains_more(found):
    for measure in ("photometric", "moving", "endpoint"):
        still, initial, fitted = (getattr(found.errors[stage], measure) for stage in ("identity", "initial", "fitted"))
        assert fitted < initial < still, measure
    assert found.errors["fitted"].moving < 0.35 * found.errors["identity"].moving
    assert found.losses[-1] < 0.7 * found.losses[0]
    assert len(found.losses) == 60


def test_the_motion_is_the_true_one(found, walk):
    still = distance_to_truth(torch.zeros_like(found.flow), walk)
    assert still > 5
    assert distance_to_truth(found.flow, walk) < 0.25 * still


def test_the_background_is_exactly_still(found, walk):
    moved = (found.field - identity_field(BASE, BASE)).norm(dim=-1)[:, None]
    still = -F.max_pool2d(-walk.far_background, SIZE // BASE)
    assert still.mean() > 0.2
    assert mean_over((moved < ROUNDING).float(), still) > 0.98
    assert (found.motion.logits.argmax(1)[:, None] == 0)[still > 0].float().mean() > 0.98  # black in the figure


def test_what_is_hidden_is_trusted_less(found, walk):
    confidence = F.interpolate(found.confidence, size=(SIZE, SIZE))
    assert mean_over(confidence, walk.visible) > 0.8
    assert mean_over(confidence, 1 - walk.visible) < mean_over(confidence, walk.visible) - 0.15


def test_the_anchors_are_on_the_figure(found, walk):
    near = F.max_pool2d(walk.figure, 17, 1, 8)
    on_figure = F.grid_sample(near, found.motion.kp_driving[:, None].detach(), align_corners=False)
    assert on_figure.mean() > 0.85


def test_the_result_hangs_together(found, walk):
    assert found.field.shape == (1, BASE, BASE, 2)
    assert found.confidence.shape == (1, 1, BASE, BASE)
    assert found.flow.shape == found.teacher.shape == (1, 2, SIZE, SIZE)
    assert not any(value.requires_grad for value in (found.field, found.confidence, found.flow, found.warped))
    assert set(found.reliable.unique().tolist()) == {0.0, 1.0}
    apart = ops.masked_backwarp_loss(walk.source, found.warped, found.flow, reduction="none")
    assert apart[..., 4:-4, 4:-4].max() < 1e-3  # warping by the flow, in pixels, and by the field are equivalent


def test_the_state_is_enough_to_move_an_image(found, walk, tmp_path):
    torch.save(found.state(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    names = ("logits", "kp_source", "kp_driving", "jac_source", "jac_driving")
    field = ops.affine_mixture(*(state[name] for name in names), threshold=state["threshold"].item())
    assert torch.equal(field, state["field"])
    assert torch.equal(state["confidence_logits"].sigmoid(), state["confidence"])
    assert torch.equal(ops.confidence_warp(walk.source, field, padding_mode="border"), found.warped)


def test_fused_and_plain_operators_give_the_same_fit(walk):
    source, driving = walk.source[..., ::2, ::2].contiguous(), walk.driving[..., ::2, ::2].contiguous()
    fused = register(source, driving, base=32, steps=8)
    with ops.backend("reference"):
        plain = register(source, driving, base=32, steps=8)
    assert fused.losses[0] == pytest.approx(plain.losses[0], rel=1e-5)
    assert fused.losses == pytest.approx(plain.losses, rel=2e-3)  # each step amplifies the rounding of the last
    assert (fused.field - plain.field).abs().mean() < 1e-4


@pytest.mark.skipif(why_not_fused("cpu") != "", reason=why_not_fused("cpu"))
def test_the_comparison_times_the_identical_fit(walk, found):
    problem = Problem.prepare(walk.source, walk.driving, BASE)
    before = [parameter.detach().clone() for parameter in found.motion.parameters()]
    timing = compare(problem, found, rounds=3)
    assert timing.fused_seconds > 0
    assert timing.ratio == pytest.approx(timing.eager_seconds / timing.fused_seconds)
    assert (timing.backend, timing.rounds) == ("cpu", 3)
    assert timing.disagreement < 1e-5
    assert all(torch.equal(was, now) for was, now in zip(before, found.motion.parameters(), strict=True))


def test_why_the_fit_is_not_fused(monkeypatch):
    assert why_not_fused("abacus") == "there is no backend abacus"
    statuses = {
        "broken": Status(False, "it fell down"),
        "half": Status(True, fallbacks=("upsample_motion", "soft_argmax")),
        "whole": Status(True, fallbacks=("soft_argmax",)),
    }
    monkeypatch.setattr(ops, "backends", lambda: statuses)
    assert [why_not_fused(name) for name in statuses] == ["it fell down", "no upsample_motion there", ""]


def test_the_fit_repeats_bit_for_bit(walk):
    problem = Problem.prepare(walk.source, walk.driving, BASE)
    first, second = (fit(problem, steps=3) for _ in range(2))
    assert torch.equal(first.field, second.field)


def test_frames_without_motion_stay_still(walk):
    same = register(walk.source, walk.source, base=BASE, steps=5)
    assert (same.field - identity_field(BASE, BASE)).abs().max() < ROUNDING
    assert same.errors["fitted"].photometric < 0.5
    assert same.errors["fitted"].endpoint < 1e-3
    assert all(math.isfinite(loss) for loss in same.losses)


@pytest.mark.parametrize("anchors", [1, 3, 20])
def test_any_number_of_anchors(walk, anchors):
    result = register(walk.source, walk.driving, base=BASE, anchors=anchors, steps=2)
    assert result.motion.logits.shape == (1, anchors + 1, BASE, BASE)
    assert all(value.isfinite().all() for value in result.state().values())
    assert result.errors["fitted"].moving < result.errors["identity"].moving


def test_frames_need_not_be_square(walk):
    source, driving = (image[..., 40:232, :].contiguous() for image in (walk.source, walk.driving))
    result = register(source, driving, base=48, steps=2)
    assert result.field.shape == (1, 48, 64, 2)
    assert result.warped.shape == (1, 3, 192, 256)


def test_no_steps_is_the_first_guess(walk):
    result = register(walk.source, walk.driving, base=BASE, steps=0)
    assert result.errors["fitted"] == result.errors["initial"]
    assert result.losses == []


def test_progress_sees_every_step(walk):
    seen = []

    def watch(steps):
        for step in steps:
            seen.append(step)
            yield step

    register(walk.source, walk.driving, base=BASE, steps=3, progress=watch)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": torch.zeros(1, 1, 64, 64)}, r"source must be floating \(1, 3, H, W\).*\(1, 1, 64, 64\)"),
        ({"driving": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)}, "driving must be floating .*uint8"),
        ({"driving": torch.zeros(1, 3, 64, 128)}, r"same size, got \(64, 64\) and \(64, 128\)"),
        ({"source": torch.full((1, 3, 64, 64), 200.0)}, r"source must be finite and in \[0, 1\], got 200 to 200"),
        ({"driving": torch.full((1, 3, 64, 64), torch.nan)}, "driving must be finite"),
        ({"anchors": 0}, "anchors >= 1 .* got 0 and 150"),
        ({"steps": -1}, "steps >= 0 .* got 10 and -1"),
        ({"base": 48}, "base = 48 .* times a power of two.* 64 x 64"),
        ({"base": 0}, "base = 0"),
        ({"base": 128}, "base = 128"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    arguments = {"source": torch.zeros(1, 3, 64, 64), "driving": torch.zeros(1, 3, 64, 64), "base": 32} | change
    with pytest.raises(ValueError, match=words):
        register(arguments.pop("source"), arguments.pop("driving"), **arguments)


# The initial estimate


def two_motions(size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacements (N, 2) of two squares on a still background, one rotating, one sliding; and their labels (N,)."""
    points = identity_field(size, size).reshape(-1, 2)
    turning = ((points - torch.tensor([-0.5, -0.4])).abs() < 0.3).all(1)
    sliding = ((points - torch.tensor([0.5, 0.4])).abs() < 0.3).all(1)
    spin = (points - torch.tensor([-0.5, -0.4])) @ torch.tensor([[0.0, 0.3], [-0.3, 0.0]]) + torch.tensor([0.1, 0.0])
    displacement = spin * turning[:, None] + torch.tensor([-0.06, 0.09]) * sliding[:, None]
    return displacement, turning + 2 * sliding


def test_groups_are_the_motions():
    displacement, which = two_motions()
    points = identity_field(48, 48).reshape(-1, 2)
    moving = which > 0
    motions = group(points[moving], displacement[moving], 2)
    error = (motions.displacement(points[moving]) - displacement[moving][:, None]).norm(dim=-1)
    assert error.min(dim=1).values.max() < 0.02
    turning, sliding = motions.shift.norm(dim=1).argsort()
    assert torch.allclose(motions.shift[sliding], torch.tensor([-0.06, 0.09]), atol=1e-4) or torch.allclose(
        motions.shift[turning], torch.tensor([-0.06, 0.09]), atol=1e-4
    )


def test_the_first_guess_moves_what_moves():
    displacement, which = two_motions()
    flow = displacement.T.reshape(1, 2, 48, 48) * 24  # pixels
    everywhere = torch.ones(1, 1, 48, 48)
    motion = initial_motion(flow, everywhere, everywhere, 2, (48, 48))
    found = field_to_flow(motion.field(0.05), (48, 48))
    inner = 1 - F.max_pool2d(1 - (which > 0).float().reshape(1, 1, 48, 48), 3, 1, 1)
    outer = 1 - F.max_pool2d((which > 0).float().reshape(1, 1, 48, 48), 5, 1, 2)
    assert mean_over((found - flow).norm(dim=1, keepdim=True), inner) < 0.3
    assert mean_over(found.norm(dim=1, keepdim=True), outer) < 0.02


def test_pooled_flow_averages_only_what_is_reliable():
    flow = torch.full((1, 2, 8, 16), 4.0)
    reliable = torch.ones(1, 1, 8, 16)
    flow[..., ::2], reliable[..., ::2] = 99.0, 0.0
    pooled, share = pool_flow(flow, reliable, (4, 8))
    assert torch.allclose(pooled, torch.tensor([4 * 2 / 16, 4 * 2 / 8])[:, None, None].expand(2, 4, 8))
    assert torch.equal(share, torch.full((1, 1, 4, 8), 0.5))


def test_specks_are_dropped_and_near_pieces_kept():
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[5:15, 5:15] = mask[5:15, 18:22] = True  # 3 pixels apart: one component
    mask[35, 35] = True
    kept = large_pieces(mask)
    assert torch.equal(kept[:30], mask[:30])
    assert not kept[30:].any()
    assert not large_pieces(torch.zeros(5, 5, dtype=torch.bool)).any()
    assert large_pieces(torch.ones(5, 5, dtype=torch.bool)).all()


def test_changed_pixels_are_where_the_frames_differ():
    image = torch.rand(1, 3, 64, 64)
    other = image.clone()
    other[..., 30:34, 30:34] = 1 - other[..., 30:34, 30:34]
    changed = changed_pixels(image, other)
    assert changed[0, 0, 32, 32] == 1
    assert not changed[..., :20, :].any()
    assert not changed_pixels(image, image).any()


# The energy


def test_fields_and_flows():
    field = identity_field(4, 8)
    assert torch.equal(field_to_flow(field, (4, 8)), torch.zeros(1, 2, 4, 8))
    assert torch.equal(full_flow(field, (16, 32)), torch.zeros(1, 2, 16, 32))
    moved = field + torch.tensor([2 / 8, -2 / 4])  # a pixel of (4, 8) to the right, one up
    for size, pixels in (((4, 8), 1.0), ((16, 32), 4.0)):
        expected = torch.tensor([pixels, -pixels])[:, None, None]
        assert torch.allclose(field_to_flow(moved, size), expected.expand(1, 2, 4, 8))
        assert torch.allclose(full_flow(moved, size), expected.expand(1, 2, *size))


def test_upsampling_the_field_or_the_flow_is_one_thing_inside_the_frame():
    field = identity_field(6, 6) + 0.1 * torch.randn(1, 6, 6, 2)
    upsampled = field
    for _ in range(2):
        upsampled, _ = ops.upsample_motion(upsampled)
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(field_to_flow(upsampled, (24, 24))[inner], full_flow(field, (24, 24))[inner], atol=1e-5)


def test_pyramids_start_at_the_base():
    image = torch.rand(1, 3, 32, 48)
    assert [tuple(level.shape[-2:]) for level in pyramid(image, (8, 12))] == [(8, 12), (16, 24), (32, 48)]
    assert pyramid(image, (32, 48)) == [image]


def test_local_contrast_forgets_brightness():
    image = torch.rand(1, 3, 32, 32)
    assert torch.allclose(local_contrast(image), local_contrast(image + 0.5), atol=1e-6)
    assert local_contrast(torch.ones(1, 3, 9, 9)).abs().max() < 1e-6


def test_edges_untie_neighbours():
    image = torch.zeros(1, 3, 4, 4)
    image[..., 2:, :] = 1
    down, right = edge_weights(image)
    assert down[0, 0, 1].max() < 0.01
    assert (right == 1).all()
    assert (down[0, 0, 0] == 1).all()


def test_every_term_has_its_say(walk):
    problem = Problem.prepare(walk.source, walk.driving, BASE)
    motion = problem.first_guess(10)
    terms = problem.objective.terms(motion, 0.0)
    assert set(terms) == set(Weights.__dataclass_fields__)
    assert all(value.item() > 0 for value in terms.values())
    total = problem.objective(motion, 0.0)
    assert total.item() == pytest.approx(sum(getattr(Weights(), name) * value.item() for name, value in terms.items()))
    total.backward()
    for name, parameter in motion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_confidence_is_kept_by_the_features_and_lowered_by_the_photometric_term():
    """Eq. 4 alone is minimal for zero confidence; Eq. 6 opposes that wherever the motion explains detail."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    unlike = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    nothing, everything = torch.zeros(1, 2, 32, 32), torch.ones(1, 1, 32, 32)
    still = MixtureMotion(torch.zeros(1, 2), torch.zeros(1, 2), torch.eye(2)[None], torch.zeros(2, 16, 16))

    def slope(name: str, driving: torch.Tensor) -> float:
        still.zero_grad()
        Objective(image, driving, nothing, everything, (16, 16)).terms(still, 0.0)[name].backward()
        return still.confidence_logits.grad.sum().item()

    assert slope("features", image) < 0  # descent increases the confidence
    assert slope("features", unlike) > 0
    assert slope("photometric", unlike) > 0
