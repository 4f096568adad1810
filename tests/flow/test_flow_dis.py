"""Optical flow by DIS: sign, units, layout and messages."""

import sys

import pytest
import torch

from internet.data.image import to_tensor
from internet.data.synthetic import WalkingClip
from internet.flow import dis_flow, dis_flow_pair
from internet.flow.dis import PRESETS
from internet.utils.optional import MissingExtraError


def shifted_pair(dx: int, dy: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views (1, 3, 96, 128) of a texture; the point (x, y) of the first is (x+dx, y+dy) in the second."""
    image = to_tensor(WalkingClip(2, (160, 160))[0])
    height, width, top, left = 96, 128, 8, 16
    first = image[..., top : top + height, left : left + width]
    second = image[..., top - dy : top - dy + height, left - dx : left - dx + width]
    return first.contiguous(), second.contiguous()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -4), (-5, 2)])
def test_a_shift_is_found(preset, dx, dy):
    flow = dis_flow(*shifted_pair(dx, dy), preset=preset)
    assert flow.shape == (1, 2, 96, 128)
    assert flow.dtype == torch.float32
    inside = flow[0, :, 10:-10, 10:-10]
    assert (inside[0] - dx).abs().mean() < 0.3
    assert (inside[1] - dy).abs().mean() < 0.3


def test_a_pair_gives_both_directions():
    forward, backward = dis_flow_pair(*shifted_pair(4, 1))
    assert forward[0, 0].median().item() == pytest.approx(4, abs=0.3)
    assert backward[0, 0].median().item() == pytest.approx(-4, abs=0.3)


def test_a_batch_is_its_images_one_by_one():
    first, second = shifted_pair(2, 3)
    batch = dis_flow(torch.cat([first, second]), torch.cat([second, first]))
    assert torch.equal(batch, torch.cat([dis_flow(first, second), dis_flow(second, first)]))
    assert dis_flow(first[:0], second[:0]).shape == (0, 2, 96, 128)


def test_grey_and_half_precision_images():
    first, second = (image.mean(1, keepdim=True) for image in shifted_pair(3, 0))
    assert dis_flow(first, second)[0, 0].median().item() == pytest.approx(3, abs=0.3)
    assert dis_flow(first.bfloat16(), second.bfloat16()).dtype == torch.float32


def test_wrong_arguments():
    image = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"first must be a floating .*uint8"):
        dis_flow(image.byte(), image)
    with pytest.raises(ValueError, match=r"second must be .*\(1, 2, 32, 32\)"):
        dis_flow(image, image[:, :2])
    with pytest.raises(ValueError, match=r"same shape; got \(1, 3, 32, 32\) and \(1, 3, 32, 40\)"):
        dis_flow(image, torch.zeros(1, 3, 32, 40))
    with pytest.raises(ValueError, match="at least 16 pixels"):
        dis_flow(image[..., :8], image[..., :8])
    with pytest.raises(ValueError, match="preset must be one of fast, medium, fine; got 'best'"):
        dis_flow(image, image, preset="best")


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    image = torch.zeros(1, 3, 32, 32)
    with pytest.raises(MissingExtraError, match=r"opencv-contrib-python-headless.*pip install 'internet-ops\[flow\]'"):
        dis_flow(image, image)
