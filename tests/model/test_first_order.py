"""First-order-motion's checkpoints: all that its settings allow loads, and computes what its formulas do."""

import copy
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from internet import cli
from internet.data.image import to_array
from internet.data.video import iter_frames, read_frames
from internet.inference import animate_video
from internet.model import FirstOrderConfig, FirstOrderMotion, INTERnet, INTERnetConfig, load_model, save_model
from internet.model.first_order import import_checkpoint
from internet.model.first_order.networks import GaussianDown
from internet.model.first_order.settings_file import config_of
from internet.model.weights import read_weights
from internet.training.checkpoint import warm_start
from tests.support.clips import write_image, write_video
from tests.support.first_order import (
    COMMON,
    DETECTOR,
    GENERATOR,
    MOTION,
    VOX,
    Formulas,
    blur,
    checkpoint,
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
    "settings that weights do not tell": (
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


def frames(settings: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A source and a driving frame, smooth, wider than high where that is possible."""
    size, channels = settings["dataset_params"]["frame_shape"][0], settings["model_params"][COMMON]["num_channels"]
    coarse = torch.rand(2, 1, channels, 12, 12, dtype=dtype)
    return tuple(F.interpolate(each, size=(size, 2 * size), mode="bilinear") for each in coarse)


def as_double(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint in float64, its weights leaves that ask for gradients."""
    return {
        entry: {
            name: value.double().requires_grad_("running" not in name and "down.weight" not in name)
            if value.is_floating_point()
            else value
            for name, value in checkpoint[entry].items()
        }
        for entry in ("kp_detector", "generator")
    }


@pytest.fixture(scope="module")
def small() -> tuple[dict[str, Any], dict[str, Any]]:
    torch.manual_seed(0)
    return settings(), checkpoint(settings())


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


# What is not one, or does not fit


def broken(saved: dict[str, Any]) -> dict[str, Any]:
    return {entry: dict(saved[entry]) for entry in ("kp_detector", "generator")}


def test_what_does_not_fit_is_named(small):
    written, saved = small
    bad = broken(saved)
    del bad["kp_detector"]["jacobian.weight"]
    bad["kp_detector"]["edges.weight"] = torch.zeros(1)
    bad["generator"]["dense_motion_network.mask.bias"] = torch.zeros(7)
    bad["generator"]["final.bias"] = "0.5"
    with pytest.raises(ValueError, match=r"the weights of the checkpoint do not fit") as caught:
        import_checkpoint(bad, written)
    said = str(caught.value)
    assert "missing: kp_detector.jacobian.weight" in said
    assert "unknown: kp_detector.edges.weight" in said
    assert "dense_motion_network.mask.bias is (7,), expected (4,)" in said
    assert "generator.final.bias is a str, expected a tensor" in said
    assert len(said.splitlines()) == 5


def test_what_is_not_a_checkpoint_of_it(small):
    written, saved = small
    bad = broken(saved)
    del bad["generator"]["first.conv.weight"]
    cases = {
        "no entry 'kp_detector'; it has generator, region_predictor": {"generator": {}, "region_predictor": {}},
        "no entry 'kp_detector'; it has none": {},
        "the entry 'generator' of the checkpoint is a list, expected weights": saved | {"generator": [1]},
        r"no convolution 'kp_detector\.kp\.weight': first-order-motion did not write it": saved | {"kp_detector": {}},
        r"no convolution 'generator\.first\.conv\.weight'": bad,
    }
    for words, content in cases.items():
        with pytest.raises(ValueError, match=words):
            import_checkpoint(content, written)
    for kernel in (torch.ones(3, 1, 13, 13), torch.zeros(3, 1, 13, 13), torch.zeros(3, 1, 13, 13).int(), torch.ones(3)):
        bad = broken(saved)
        bad["kp_detector"]["down.weight"] = kernel
        with pytest.raises(ValueError, match=r"the kernel 'down\.weight' is"):
            import_checkpoint(bad, written)


def test_settings_of_other_weights_are_named(small):
    _, saved = small
    changes = {
        f"{COMMON}.num_kp": 4,
        f"{DETECTOR}.max_features": 8,
        f"{DETECTOR}.scale_factor": 0.26,
        f"{MOTION}.num_blocks": 1,
        f"{GENERATOR}.estimate_occlusion_map": False,
    }
    with pytest.raises(ValueError, match="the settings are not those that the weights were trained with") as caught:
        import_checkpoint(saved, settings(changes, size=96))
    said = str(caught.value)
    assert "model_params.common_params.num_kp is 4, of the weights 3" in said
    assert "model_params.kp_detector_params.max_features is 8, of the weights 12" in said
    assert "model_params.kp_detector_params.scale_factor is 0.26, of the weights 0.25" in said
    assert "model_params.generator_params.dense_motion_params.num_blocks is 1, of the weights 2" in said
    assert "model_params.generator_params.estimate_occlusion_map is False, of the weights True" in said
    with pytest.raises(ValueError, match=r"number of Jacobian maps .*single_jacobian_map\) is 1, of the weights 3"):
        import_checkpoint(saved, settings({f"{DETECTOR}.single_jacobian_map": True}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{DETECTOR}.temperature": None}, r"there is no setting model_params\.kp_detector_params\.temperature"),
        ({f"{DETECTOR}.temperature": 0}, r"kp_detector_params\.temperature is 0.*, expected at least 1e-06"),
        ({f"{DETECTOR}.pad": 4}, r"kp_detector_params\.pad is 4, expected 0 to 3"),
        ({f"{MOTION}.kp_variance": "wide"}, r"dense_motion_params\.kp_variance is 'wide', expected a finite number"),
        ({f"{MOTION}.scale_factor": 2}, r"dense_motion_params\.scale_factor is 2.0, expected 0.015625 to 1"),
        ({f"{COMMON}.estimate_jacobian": "yes"}, r"common_params\.estimate_jacobian is 'yes', expected true or false"),
        (
            {f"{DETECTOR}.clip_variance": 1e-3},
            r"kp_detector_params has the unknown clip_variance, expected block_expansion",
        ),
        ({GENERATOR: None}, r"there is no section model_params\.generator_params"),
        ({f"{GENERATOR}.dense_motion_params": None}, r"there is no section .*generator_params\.dense_motion_params"),
    ],
)
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        config_of(settings_with(changes))


def settings_with(changes: dict[str, Any]) -> dict[str, Any]:
    """The small settings with whole sections taken out as well."""
    written = settings({name: value for name, value in changes.items() if value is not None or "dense" not in name})
    if f"{GENERATOR}.dense_motion_params" in changes:
        del written["model_params"][GENERATOR]["dense_motion_params"]
    return written


def test_the_size_of_frames():
    assert config_of(settings(size=128)).size == 128
    assert config_of(settings(size=128), size=192).size == 192
    written = settings()
    del written["dataset_params"]
    assert config_of(written).size == 256
    for shape, words in {
        (64, 128, 3): "frames are square here",
        ("a", 2): "expected height, width",
        (64,): "expected height",
        (72, 72, 3): "frame_shape is 72, expected a multiple of 16",
        (16, 16, 3): "frame_shape is 16, expected at least 28",
    }.items():
        written["dataset_params"] = {"frame_shape": list(shape)}
        with pytest.raises(ValueError, match=words):
            config_of(written)


def test_frames_that_a_model_cannot_take(small):
    written, saved = small
    model = import_checkpoint(saved, written)
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\), H and W multiples of 16"):
        model(*torch.rand(2, 1, 1, 64, 64))
    with pytest.raises(ValueError, match="expected sides of at least 28"):
        model(*torch.rand(2, 1, 3, 64, 16))


# Files


@pytest.fixture
def files(small, tmp_path: Path) -> Path:
    written, saved = small
    torch.save(saved, tmp_path / "vox.pth.tar")
    (tmp_path / "vox.yaml").write_text(yaml.safe_dump(written))
    return tmp_path


def imported(folder: Path, *more: str, name: str = "vox.pth.tar", out: str = "out.safetensors") -> int:
    return cli.main(["import-fomm", str(folder / name), "--out", str(folder / out), *more])


def test_the_command_writes_what_loads(files, small, capsys):
    assert imported(files, "--config", str(files / "vox.yaml")) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"out\.safetensors: first-order-motion, .* 3 anchors, a Jacobian map each, frames 64 × 64 × 3", said
    )
    assert "torch before 1.6" not in said
    model = load_model(files / "out.safetensors")
    assert model.config == config_of(small[0])
    assert imported(files, "--config", str(files / "vox.yaml")) == 2
    assert "exists; choose another name or pass --overwrite" in capsys.readouterr().err
    assert cli.main(["info", "--checkpoint", str(files / "out.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "first-order-motion" in said
    assert "vox.pth.tar" in said
    assert imported(files, "--config", str(files / "vox.yaml"), "--trained-with-torch-1.0", out="2019.pt") == 0
    assert load_model(files / "2019.pt").config.align_corners


def test_without_settings_nothing_is_guessed(files, capsys):
    assert imported(files) == 2
    said = capsys.readouterr().err
    assert "--config: the weights do not tell size, temperature, padding, variance" in said
    assert not (files / "out.safetensors").exists()
    assert imported(files, "--published-settings", "--size", "64") == 0
    assert "assumed, for the weights do not tell it: size 64, temperature 0.1" in capsys.readouterr().out
    assert load_model(files / "out.safetensors").config.size == 64


def test_files_of_old_torch_are_told_from_new(files, small, capsys):
    torch.save(small[1], files / "old.pth.tar", _use_new_zipfile_serialization=False)
    config = ("--config", str(files / "vox.yaml"))
    assert imported(files, *config, name="old.pth.tar") == 0
    assert "--trained-with-torch-1.0 samples as it was trained" in capsys.readouterr().out
    assert imported(files, *config, "--trained-with-torch-1.0", "--overwrite", name="old.pth.tar") == 0
    assert "--trained" not in capsys.readouterr().out


def test_an_imported_model_animates(files, small, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [cv2_smooth(rng) for _ in range(4)]
    write_image(tmp_path / "source.png", pictures[0])
    write_video(tmp_path / "driving.mp4", pictures[1:])
    assert imported(files, "--config", str(files / "vox.yaml")) == 0
    names = {
        "--source": "source.png",
        "--driving": "driving.mp4",
        "--checkpoint": "out.safetensors",
        "--out": "out.mp4",
    }
    words = [word for name, file in names.items() for word in (name, str(tmp_path / file))]
    assert cli.main(["animate", "--device", "cpu", "--report", "--relative", *words]) == 0
    assert len(list(iter_frames(tmp_path / "out.mp4"))) == 3
    assert (tmp_path / "out.html").exists()


def cv2_smooth(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture, uint8 (64, 80, 3)."""
    coarse = torch.from_numpy(rng.random((1, 3, 6, 8)))
    return to_array(F.interpolate(coarse, size=(64, 80), mode="bilinear"))


@pytest.mark.parametrize("channels", [1, 2])
def test_pictures_for_a_model_of_other_channels(channels, tmp_path):
    written = settings({f"{COMMON}.num_channels": channels})
    model = import_checkpoint(checkpoint(written), written)
    picture = cv2_smooth(np.random.default_rng(1))
    write_video(tmp_path / "driving.mp4", [picture, picture[::-1]])
    out = tmp_path / "out.mp4"
    if channels == 2:
        with pytest.raises(ValueError, match="the model takes frames of 2 channels, a picture has 3 or, as luma, 1"):
            animate_video(model, picture, tmp_path / "driving.mp4", out)
        assert not out.exists()
        return
    results: list[Tensor] = []
    animate_video(model, picture, tmp_path / "driving.mp4", out, on_result=lambda *all: results.append(all[3].frame))
    assert [tuple(frame.shape) for frame in results] == [(1, 1, 64, 64)] * 2
    shown = read_frames(out, [1])[0].astype(int)
    assert np.abs(shown - to_array(results[1])).mean() < 8
    assert np.abs(shown - shown.mean(axis=2, keepdims=True)).mean() < 3  # grey


# Training from it


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


# Reading without running code


class Anything:
    """An object that only unpickling makes."""


class Runs:
    """An object whose unpickling runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_is_run(small, tmp_path, zipped, capsys):
    for extra, named in ((Anything(), "Anything"), (Runs(tmp_path / "ran"), "mkdir")):
        path = tmp_path / "code.pth"
        torch.save(small[1] | {"extra": extra}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=rf"code\.pth' holds more than tensors.*{named}.* would run code"):
            read_weights(path)
        assert imported(tmp_path, "--published-settings", name="code.pth") == 2
        assert "CHECKPOINT:" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_are_read(small, tmp_path, zipped):
    numbers = [np.float64(0.1), np.float32(-2.5), np.float16(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    numbers += [np.dtype(">f4").type(3.5), np.complex64(1 + 2j)]
    torch.save(small[1] | {"epoch": numbers}, tmp_path / "vox.pth", _use_new_zipfile_serialization=zipped)
    read = read_weights(tmp_path / "vox.pth")["epoch"]
    assert read == [number.item() for number in numbers]
    assert [type(number) for number in read] == [type(number.item()) for number in numbers]


class Forged:
    """numpy's function for numbers, with arguments of somebody's choice."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return np.core.multiarray.scalar if hasattr(np, "core") else None, self.arguments


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "arguments", [(np.dtype("f8"), b"123"), (np.dtype("O"), b"12345678"), (np.dtype("S8"), b"12345678"), (3, b"1")]
)
def test_forged_numbers_are_refused(tmp_path, arguments):
    torch.save({"epoch": Forged(*arguments)}, tmp_path / "forged.pth")
    with pytest.raises(ValueError, match=r"forged\.pth' is not a complete file of weights \(the file holds a"):
        read_weights(tmp_path / "forged.pth")


def test_a_file_that_is_not_a_checkpoint(tmp_path, capsys):
    empty, noise, half, tensor = (tmp_path / name for name in ("empty.pth", "noise.pth", "half.pth", "tensor.pth"))
    empty.touch()
    noise.write_bytes(b"\x80\x02no checkpoint at all")
    torch.save({"kp_detector": {"kp.weight": torch.zeros(1000)}}, half)
    half.write_bytes(half.read_bytes()[:2000])
    torch.save(torch.zeros(2), tensor)
    words = {empty: "is not a complete file", noise: "is not a complete file", half: "its end is missing"}
    words |= {tensor: "holds a Tensor", tmp_path / "absent": "No such file", tmp_path: "is a folder, not a file"}
    for path, reason in words.items():
        assert imported(tmp_path, "--published-settings", name=path.name if path != tmp_path else "") == 2
        said = capsys.readouterr().err
        assert "CHECKPOINT:" in said
        assert reason in said
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"model_params: [", "is not a YAML file"),
        (b"\xff\xfe\x00", "is not a YAML file"),
        (b"a: !!python/object/apply:os.getcwd []", "is not a YAML file"),
        (b"", "holds a NoneType, expected sections such as model_params"),
        (b"- 1", "holds a list"),
        (b"train_params: {}", "there is no section model_params.common_params"),
    ],
)
def test_settings_files_that_are_something_else(files, content, words, capsys):
    (files / "bad.yaml").write_bytes(content)
    assert imported(files, "--config", str(files / "bad.yaml")) == 2
    said = capsys.readouterr().err
    assert "--config: " in said
    assert words in said


def test_settings_files_that_are_not_there(files, capsys):
    for name, words in (("absent.yaml", "No such file"), ("", "is a folder, not a file")):
        assert imported(files, "--config", str(files / name)) == 2
        said = capsys.readouterr().err
        assert "--config: " in said
        assert words in said


def test_the_model_compiles_without_a_break(small, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    written, saved = small
    model = import_checkpoint(copy.deepcopy(saved), written)
    source, driving = frames(written)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(source, driving).frame, model(source, driving).frame, atol=1e-5, rtol=0)
