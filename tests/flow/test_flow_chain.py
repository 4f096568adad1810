"""Flow composed over the frames between two: its value, the spans it uses, and that it follows large motion."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from internet.data.clip_search import find_clips
from internet.data.dataset import ClipDataset
from internet.data.synthetic import WalkingClip
from internet.data.video_writer import write_video
from internet.flow import flow_estimator
from internet.flow.chain import chain_visible, chained, flow_chain


def shift(x: float, y: float) -> Tensor:
    return torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 16, 16).contiguous()


def test_one_flow_after_another() -> None:
    torch.testing.assert_close(chained(shift(2, -1), shift(0.5, 3)), shift(2.5, 2))
    second = torch.zeros(1, 2, 16, 16)
    second[..., 8:] = 3  # the right half continues beyond the frame
    both = chained(shift(4, 0), second)
    assert (both[:, 0, :, :4] == 4).all()
    assert (both[:, 0, :, 4:] == 7).all()
    assert (both[:, 1, :, 4:] == 3).all()


@pytest.mark.parametrize(("start", "end"), [(3, 4), (4, 3), (2, 15), (15, 2), (0, 8)])
def test_a_chain_has_few_links_and_meets_its_end(start: int, end: int) -> None:
    links = []

    def span(at: int, length: int) -> Tensor:
        links.append((at, length))
        return shift(length, 0)

    torch.testing.assert_close(flow_chain(start, end, span), shift(end - start, 0))
    assert links[0][0] == start
    assert links[-1][0] + links[-1][1] == end
    assert len(links) == abs(end - start).bit_count()
    with pytest.raises(ValueError, match="start and end are both 3"):
        flow_chain(3, 3, span)


def test_drift_is_allowed_for_and_contradiction_is_not() -> None:
    flow, back = shift(10, 0), shift(-9, 0)
    back[..., 8:, :] = 0
    visible = chain_visible(flow, back)
    assert visible[..., :8, :5].all()
    assert not visible[..., 8:, :].any()


def test_a_chain_follows_a_figure(tmp_path: Path) -> None:
    clip = WalkingClip(3, (96, 96), frames=30)
    write_video(tmp_path / "walk.mp4", clip, fps=25, lossless=True)
    flow = flow_estimator("dis", preset="fine")
    clips = find_clips(tmp_path / "walk.mp4", "train")
    data = ClipDataset(clips, 96, min_seconds=0.8, samples_per_clip=4, flow=flow, motion=True, chain=True)
    off, still = [], []
    for sample in (data[index] for index in range(4)):
        number = int(sample["name"].split(" by ")[0].split()[-1])
        truth = torch.from_numpy(clip.flow(clip.time(number), 0.0))
        figure = torch.from_numpy(clip.labels(clip.time(number)) > 0)
        off.append((sample["motion"] - truth).norm(dim=0)[figure].mean())
        still.append(truth.norm(dim=0)[figure].mean())
        assert sample["motion_visible"].shape == (1, 96, 96)
        assert set(sample["motion_visible"].unique().tolist()) == {0.0, 1.0}
    assert sum(off) < 0.35 * sum(still)
