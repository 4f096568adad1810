"""The model: shapes, dtypes, layouts, compilation, streaming, and the same function on every backend."""

import contextlib
import gc
import itertools
import math
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from internet import cli, ops
from internet.geometry import identity_field
from internet.model import PRESETS, INTERnet, INTERnetConfig, Result, make_discriminator
from internet.model.anchors import Anchors
from internet.model.blocks import GroupNorm
from internet.model.cost import activation_bytes, model_cost, multiply_adds, parameters
from internet.model.generator import EPSILON, Generator
from internet.model.motion import Motion
from internet.model.relative import RelativeMotion, hull_area, relative_size
from tests.support.compare import BACKENDS, DEVICES

TINY = INTERnetConfig.preset("tiny")


def make(config: INTERnetConfig = TINY) -> INTERnet:
    """A model with Jacobians that differ from the identity and separate anchors, as in a trained one."""
    model = INTERnet(config).eval()
    with torch.no_grad():
        model.kp_detector.kp.weight.normal_(std=0.1)
        model.kp_detector.jacobian.weight.normal_(std=0.02)
        model.dense_motion_network.mask.weight.normal_(std=0.1)
    return model


def frames(count: int, size: tuple[int, int] = (64, 96)) -> list[Tensor]:
    return list(torch.rand(count, 1, 3, *size).unbind())


def tensors(result: Result) -> list[Tensor]:
    """The frame, and those parts of its motion that exist."""
    return [value for value in (result.frame, *result.motion) if value is not None]


def largest_difference(one: Result, other: Result) -> float:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return max((a.double().cpu() - b.double().cpu()).abs().max().item() for a, b in pairs)


# Inputs and outputs


@pytest.mark.parametrize("scales", ["multi", "single"])
def test_shapes(scales):
    model = make(INTERnetConfig.preset("tiny", scales=scales))
    source, driving = torch.rand(2, 2, 3, 64, 96)
    features = model.generator.encode(source)
    shapes = [(2, 64, 16, 24), (2, 32, 32, 48), (2, 16, 64, 96)]
    assert [level.shape for level in features] == (shapes if scales == "multi" else shapes[:1])
    result = model(source, driving)
    assert result.frame.shape == source.shape
    assert 0 < result.frame.min() < result.frame.max() < 1
    assert result.motion.field.shape == (2, 16, 24, 2)
    assert result.motion.confidence.shape == (2, 1, 16, 24)
    assert result.motion.logits.shape == (2, 11, 16, 24)
    for anchors in (result.source_anchors, result.driving_anchors):
        assert anchors.kp.shape == (2, 10, 2)
        assert anchors.jac.shape == (2, 10, 2, 2)
    judgement = make_discriminator(INTERnetConfig.preset("tiny", discriminators=2))(result.frame)
    assert [len(scale) for scale in judgement] == [5, 5]
    assert judgement[0][-1].shape[:2] == (2, 1)
    assert judgement[1][0].shape[2] == judgement[0][0].shape[2] // 2 + 1


def test_a_new_model_has_identity_jacobians_and_trusts_its_motion():
    result = INTERnet(TINY)(*frames(2))
    assert torch.allclose(result.driving_anchors.jac, torch.eye(2).expand(1, 10, 2, 2), atol=1e-6)
    assert 0.7 < result.motion.confidence.mean() < 0.97


