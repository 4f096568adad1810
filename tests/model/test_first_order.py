"""First-order-motion's checkpoints: everything that its settings allow loads, and matches its formulas."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from internet.model import FirstOrderConfig, FirstOrderMotion, INTERnet, INTERnetConfig, load_model, save_model
from internet.model.first_order import import_checkpoint
from internet.model.first_order.networks import GaussianDown
from internet.model.first_order.settings_file import config_of
from internet.training.checkpoint import warm_start
from tests.support.first_order import (
    COMMON,
    DETECTOR,
    GENERATOR,
    MOTION,
    VOX,
    Formulas,
    blur,
    checkpoint,
    frames,
    settings,
)

#: By name: changes of the small settings, and the frames' size.
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "as published": ({}, 64),
    "one Jacobian map": ({f"{DETECTOR}.single_jacobian_map": True}, 64),
    "no Jacobian": ({f"{COMMON}.estimate_jacobian": False}, 64),
    "no occlusion": ({f"{GENERATOR}.estimate_occlusion_map": False}, 64),
    "grey": ({f"{COMMON}.num_channels": 1}, 64),
    "scale 0.125": ({f"{DETECTOR}.scale_factor": 0.125, f"{MOTION}.scale_factor": 0.125}, 128),
    "scale 1": ({f"{DETECTOR}.scale_factor": 1, f"{MOTION}.scale_factor": 1}, 32),
    "scale left out": ({f"{DETECTOR}.scale_factor": None, f"{MOTION}.scale_factor": None}, 32),
    "scale 0.3": ({f"{DETECTOR}.scale_factor": 0.3, f"{MOTION}.scale_factor": 0.3}, 48),
    "two scales": ({f"{DETECTOR}.scale_factor": 0.5}, 48),
    "settings that weights do not show": (
        {f"{DETECTOR}.pad": 3, f"{DETECTOR}.temperature": 0.4, f"{MOTION}.kp_variance": 0.05},
        64,
    ),
    "other widths": (
        {
            f"{COMMON}.num_kp": 5,
            f"{DETECTOR}.block_expansion": 6,
            f"{DETECTOR}.num_blocks": 3,
            f"{MOTION}.block_expansion": 10,
            f"{MOTION}.num_blocks": 1,
            f"{GENERATOR}.block_expansion": 6,
            f"{GENERATOR}.num_down_blocks": 3,
            f"{GENERATOR}.num_bottleneck_blocks": 0,
        },
        64,
    ),
}


def as_double(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint in float64, with weights that require gradients."""
    return {
        entry: {
            name: value.double().requires_grad_("running" not in name and "down.weight" not in name)
            if value.is_floating_point()
            else value
            for name, value in checkpoint[entry].items()
        }
        for entry in ("kp_detector", "generator")
    }


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_values_and_gradients_are_those_of_the_formulas(variant, align_corners):
    torch.manual_seed(1)
    changes, size = VARIANTS[variant]
    written = settings(changes, size=size)
    saved = as_double(checkpoint(written))
    theirs = Formulas(written, saved, align_corners)
    model = import_checkpoint(saved, written, align_corners=align_corners).double()
    source, driving = frames(written, torch.float64)
    expected, found = theirs(source, driving), model(source, driving)
    assert (theirs.anchors(source)[0] - expected["kp"]).abs().max() > 1e-3  # something moves
    assert expected["frame"].std() > 0.01
    torch.testing.assert_close(found.driving_anchors.kp, expected["kp"], atol=1e-9, rtol=0)
    torch.testing.assert_close(found.motion.field, expected["field"], atol=1e-9, rtol=0)
    torch.testing.assert_close(found.frame, expected["frame"], atol=1e-9, rtol=0)
    if expected["occlusion"] is None:
        assert (found.motion.confidence == 1).all()
    else:
        torch.testing.assert_close(found.motion.confidence, expected["occlusion"], atol=1e-9, rtol=0)

    weight = torch.rand_like(found.frame)
    (found.frame * weight).sum().backward()
    (expected["frame"] * weight).sum().backward()
    names = [name for name in theirs.w if theirs.w[name].requires_grad]
    parameters = dict(model.named_parameters())
    assert len(names) == len(parameters)
    for name in names:
        ours = parameters[name.replace("generator.dense_motion_network", "dense_motion_network")]
        reference = theirs.w[name].grad
        assert reference is not None
        torch.testing.assert_close(ours.grad, reference, atol=1e-9 * max(1, float(reference.abs().max())), rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_single_precision(variant):
    torch.manual_seed(2)
    changes, size = VARIANTS[variant]
    written = settings(changes, size=size)
    saved = checkpoint(written)
    source, driving = frames(written)
    with torch.no_grad():
        expected = Formulas(written, saved)(source, driving)["frame"]
        found = import_checkpoint(saved, written)(source, driving).frame
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_weights_tell_needs_no_settings(variant):
    changes, size = VARIANTS[variant]
    written = settings(changes, size=size)
    saved = checkpoint(written)
    told, config = import_checkpoint(saved, None, size=size).config.to_dict(), config_of(written).to_dict()
    differ = {name for name in config if told[name] != config[name]} - {"anchor_widest", "motion_widest"}
    untold = {"padding", "temperature", "variance"} if variant.startswith("settings that") else set()
    assert differ - {"generator_widest"} == untold


def test_every_name_and_shape_of_vox_256():
    with torch.device("meta"):
        model = FirstOrderMotion(config_of(VOX))
    assert config_of(VOX) == FirstOrderConfig()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert len(shapes) == 271
    assert sum(math.prod(parameter.shape) for parameter in model.parameters()) == 59_790_759
    expected = {
        "kp_detector.down.weight": (3, 1, 13, 13),
        "kp_detector.predictor.encoder.down_blocks.4.conv.weight": (1024, 512, 3, 3),
        "kp_detector.predictor.decoder.up_blocks.0.norm.running_mean": (512,),
        "kp_detector.jacobian.weight": (40, 35, 7, 7),
        "dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight": (128, 44, 3, 3),
        "dense_motion_network.hourglass.decoder.up_blocks.4.conv.weight": (64, 256, 3, 3),
        "dense_motion_network.mask.weight": (11, 108, 7, 7),
        "dense_motion_network.occlusion.bias": (1,),
        "generator.first.conv.weight": (64, 3, 7, 7),
        "generator.down_blocks.1.norm.weight": (256,),
        "generator.bottleneck.r5.conv2.weight": (256, 256, 3, 3),
        "generator.bottleneck.r0.norm1.num_batches_tracked": (),
        "generator.up_blocks.0.conv.weight": (128, 256, 3, 3),
        "generator.final.weight": (3, 64, 7, 7),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    saved = {"kp_detector": {}, "generator": {}}
    for name, shape in shapes.items():
        entry, _, rest = name.partition(".")
        value = blur(3, 0.25) if rest == "down.weight" else torch.zeros(()).expand(shape)
        saved["kp_detector" if entry == "kp_detector" else "generator"][name if entry.startswith("dense") else rest] = (
            value
        )
    told = import_checkpoint(saved, None).config
    assert told == FirstOrderConfig(generator_widest=256)  # the limit of 512 is never reached


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125, 0.3])
def test_the_blur_is_the_checkpoint_s(scale):
    torch.testing.assert_close(GaussianDown(3, scale).weight, blur(3, scale))


