"""Metrics against direct computations of their definitions."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from internet.data.synthetic_dataset import SyntheticDataset
from internet.evaluation import (
    ConfidenceMeans,
    FrameMetrics,
    Means,
    MotionError,
    PersonMetrics,
    TransferMetrics,
    moving_person,
)
from internet.geometry import identity_field
from internet.model import INTERnet, INTERnetConfig
from internet.utils.optional import MissingExtraError


def ssim(one: Tensor, other: Tensor) -> float:
    """Wang's structural similarity of two planes in float64: 11 x 11 Gaussian windows, the border reflected."""
    line = torch.exp(-(torch.arange(-5.0, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]

    def blur(plane: Tensor) -> Tensor:
        return F.conv2d(F.pad(plane[None, None], (5, 5, 5, 5), mode="reflect"), window)

    a, b = one.double(), other.double()
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((index / (mean_a**2 + mean_b**2 + c1) / (variance_a + variance_b + c2)).mean())


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Frames and noisy copies, with noise that increases from frame to frame."""
    target = torch.rand(count, 3, 24, 20)
    noise = torch.randn_like(target) * torch.linspace(0.02, 0.3, count)[:, None, None, None]
    return (target + noise).clamp(0, 1), target


def test_frame_metrics_are_means_over_frames():
    output, target = pairs(5)
    squared = (output - target).double().square().mean((1, 2, 3))
    planes = zip(output.flatten(0, 1), target.flatten(0, 1), strict=True)
    expected = {
        "psnr": float((-10 * squared.log10()).mean()),
        "ssim": sum(ssim(one, other) for one, other in planes) / 15,
        "l1": float((output - target).abs().mean()),
    }
    metrics = FrameMetrics()
    metrics.update(output[:3], target[:3])
    metrics.update(output[3:], target[3:])
    assert metrics.compute() == pytest.approx(expected, rel=1e-4)
    assert expected["psnr"] > -10 * math.log10(squared.mean()) + 1  # not the PSNR of the mean error


def test_a_prefix_and_a_reset():
    output, target = pairs(2)
    metrics = FrameMetrics(prefix="held out/")
    metrics.update(output, target)
    first = metrics.compute()
    assert list(first) == ["held out/psnr", "held out/ssim", "held out/l1"]
    metrics.update(target, target)
    assert metrics.compute()["held out/psnr"] == math.inf
    metrics.reset()
    assert all(math.isnan(value) for value in metrics.compute().values())
    metrics.update(output, target)
    assert metrics.compute() == first


def test_half_precision_frames_are_measured_in_float32():
    output, target = pairs(2)
    metrics, expected = FrameMetrics(), FrameMetrics()
    metrics.update(output.bfloat16(), target)
    expected.update(output.bfloat16().float(), target)
    assert metrics.compute() == expected.compute()


def test_frames_that_do_not_fit():
    output, target = pairs(2)
    for bad, words in (((output[0], target[0]), "output has shape"), ((output, target[:1]), "target has shape")):
        with pytest.raises(ValueError, match=words):
            FrameMetrics().update(*bad)
    with pytest.raises(ValueError, match="H and W at least 11"):
        FrameMetrics().update(output[..., :10], target[..., :10])


def test_without_torchmetrics_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(MissingExtraError, match=r"'torchmetrics'.*pip install 'internet-ops\[eval\]'"):
        FrameMetrics()


def test_the_error_of_a_known_motion():
    """A field 3 pixels off in x and 4 in y, true motion of 2 pixels on the left and of 1 pixel, still, on the right."""
    motion = torch.zeros(2, 2, 16, 32)
    motion[:, 0, :, :16], motion[:, 0, :, 16:] = 2.0, 1.0
    visible = torch.ones(2, 1, 16, 32)
    visible[1] = 0
    field = identity_field(4, 8).repeat(2, 1, 1, 1) + torch.tensor([(2 + 3) * 2 / 32, 4 * 2 / 16])
    field[1] = 7.0  # invisible pixels do not count
    error = MotionError()
    error.update(field, motion, visible)
    assert error.compute() == pytest.approx({"epe": 5.0, "epe_zero": 2.0, "unexplained": 25 / 4}, rel=1e-5)
    error.update(identity_field(4, 8), 3 * motion[:1], visible[:1])  # 256 pixels of 6, 256 of 3
    whole = {"epe": (5 + 6 + 3) / 3, "epe_zero": (2 + 6 + 3) / 3, "unexplained": (25 + 36 + 9) / (4 + 36 + 9)}
    assert error.compute() == pytest.approx(whole, rel=1e-5)
    error.reset()
    assert all(math.isnan(value) for value in error.compute().values())


def test_the_true_motion_has_no_error_but_that_of_the_base_size():
    sample = default_collate([SyntheticDataset(64, seed=4)[5]])
    scale = torch.tensor([2 / 64, 2 / 64])[:, None, None]
    motion = sample["motion"]
    errors = []
    for size in (64, 16):
        small = F.interpolate(motion, size=(size, size), mode="area")
        error = MotionError()
        error.update(identity_field(size, size) + (small * scale).permute(0, 2, 3, 1), motion, sample["motion_visible"])
        errors.append(error.compute())
    assert errors[0]["epe"] < 1e-4
    assert 0.02 < errors[1]["epe"] < 0.7 * errors[1]["epe_zero"]


def test_fields_that_do_not_fit():
    field, motion, visible = torch.zeros(1, 4, 4, 2), torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    for bad, words in (
        ((field, motion[0], visible), "motion has shape"),
        ((field, motion, visible[..., :8]), r"visible has shape .*expected \(1, 1, 16, 16\)"),
        ((field[:, :3], motion, visible), "field has shape .*power of two"),
        ((field.repeat(2, 1, 1, 1), motion, visible), r"field .*expected \(1, h, w, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            MotionError().update(*bad)


def test_totals_of_several_processes_add_up():
    parts = [Means(("a", "b")) for _ in range(2)]
    parts[0].add(a=torch.tensor([1.0, 2.0]))
    parts[1].add(a=torch.tensor([6.0]), b=torch.tensor([[5.0]]))
    parts[0].totals += parts[1].totals
    assert parts[0].compute() == {"a": 3.0, "b": 5.0}


def figures_drawn(count: int, moving_background: float = 0.0) -> dict[str, Tensor]:
    data = SyntheticDataset(96, seed=6, moving_background=moving_background, previous=False)
    return default_collate([data[number] for number in range(count)])


def test_the_person_is_where_the_figure_is_and_where_it_was():
    sample = figures_drawn(4)
    source, target = sample["source"], sample["current"]
    person = moving_person(source, target, sample["motion"], sample["motion_visible"])
    moved = sample["motion"].norm(dim=1, keepdim=True) > 1
    assert person[moved].float().mean() > 0.95
    vacated = (sample["motion_visible"] < 0.5) & ~moved
    assert person[vacated].float().mean() > 0.75  # where cloth and wall have the same colour, no change is visible
    away = F.max_pool2d((moved | vacated).float(), 9, 1, 4) == 0
    assert person[away].float().mean() < 0.01
    assert person.float().mean() < 0.4


def test_motion_shows_a_person_whose_colours_do_not_change():
    frame, motion = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 2, 32, 32)
    motion[:, 0, 8:20, 8:20] = 3
    assert not moving_person(frame, frame).any()
    assert moving_person(frame, frame, motion)[..., 8:20, 8:20].all()
    hidden = torch.ones(1, 1, 32, 32)
    hidden[..., 8:20, 8:20] = 0
    assert not moving_person(frame, frame, motion, hidden).any()
    frame[..., 4, 4] = 0.9  # a speck is noise
    assert not moving_person(frame, torch.full_like(frame, 0.5)).any()


def test_person_metrics_look_at_the_person_alone():
    output, target = pairs(3)
    person = torch.zeros(3, 1, 24, 20, dtype=torch.bool)
    person[:2, :, 4:15, 6:17] = True  # and in the third frame there is nobody
    metrics = PersonMetrics()
    metrics.update(output, target, person)
    first = metrics.compute()
    inside = (output - target)[:2, :, 4:15, 6:17].double().square().mean((1, 2, 3))
    assert first["person_psnr"] == pytest.approx(float((-10 * inside.log10()).mean()), rel=1e-4)
    changed = torch.where(person, output, 1 - output)
    metrics.reset()
    metrics.update(changed, target, person)
    assert metrics.compute()["person_psnr"] == pytest.approx(first["person_psnr"], rel=1e-5)
    assert metrics.compute()["person_ssim"] < first["person_ssim"]  # its windows extend over the edge
    metrics.reset()
    metrics.update(output, target, torch.zeros_like(person))
    assert all(math.isnan(value) for value in metrics.compute().values())


def test_sharpness_is_the_contrast_of_neighbours():
    target, person = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    metrics = PersonMetrics(prefix="blurred_")
    metrics.update(0.25 * target + 0.3, target, person)
    assert metrics.compute()["blurred_person_sharpness"] == pytest.approx(0.25, rel=1e-4)
    metrics.reset()
    metrics.update(F.avg_pool2d(target, 5, 1, 2, count_include_pad=False), target, person)
    assert metrics.compute()["blurred_person_sharpness"] < 0.3


def test_the_confidence_where_the_figure_stood():
    motion, visible = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    motion[..., 8:], visible[..., :4, :] = 5, 0  # above, what is not visible: on the left still ground
    confidence = torch.full((1, 1, 4, 4), 0.75)
    confidence[..., :1, :2] = 0.25
    means = ConfidenceMeans()
    means.update(identity_field(16, 16), F.interpolate(confidence, scale_factor=4), motion, visible)
    assert means.compute() == {"confidence_visible": 0.75, "confidence_vacated": 0.25}
    means.reset()
    means.update(identity_field(16, 16), F.interpolate(confidence, scale_factor=4), motion - 9, visible)  # a camera
    assert means.compute() == {"confidence_visible": 0.75, "confidence_vacated": 0.25}
    means.reset()
    means.update(identity_field(4, 4), confidence, motion, visible)  # upsampled, what is beside it joins in
    assert 0.25 < means.compute()["confidence_vacated"] < 0.5 < means.compute()["confidence_visible"] < 0.75


def test_all_of_a_transfer():
    sample = figures_drawn(2)
    model = INTERnet(INTERnetConfig.preset("tiny")).eval()
    source, target = sample["source"], sample["current"]
    with torch.no_grad():
        result = model(source, target)
    metrics = TransferMetrics()
    metrics.update(result, source, target)
    without = metrics.compute()
    frames = {"psnr", "ssim", "l1", "person_psnr", "person_ssim", "person_sharpness"}
    assert without.keys() == frames | {f"repeated_{name}" for name in frames}
    metrics.reset()
    metrics.update(result, source, target, sample["motion"], sample["motion_visible"])
    whole = metrics.compute()
    motion = {"epe", "epe_zero", "unexplained", "confidence_visible", "confidence_vacated"}
    assert whole.keys() == without.keys() | motion
    assert whole["repeated_psnr"] == without["repeated_psnr"] > whole["repeated_person_psnr"]
    person = moving_person(source, target, sample["motion"], sample["motion_visible"])
    alone = PersonMetrics()
    alone.update(result.frame, target, person)
    assert alone.compute()["person_psnr"] == whole["person_psnr"]