def test_the_frame_does_not_depend_on_the_rest_of_the_batch():
    model = make().train()
    source, driving = torch.rand(2, 3, 3, 64, 64)
    together = model(source, driving).frame
    alone = torch.cat([model(s[None], d[None]).frame for s, d in zip(source, driving, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_confidence_gates_every_level():
    """Eq. 6: with zero confidence nothing of the source remains; the frame is the same for any source."""
    model = make()
    motion = model(*frames(2)).motion
    blind = motion._replace(confidence=torch.zeros_like(motion.confidence))
    one, other = (model.generator(model.generator.encode(source), blind) for source in frames(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(64, 100), (60, 64)])
def test_a_size_that_does_not_fit_is_named(size):
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\), H and W multiples of 32"):
        INTERnet(TINY)(*frames(2, size))


# The same function, however it is computed


@pytest.mark.parametrize("stage_one", ["internet", "first-order"])
def test_the_same_frames_on_every_backend(stage_one):
    model = make(INTERnetConfig.preset("tiny", stage_one=stage_one, widest=64)).double()
    source, driving = (frame.double() for frame in frames(2, (128, 128)))
    with torch.no_grad(), ops.backend("reference"):
        expected = model(source, driving)
    assert expected.motion.field.std() > 0.1
    for name in BACKENDS:
        device = DEVICES[name]
        with torch.no_grad(), ops.backend(name):
            result = model.to(device)(source.to(device), driving.to(device))
            assert largest_difference(result, expected) < 1e-9, name
    with torch.no_grad():
        single = model.float().cpu()(source.float(), driving.float())
    assert largest_difference(single, expected) < 1e-3


def test_channels_last():
    model = make()
    source, driving = frames(2)
    expected = model(source, driving)
    like = {"memory_format": torch.channels_last}
    result = model.to(**like)(source.to(**like), driving.to(**like))  # type: ignore[call-overload]
    assert largest_difference(result, expected) < 1e-3
    assert result.frame.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_autocast_keeps_coordinates_and_frames_in_float32():
    model = make()
    source, driving = frames(2)
    expected = model(source, driving)
    with torch.autocast("cpu", torch.bfloat16):
        result = model(source, driving)
        assert model.generator.encode(source)[0].dtype == torch.bfloat16
    for value in (*tensors(result), *result.driving_anchors):
        assert value.dtype == torch.float32
    assert (result.driving_anchors.kp - expected.driving_anchors.kp).abs().mean() < 0.01
    assert (result.frame - expected.frame).abs().mean() < 0.02


def test_group_norm_stays_in_the_dtype_of_its_input():
    x = torch.randn(2, 32, 8, 8)
    norm = GroupNorm(32)
    with torch.autocast("cpu", torch.bfloat16):
        low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), norm(x), atol=0.05, rtol=0.05)
    assert (norm.num_groups, GroupNorm(8).num_groups) == (2, 1)


def test_compiles_whole():
    model = make(INTERnetConfig.preset("tiny", depth=2, blocks=(1, 1, 1)))  # tracing takes as long as there are layers
    source, driving = frames(2)
    expected = model(source, driving)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(source, driving)
    assert largest_difference(compiled, expected) < 1e-4


# Streaming


def test_animate_gives_the_frames_of_forward():
    model = make()
    source, *driving = frames(4)
    streamed = list(model.animate(source, driving))
    assert len(streamed) == 3
    for frame, pose in zip(streamed, driving, strict=True):
        assert torch.equal(frame, model(source, pose).frame)
        assert not frame.requires_grad


def test_animate_looks_at_the_source_once_and_keeps_no_frame():
    model = make()
    source = frames(1)[0]
    calls = {"encode": 0, "anchors": 0}
    model.generator.first.register_forward_hook(lambda *_: calls.update(encode=calls["encode"] + 1))
    model.kp_detector.register_forward_hook(lambda *_: calls.update(anchors=calls["anchors"] + 1))
    alive: list[weakref.ref[Tensor]] = []

    def driving() -> Iterator[Tensor]:
        for _ in range(5):
            frame = torch.rand_like(source)
            alive.append(weakref.ref(frame))
            yield frame

    for produced, frame in enumerate(model.animate(source, driving()), start=1):
        alive.append(weakref.ref(frame))
        del frame
        gc.collect()
        assert len(alive) == 2 * produced  # one frame in, one frame out: nothing is read ahead
        assert sum(reference() is not None for reference in alive) <= 2
    assert calls == {"encode": 1, "anchors": 6}


def test_animate_refuses_what_it_cannot_do():
    model = make()
    source, driving = frames(2)
    with pytest.raises(ValueError, match=r"a driving frame is \(1, 3, 32, 64\), the source is \(1, 3, 64, 96\)"):
        list(model.animate(source, [driving[..., :32, :64]]))
    with pytest.raises(ValueError, match=r"eval\(\)"):
        list(model.train().animate(source, [driving]))


def test_relative_motion_starts_at_the_source_and_moves_as_the_driving_does():
    def anchors() -> Anchors:
        return Anchors(torch.rand(2, 10, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 10, 2, 2))

    source, first, now = anchors(), anchors(), anchors()
    transfer = RelativeMotion(source, first, adapt_scale=False)
    torch.testing.assert_close(transfer(first), source, atol=1e-5, rtol=1e-4)
    moved = transfer(now)
    torch.testing.assert_close(moved.kp, source.kp + now.kp - first.kp)
    torch.testing.assert_close(moved.jac, now.jac @ torch.inverse(first.jac) @ source.jac, atol=1e-4, rtol=1e-3)
    doubled = RelativeMotion(source._replace(kp=2 * first.kp), first)
    torch.testing.assert_close(doubled(now).kp, 2 * now.kp)