def test_relative_motion_is_that_of_the_formulas(small):
    written, saved = small
    model, theirs = import_checkpoint(saved, written), Formulas(written, saved)
    (source, first), (second, _) = frames(written), frames(written)
    with torch.no_grad():
        (kp_s, jac_s), (kp_0, jac_0), (kp_d, jac_d) = map(theirs.anchors, (source, first, second))
        kp, jac = kp_s + (kp_d - kp_0), jac_d @ torch.inverse(jac_0) @ jac_s
        expected = theirs.painted(source, *theirs.motion(source, [kp_s, kp], [jac_s, jac]))
    *_, found = model.animate(source, [first, second], relative=True, adapt_scale=False)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_wrapped_weights_are_the_same_weights(small):
    written, saved = small
    plain = import_checkpoint(saved, written).state_dict()
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        wrapped = {
            entry: {prefix + name: value for name, value in saved[entry].items()}
            for entry in ("kp_detector", "generator")
        }
        found = import_checkpoint(wrapped, written).state_dict()
        assert found.keys() == plain.keys()
        assert all(torch.equal(found[name], plain[name]) for name in plain)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_an_imported_model_comes_back_as_it_went(small, suffix, tmp_path):
    written, saved = small
    model = import_checkpoint(saved, written, align_corners=True)
    save_model(tmp_path / f"model{suffix}", model)
    loaded = load_model(tmp_path / f"model{suffix}")
    assert isinstance(loaded, FirstOrderMotion)
    assert loaded.config == model.config
    assert loaded.config.align_corners
    source, driving = frames(written)
    with torch.no_grad():
        assert torch.equal(loaded(source, driving).frame, model(source, driving).frame)


