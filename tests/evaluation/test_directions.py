"""A worse video scores worse: known faults, mild and strong, and which measures should notice them."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from internet.data.image import to_tensor
from internet.data.synthetic import numbered_clip
from internet.evaluation.measure import Column
from internet.evaluation.suite import Suite, make_suite

FRAMES, SIZE = 20, 96


def clip() -> list[Tensor]:
    return [to_tensor(image) for image in numbered_clip(1, 3, SIZE, frames=FRAMES, moving_background=0)]


def swapped(frames: list[Tensor], strength: int) -> list[Tensor]:
    """Neighbouring frames are swapped: two pairs, or all."""
    order = list(range(len(frames)))
    for first in range(2, len(order) - 1, 8 if strength == 1 else 2):
        order[first], order[first + 1] = order[first + 1], order[first]
    return [frames[number] for number in order]


def blurred(frames: list[Tensor], strength: int) -> list[Tensor]:
    """A box blur of three pixels, once or four times."""
    for _ in range((1, 4)[strength - 1]):
        frames = [F.avg_pool2d(F.pad(frame, (1, 1, 1, 1), "replicate"), 3, 1) for frame in frames]
    return frames


def delayed(frames: list[Tensor], strength: int) -> list[Tensor]:
    """A delay of one frame, or of four."""
    late = (1, 4)[strength - 1]
    return frames[:1] * late + frames[:-late]


def flickering(frames: list[Tensor], strength: int) -> list[Tensor]:
    """Every other frame is darker, by 3 % or by 12."""
    return [frame * (1 - (0.03, 0.12)[strength - 1] * (number % 2)) for number, frame in enumerate(frames)]


FAULTS = {"swapped": swapped, "blurred": blurred, "delayed": delayed, "flickering": flickering}

SEEN = {
    "swapped": ("psnr", "l1", "ssim", "ms_ssim", "pd_efficientnet", "interp_psnr", "interp_psnr_own", "e_warp"),
    "blurred": ("psnr", "l1", "ssim", "ms_ssim", "pd_efficientnet", "fd_efficientnet", "clip_l1_efficientnet"),
    "delayed": ("psnr", "l1", "ssim", "ms_ssim", "pd_efficientnet", "interp_psnr", "akd", "e_warp"),
    "flickering": (
        *("psnr", "l1", "pd_efficientnet", "fd_efficientnet", "clip_l1_efficientnet", "clip_fd_efficientnet"),
        *("interp_psnr", "interp_psnr_own", "e_warp"),
    ),
}
"""For each fault, the measures that must rate the mild one worse than none, and the strong one even worse."""


@pytest.fixture(scope="module")
def suite() -> Suite:
    return make_suite(SIZE)


@pytest.fixture(scope="module")
def scores(suite) -> dict[tuple[str, int], dict[str, float]]:
    """Values by fault and strength; strength 0 is the clip itself."""
    frames = clip()
    videos = {(name, strength): fault(frames, strength) for name, fault in FAULTS.items() for strength in (1, 2)}
    return {what: measured(suite, video, frames) for what, video in {("none", 0): frames, **videos}.items()}


@torch.no_grad()
def measured(suite: Suite, video: list[Tensor], frames: list[Tensor]) -> dict[str, float]:
    values: dict[str, float] = {}
    for measure in suite.measures:
        measure.reset()
        for pair in zip(video, frames, strict=True):
            measure.update(*pair)
        values |= measure.values()
    return values


def column_of(suite: Suite, key: str) -> Column:
    found = next((column for column in suite.columns if column.key == key), None)
    return found or pytest.skip(f"{key} is not measured here: {suite.missing}")


@pytest.mark.parametrize(("fault", "key"), [(fault, key) for fault, keys in SEEN.items() for key in keys])
def test_faults_are_ranked(suite, scores, fault, key):
    column = column_of(suite, key)
    badness = [column.badness(scores[what][key]) for what in (("none", 0), (fault, 1), (fault, 2))]
    assert badness[0] < badness[1] < badness[2], badness


@pytest.mark.parametrize(
    ("fault", "key", "reason"),
    [
        ("swapped", "fd_efficientnet", "the frames are the same"),
        ("delayed", "interp_psnr_own", "it moves as smoothly, and stands still at first"),
    ],
)
def test_what_a_measure_cannot_see(suite, scores, fault, key, reason):
    """As documented."""
    column = column_of(suite, key)
    assert column.badness(scores[fault, 2][key]) <= column.badness(scores["none", 0][key]) + 1e-4, reason


def test_nothing_is_wrong_with_the_clip_itself(suite, scores):
    perfect = {"l1": 0, "ssim": 1, "ms_ssim": 1, "psnr": 60, "pd_efficientnet": 0}
    values = scores["none", 0]
    assert {key: values[key] for key in perfect} == pytest.approx(perfect, abs=1e-5)
    assert values["e_warp"] == pytest.approx(values["e_warp_reference"])
    assert values["fd_efficientnet"] == pytest.approx(0, abs=1e-6)


def test_every_measure_is_told_by_its_column(suite, scores):
    """Each has a value, notices a fault, and, if it is a stand-in, says for what."""
    keys = {key for keys in SEEN.values() for key in keys} | {"missing_key_points", "e_warp_reference"}
    assert {column.key for column in suite.columns} <= keys
    for column in suite.columns:
        assert column.key in scores["none", 0]
        assert bool(column.instead_of) == any(name in column.title for name in ("EfficientNet", "(RIFE), dB", "Blaze"))
