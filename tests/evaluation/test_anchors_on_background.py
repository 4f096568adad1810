"""Whether anchors lie on the person or on the background."""

import pytest
import torch

from internet.data.synthetic import numbered_clip
from internet.evaluation.anchors_on_background import share_in_use, share_on_background


def test_a_square_person():
    """In the centre of 64 pixels, from 16 to 47; two pixels around it count as the person."""
    person = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    person[..., 16:48, 16:48] = True
    pixels = torch.tensor([[32.0, 32.0], [14, 32], [13, 32], [32, 49], [32, 50], [-5, 32], [60, 60]])
    points = ((2 * pixels + 1) / 64 - 1)[None]
    each = [float(share_on_background(point, person)) for point in points.split(1, 1)]
    assert each == [0, 0, 1, 0, 1, 1, 1]
    assert float(share_on_background(points, person)) == pytest.approx(4 / 7)


def test_true_joints_of_drawn_figures_are_on_them():
    clip = numbered_clip(1, 0, 128)
    person = torch.from_numpy(clip.labels(0.4) > 0)[None, None]
    points = torch.from_numpy(clip.middles(0.4))[None]
    assert float(share_on_background(points, person)) == 0
    assert float(share_on_background(points + torch.tensor([1.2, 0]), person)) == 1


def test_what_is_in_use_is_weighted_by_the_mixture():
    person = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    person[..., :32] = True
    points = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1] = 2.0  # the one on the person
    expected = 1 / (1 + torch.e**2)
    assert float(share_in_use(points, person, logits)) == pytest.approx(expected, rel=1e-5)
