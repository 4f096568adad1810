"""Sheets of a model's results: every picture in its place."""

import numpy as np
import pytest
import torch
from torch import Tensor

from internet.data.image import to_array
from internet.geometry import identity_field
from internet.model import INTERnet, INTERnetConfig, Result
from internet.visualization import draw, figures
from tests.support.compare import BACKENDS, DEVICES

SIDE, GAP = 64, 2


@pytest.fixture
def frames() -> tuple[Tensor, Tensor]:
    source, target = torch.rand(2, 3, 3, SIDE, SIDE)
    return source, target


@pytest.fixture
def result(frames: tuple[Tensor, Tensor]) -> Result:
    return INTERnet(INTERnetConfig.preset("tiny"))(*frames)


def panel(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = row * (SIDE + GAP), column * (SIDE + GAP)
    return sheet[top : top + SIDE, left : left + SIDE]


def points(result: Result, index: int) -> tuple[np.ndarray, np.ndarray]:
    anchors = result.source_anchors, result.driving_anchors
    return anchors[0].kp[index].detach().numpy(), anchors[1].kp[index].detach().numpy()


def test_tiles_lie_in_rows():
    images = [np.full((3, 4, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = draw.tile([images[:2], images[2:]], gap=1)
    assert sheet.shape == (7, 9, 3)
    assert (sheet[:3, :4] == 10).all()
    assert (sheet[:3, 5:] == 20).all()
    assert (sheet[4:, :4] == 30).all()
    for white in (sheet[3], sheet[:, 4], sheet[4:, 5:]):
        assert (white == 255).all()


def test_a_training_sheet_shows_every_sample(frames, result):
    source, target = frames
    sheet = figures.training_sheet(result, source, target)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (3 * (SIDE + GAP) - GAP, 7 * (SIDE + GAP) - GAP, 3)
    for index in range(3):
        of_source, of_driving = points(result, index)
        output, driving = to_array(result.frame[index]), to_array(target[index])
        expected = [
            draw.draw_anchors(to_array(source[index]), of_source),
            draw.draw_anchors(driving, of_driving),
            output,
            draw.error_map(output, driving),
        ]
        for column, image in enumerate(expected):
            assert np.array_equal(panel(sheet, index, column), image)
    assert figures.training_sheet(result, source, target, count=2).shape[0] == 2 * (SIDE + GAP) - GAP


def moved_by(result: Result, pixels: list[float]) -> Result:
    """The result with a motion of this many pixels to the right in each sample."""
    field = identity_field(SIDE // 4, SIDE // 4).repeat(len(pixels), 1, 1, 1)
    field[..., 0] += torch.tensor(pixels)[:, None, None] * 2 / SIDE
    return result._replace(motion=result.motion._replace(field=field))


def test_motion_has_one_scale_for_all_rows_and_none_is_white(frames, result):
    sheet = figures.training_sheet(moved_by(result, [0.0, 4.0, 8.0]), *frames)
    still, half, full = (panel(sheet, row, 4)[SIDE // 3, SIDE // 3].tolist() for row in range(3))
    assert still == [255, 255, 255]
    assert full == [255, 0, 0]
    assert half[0] == 255
    assert half[1] == half[2] == pytest.approx(128, abs=2)


def test_small_motion_looks_small(frames, result):
    sheet = figures.training_sheet(moved_by(result, [0.0, 0.05, 0.1]), *frames)
    assert panel(sheet, 2, 4)[: SIDE // 2].min() > 220


def test_confidence_and_regions_are_the_model_s(frames, result):
    confidence = torch.full_like(result.motion.confidence, 0.5)
    logits = torch.zeros_like(result.motion.logits)
    logits[:, 3] = 20.0
    logits[:, 0, :8] = 40.0
    motion = result.motion._replace(confidence=confidence, logits=logits)
    sheet = figures.training_sheet(result._replace(motion=motion), *frames)
    assert (panel(sheet, 1, 5) == 128).all()
    assert not panel(sheet, 1, 6)[: SIDE // 2].any()
    assert (panel(sheet, 1, 6)[SIDE // 2 :] == draw.palette(10)[2]).all()


def test_results_in_bfloat16_and_on_any_device(frames):
    for device in {DEVICES[name] for name in BACKENDS}:
        model = INTERnet(INTERnetConfig.preset("tiny")).to(device)
        with torch.autocast(device, torch.bfloat16):
            source, target = (frame.to(device) for frame in frames)
            assert figures.training_sheet(model(source, target), source, target).std() > 10


def test_models_are_compared_on_the_same_frames():
    """A row for each model; for each driving frame its anchors and the output, its regions and the confidence."""
    torch.manual_seed(3)
    models = {name: INTERnet(INTERnetConfig.preset("tiny", size=32)).eval() for name in ("one", "other")}
    source, driving = torch.rand(1, 3, 32, 32), torch.rand(2, 3, 32, 32)
    anchors, motions = figures.compare_sheet(models, source, driving)
    assert [title for title, _ in anchors[1]] == ["other, anchors", "other, output"] * 2
    assert [title for title, _ in motions[0]] == ["one, regions", "one, confidence"] * 2
    for row, model in zip(anchors, models.values(), strict=True):
        for number in range(2):
            with torch.no_grad():
                result = model(source, driving[number : number + 1])
            off = row[2 * number + 1][1].astype(int) - to_array(result.frame)
            assert np.abs(off).max() <= 1  # rounded to 8 bits, from sums in another order
