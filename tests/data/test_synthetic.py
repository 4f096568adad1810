"""The synthetic clip: reproducible, at any size, and with exact motion."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from internet.data.synthetic import WalkingClip


def sample_at(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`image` (H, W, 3) sampled bilinearly at x + flow, which should look like the earlier frame."""
    height, width = image.shape[:2]
    x = np.arange(width) + flow[0]
    y = np.arange(height)[:, None] + flow[1]
    grid = np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    moved = F.grid_sample(pixels, torch.from_numpy(grid)[None].double(), align_corners=False)
    return moved[0].permute(1, 2, 0).numpy()


def test_a_clip_is_a_function_of_its_seed():
    first, again, other = WalkingClip(3, (64, 64)), WalkingClip(3, (64, 64)), WalkingClip(4, (64, 64))
    assert np.array_equal(first[10], again[10])
    assert not np.array_equal(first[10], other[10])


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (97, 33), (1, 1), (16, 5)])
def test_any_size(size):
    clip = WalkingClip(0, size, frames=4)
    frame = clip[2]
    assert frame.shape == (*size, 3)
    assert frame.dtype == np.uint8
    assert clip.labels(0.1).shape == size
    assert clip.flow(0.0, 0.1).shape == (2, *size)


def test_it_is_a_sequence():
    clip = WalkingClip(0, (32, 32), frames=5)
    assert len(list(clip)) == len(clip) == 5
    assert np.array_equal(clip[-1], clip[4])
    with pytest.raises(IndexError, match="5 frames, 5 was asked"):
        clip[5]


@pytest.mark.parametrize("bad", [{"size": (0, 8)}, {"frames": 0}, {"fps": 0.0}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match="must be positive"):
        WalkingClip(0, **bad)


def test_the_background_never_changes():
    clip = WalkingClip(1, (128, 128))
    figure = np.zeros((128, 128), bool)
    for index in (5, 25, 45):
        label = clip.labels(clip.time(index)) > 0
        figure |= F.max_pool2d(torch.from_numpy(label)[None].float(), 5, 1, 2)[0].numpy() > 0
    assert 0.05 < figure.mean() < 0.6
    still = ~figure
    assert np.array_equal(clip[5][still], clip[25][still])
    assert np.array_equal(clip[5][still], clip[45][still])
    assert not clip.flow(clip.time(5), clip.time(25))[:, still].any()


def test_every_part_is_drawn_and_moves():
    clip = WalkingClip(0, (256, 256))
    seen = np.unique(np.concatenate([np.unique(clip.labels(clip.time(index))) for index in range(0, 30, 5)]))
    assert list(seen) == list(range(13))  # the background and twelve parts
    speed = np.hypot(*clip.flow(0.4, 0.44))
    label = clip.labels(0.4)
    assert all(speed[label == part].max() > 0.5 for part in np.unique(label) if part)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_flow_leads_each_visible_point_to_itself(seed):
    clip = WalkingClip(seed, (256, 256))
    time, other = clip.time(28), clip.time(30)
    flow = clip.flow(time, other)
    label, label_there = clip.labels(time), clip.labels(other)
    moved = sample_at(clip.render(other), flow)
    there = sample_at(np.repeat(label_there[..., None], 3, 2).astype(float), flow)[..., 0]
    same_part = np.abs(there - label) < 1e-6  # all four pixels belong to the part: neither an edge nor hidden
    inside = -F.max_pool2d(-torch.from_numpy(same_part)[None].float(), 5, 1, 2)[0].numpy() > 0
    moving = inside & (np.hypot(*flow) > 1)
    assert moving.sum() > 1000
    error = np.abs(moved - clip.render(time)).mean(-1)
    unmoved = np.abs(clip.render(other).astype(float) - clip.render(time)).mean(-1)
    assert error[moving].mean() < 2.5  # of 255: bilinear interpolation of waves 3 pixels long
    assert unmoved[moving].mean() > 5 * error[moving].mean()