def test_relative_animation_of_the_source_itself_is_still():
    model = make()
    source, other = frames(2)
    still, moved = model.animate(source, [source, other], relative=True)
    torch.testing.assert_close(still, model(source, source).frame, atol=1e-4, rtol=1e-3)
    assert (moved - still).abs().max() > 1e-4
    one, two = (list(model.animate(source, [other, other], relative=True, adapt_scale=flag))[1] for flag in (0, 1))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)  # no movement to scale


def test_hull_area():
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
    inside = [(1.0, 1.0), (0.5, 1.5), (1.0, 0.0)]
    for points in itertools.islice(itertools.permutations([*square, *inside]), 0, 5040, 97):
        assert hull_area(list(points)) == 4.0
    assert hull_area([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) == 0.0
    points = torch.randn(2, 10, 2)
    turned = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    torch.testing.assert_close(relative_size(3 * points @ turned, points), torch.full((2, 1, 1), 3.0))
    assert relative_size(points, torch.zeros_like(points)).isfinite().all()


# Configuration and cost


def test_presets():
    sizes = {name: (c.size, c.base) for name in PRESETS for c in [INTERnetConfig.preset(name)]}
    assert sizes == {"internet-512": (512, 128), "internet-256": (256, 64), "figures": (128, 64), "tiny": (128, 32)}
    for name in PRESETS:
        config = INTERnetConfig.preset(name)
        assert (config.anchors, len(config.channels)) == ((12, 2) if name == "figures" else (10, 3))
        assert INTERnetConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": 3}, "there is no setting 'colour'; here there are size, anchors"),
        ({"scales": "both"}, "scales is 'both', expected one of multi, single"),
        ({"stage_one": "second"}, "stage_one is 'second', expected one of internet, first-order"),
        ({"threshold": 0.1}, "threshold is 0.1, expected at least 0 and below 1/11"),
        ({"blocks": (1, 2)}, r"channels \(64, 32, 16\) and blocks \(1, 2\) must be of one length"),
        ({"size": 130}, "size is 130, expected a multiple of 32"),
        ({"stage_one": "first-order", "channels": (32, 16), "blocks": (1, 1)}, "three levels"),
        ({"scene": True}, "scene is True, expected False without blend"),
        ({"scene": True, "blend": True, "background": "affine"}, "with a background that moves"),
    ],
)
def test_a_wrong_field_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        INTERnetConfig.preset("tiny", **changes)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"preset is 'huge', expected one of internet-512, .*tiny"):
        INTERnetConfig.preset("huge")


@pytest.mark.parametrize("backend", [None, "reference"])
def test_a_model_is_measured_without_compiled_operators_too(backend):
    with ops.backend(backend) if backend else contextlib.nullcontext():
        costs = model_cost(INTERnetConfig.preset("tiny", size=64))
    assert costs["multiply-adds"]["each driving frame"] > 1e8


def test_cost_is_counted():
    convolution = torch.nn.Conv2d(3, 8, 3, padding=1, device="meta")
    image = torch.empty(2, 3, 16, 16, device="meta")
    assert parameters(convolution) == 3 * 8 * 9 + 8
    assert multiply_adds(lambda: convolution(image)) == 2 * 16 * 16 * 3 * 8 * 9
    squares = torch.nn.Sequential(convolution, torch.nn.Sigmoid(), torch.nn.ReLU())
    kept = 4 * 2 * 16 * 16 * (3 + 8 + 8)  # the convolution's input, the sigmoid's output, ReLU's
    assert activation_bytes(squares, lambda: squares(image)) == kept


def test_cost_of_a_preset():
    cost = model_cost(INTERnetConfig.preset("internet-512"))
    parts = cost["parameters"]
    assert parts["model"] == parts["- anchors"] + parts["- motion"] + parts["- generator"]
    work = cost["multiply-adds"]
    assert work["each driving frame"] == work["- anchors"] + work["- motion"] + work["- generator"]
    assert work["each driving frame"] > 10 * work["each source"]
    moving = model_cost(INTERnetConfig.preset("internet-512", background="affine"))
    for counted in ("parameters", "multiply-adds"):
        whole = "model" if counted == "parameters" else "each driving frame"
        expected = cost[counted][whole] + moving[counted]["- background"]
        assert moving[counted][whole] == pytest.approx(expected, rel=1e-5)  # where F begins, some matrix products
    quarter = model_cost(INTERnetConfig.preset("internet-256"))
    assert quarter["multiply-adds"]["- generator"] * 4 == work["- generator"]
    assert quarter["activation bytes"]["model"] * 4 == pytest.approx(cost["activation bytes"]["model"], rel=0.01)


