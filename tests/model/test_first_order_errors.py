"""Errors for files that are not first-order-motion's checkpoints, or do not fit their settings."""

from typing import Any

import pytest
import torch

from internet.model.first_order import import_checkpoint
from internet.model.first_order.settings_file import config_of
from tests.support.first_order import COMMON, DETECTOR, GENERATOR, MOTION, settings


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
    """The small settings, also with whole sections removed."""
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
