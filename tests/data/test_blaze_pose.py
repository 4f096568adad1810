"""BlazePose on drawn figures, whose joints and outlines are known."""

import numpy as np
import pytest

from internet.data.synthetic import WalkingClip


@pytest.mark.parametrize("size", [(512, 512), (400, 640), (640, 360)])
def test_blaze_pose_finds_a_drawn_figure(blaze_pose, size):
    """Shoulders, hips and ankles between the drawn joints of both sides, in frames of any shape."""
    off, overlaps = [], []
    for seed in (1, 3, 5):
        clip = WalkingClip(seed, size, frames=40)
        found = blaze_pose(clip[20])
        if found is None:
            continue
        middles = (clip.middles(clip.time(20)) + 1) / 2 * np.array(size[::-1])
        body = found.points[[11, 12, 23, 24]].mean(0)  # the centre of shoulders and hips
        trunk = np.linalg.norm(middles - body, axis=1).min()
        off.append(trunk / min(size))
        seen, person = found.mask > 0.5, clip.labels(clip.time(20)) > 0
        overlaps.append((seen & person).sum() / (seen | person).sum())
    assert off, "nobody was found"
    assert np.median(overlaps) > 0.7
    assert np.median(off) < 0.05
    assert blaze_pose(np.full((*size, 3), 128, np.uint8)) is None