def test_info_tells_the_cost_of_a_preset(capsys):
    assert cli.main(["info", "--preset", "tiny"]) == 0
    said = capsys.readouterr().out
    for words in ("parameters:", "model               1.23 M", "multiply-adds:", "each driving frame", "MiB"):
        assert words in said


# Blending


def test_a_blending_generator_shows_the_moved_source_where_m_is_high_and_paints_where_it_is_low():
    generator = Generator((8, 4), (1, 1), blend=True)
    source, m = torch.rand(2, 3, 16, 16), torch.full((2, 1, 8, 8), 0.8)
    motion = Motion(0.7 * identity_field(8, 8).repeat(2, 1, 1, 1), m, torch.zeros(2, 1, 8, 8))
    moved = ops.confidence_warp(source, motion.field, padding_mode="border")
    painted = torch.tensor([0.5, 1.0, 0.0])[:, None, None]
    with torch.no_grad():
        generator.last.weight.zero_()
        generator.last.bias.copy_(torch.tensor([0.0, 100.0, -100.0, 0.0]))
    features = generator.encode(source)
    torch.testing.assert_close(generator(features, motion), 0.8 * moved + 0.2 * painted)
    for correction in (-1.0, 1.0):  # of the odds, 4 to 1, by a factor of e^3 at most
        with torch.no_grad():
            generator.last.bias[3] = 100 * correction
        share = torch.tensor(4.0 * math.exp(3 * correction))
        expected = (share * moved + painted) / (share + 1)
        torch.testing.assert_close(generator(features, motion), expected)
    for certain in (0.0, 1.0):
        motion.confidence.fill_(certain)
        confident = motion._replace(confidence=motion.confidence.clone().requires_grad_())
        generator(generator.encode(source), confident).sum().backward()
        assert confident.confidence.grad.isfinite().all()


def test_uncovered_ground_is_the_scene_and_people_are_painted():
    generator = Generator((8, 4), (1, 1), blend=True, scene=32)
    generator.scene = torch.rand(1, 3, 32, 32)
    source, hidden = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 8, 8)
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0, :, :4], logits[:, 1, :, 4:] = 100, 100  # ground on the left, a person on the right
    motion, features = Motion(identity_field(8, 8), hidden, logits), generator.encode(source)
    with torch.no_grad():
        shown = generator(features, motion)
        generator.scene = None
        painted = generator(features, motion)
        generator.scene = torch.zeros(1, 3, 32, 32)
        elsewhere = generator(features, motion)
    torch.testing.assert_close(shown[..., 9:], painted[..., 9:])
    assert (elsewhere[..., :7] <= EPSILON + 0.02).all()  # all that is left is what M keeps of the source
    assert not torch.equal(shown[..., :7], painted[..., :7])


def test_the_field_that_moves_the_source_has_an_edge_of_a_pixel():
    """The left half moves by 0.5 with the first anchor, the right half is still; upsampled positions lie between."""
    config = INTERnetConfig.preset("figures", size=64)
    estimator = INTERnet(config).dense_motion_network
    width = config.size // config.factor
    logits = torch.full((1, config.anchors + 1, width, width), -8.0)
    logits[:, 1, :, : width // 2], logits[:, 0, :, width // 2 :] = 8.0, 8.0
    estimator._heads = lambda _: (logits, torch.ones(1, 1, width, width))
    still = Anchors(torch.zeros(1, config.anchors, 2), torch.eye(2).expand(1, config.anchors, 2, 2))
    moved = still._replace(kp=still.kp + torch.tensor([0.5, 0.0]))
    field = estimator(torch.rand(1, 3, 64, 64), moved, still).fine_field
    shift = (field - identity_field(64, 64))[0, :, :, 0]
    torch.testing.assert_close(shift[:, :31], torch.full((64, 31), 0.5))
    torch.testing.assert_close(shift[:, 33:], torch.zeros(64, 31))


@pytest.mark.parametrize("scales", ["multi", "single"])
def test_a_blending_model_streams_what_it_computes_at_once(scales):
    model = INTERnet(INTERnetConfig.preset("figures", size=64, scales=scales, background="still")).eval()
    source, driving = torch.rand(1, 3, 64, 64), torch.rand(2, 3, 64, 64)
    whole = model(source.repeat(2, 1, 1, 1), driving).frame
    streamed = torch.cat(list(model.animate(source, [driving[:1], driving[1:]])))
    torch.testing.assert_close(streamed, whole, atol=1e-5, rtol=1e-4)