def test_stage_one_alone_moves_the_source(small):
    written, saved = small
    model = import_checkpoint(saved, written)
    source, driving = frames(written)
    with torch.no_grad():
        result = model.move(source, driving)
        field, occlusion = model(source, driving).motion[:2]
    theirs = F.grid_sample(
        source,
        F.interpolate(field.permute(0, 3, 1, 2), size=source.shape[2:], mode="bilinear").permute(0, 2, 3, 1),
        align_corners=False,
    )
    expected = theirs * F.interpolate(occlusion, size=source.shape[2:], mode="bilinear")
    torch.testing.assert_close(result.frame, expected, atol=1e-5, rtol=0)


def test_stage_one_of_a_published_model_is_taken_by_training(tmp_path):
    torch.manual_seed(0)
    model = FirstOrderMotion(FirstOrderConfig(anchors=4, jacobian_maps=4, generator_width=8, blocks=1))
    save_model(tmp_path / "vox.safetensors", model)
    fresh = INTERnet(INTERnetConfig.preset("tiny", stage_one="first-order", anchors=4))
    generator = {name: value.clone() for name, value in fresh.generator.state_dict().items()}
    warm_start(fresh, str(tmp_path / "vox.safetensors"))
    assert all(torch.equal(value, generator[name]) for name, value in fresh.generator.state_dict().items())
    for part in ("kp_detector", "dense_motion_network"):
        theirs = getattr(model, part).state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in getattr(fresh, part).state_dict().items())
    with pytest.raises(ValueError, match="stage_one = 'first-order'"):
        warm_start(INTERnet(INTERnetConfig.preset("tiny")), str(tmp_path / "vox.safetensors"))
    with torch.device("meta"):
        other = INTERnet(INTERnetConfig.preset("tiny", stage_one="first-order", anchors=15))
    with pytest.raises(ValueError, match=r"kp_detector\.kp\.weight is \(4, 35, 7, 7\), expected \(15, 35, 7, 7\)"):
        warm_start(other, str(tmp_path / "vox.safetensors"))


def test_another_stage_one_is_not_taken(small, tmp_path):
    written, saved = small
    save_model(tmp_path / "small.pt", import_checkpoint(saved, written, align_corners=True))
    fresh = INTERnet(INTERnetConfig.preset("tiny", stage_one="first-order", anchors=3))
    with pytest.raises(ValueError, match=r"stage I is not that of an INTERnet .*anchor_width 4, not 32.*align_corners"):
        warm_start(fresh, str(tmp_path / "small.pt"))


def test_the_model_compiles_without_a_break(small, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    written, saved = small
    model = import_checkpoint(copy.deepcopy(saved), written)
    source, driving = frames(written)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(source, driving).frame, model(source, driving).frame, atol=1e-5, rtol=0)
