"""Poses that a clip does not have: connected bodies with the same colours in front of the clip's background."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from internet.data.augmentation import Augmentation
from internet.data.body_parts import BodyParts
from internet.data.clip import VideoClip
from internet.data.dataset import ClipDataset
from internet.data.figure import BODY
from internet.data.image import MediaError
from internet.data.pose_augmentation import PoseAugmentation, clip_background
from internet.data.video_writer import write_video
from tests.support.people import Seen, standing

SIDE = 96
NUMBERS = {part.name: number for number, part in enumerate(BODY)}
PLAIN = Augmentation(flip=0, brightness=0, contrast=0, saturation=0)

#: A colour for each part, and for the background.
COLOURS = torch.linspace(0.1, 1, 13)[:, None] * torch.tensor([1.0, 0.5, 0.2])


def person(side: int = SIDE) -> tuple[Tensor, BodyParts]:
    """A frame (1, 3, S, S) that shows each part in its colour, and its parts."""
    pose = standing(side)
    whole = BodyParts.of(pose, side)
    mask = (whole.inside & (whole.labels > 0)).float()
    parts = BodyParts(whole.skeleton, mask)
    return COLOURS[parts.labels.long()].permute(2, 0, 1)[None], parts


def reposed(seed: int = 0, **amounts: float) -> tuple[Tensor, BodyParts]:
    frame, parts = person()
    background = COLOURS[0].view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    augmentation = PoseAugmentation(probability=1.0, **amounts)
    return augmentation(frame, parts, background, torch.Generator().manual_seed(seed))


STILL = {"turn": 0.0, "limbs": 0.0, "shift": 0.0, "size": 0.0}


def test_nothing_changes_where_nothing_is_drawn() -> None:
    frame, parts = person()
    generator = torch.Generator().manual_seed(0)
    unchanged = PoseAugmentation(probability=0.0)(frame, parts, torch.zeros_like(frame), generator)
    assert unchanged[0] is frame
    assert unchanged[1] is parts
    same, there = reposed(**STILL)
    assert torch.allclose(same, frame, atol=1e-5)
    assert torch.equal(there.labels, parts.labels)
    assert torch.allclose(there.middles, parts.middles, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_body_hangs_together_and_keeps_its_limbs_lengths(seed: int) -> None:
    _, before = person()
    _, after = reposed(seed, size=0.0)
    old, new = before.skeleton, after.skeleton
    lengths = [np.hypot(*(skeleton.end - skeleton.start).T) for skeleton in (old, new)]
    assert lengths[1] == pytest.approx(lengths[0], abs=1e-6)
    for side in ("near", "far"):
        for upper, lower in pairwise((f"{side} thigh", f"{side} shin")):
            assert new.end[NUMBERS[upper]] == pytest.approx(new.start[NUMBERS[lower]], abs=1e-6)
        upper, lower = NUMBERS[f"{side} upper arm"], NUMBERS[f"{side} forearm"]
        assert new.end[upper] == pytest.approx(new.start[lower], abs=1e-6)
    turned = np.abs(new.turns - old.turns).max((1, 2))
    assert turned.min() > 1e-3  # every part has a new direction
    spread = np.ptp(np.linalg.det(new.turns) / np.linalg.det(old.turns))
    assert spread < 1e-6


def test_the_whole_person_is_turned_moved_and_resized_as_one() -> None:
    _, before = person()
    _, after = reposed(2, limbs=0.0)
    maps = after.turns @ before.turns.inverse()
    assert torch.allclose(maps, maps[:1].expand_as(maps), atol=1e-5)
    factor = torch.linalg.det(maps).sqrt()
    assert 0.9 <= factor[0] <= 1.1
    assert factor[0] != pytest.approx(1, abs=1e-3)
    offset = after.middles - (maps @ before.middles[..., None])[..., 0]
    assert torch.allclose(offset, offset[:1].expand_as(offset), atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_every_part_is_where_its_label_says_in_its_own_colour(seed: int) -> None:
    """Except at edges, where colours mix."""
    frame, parts = reposed(seed)
    labels = parts.labels.float()[None]
    inner = torch.nn.functional.max_pool2d(labels, 5, 1, 2) == -torch.nn.functional.max_pool2d(-labels, 5, 1, 2)
    wrong = (frame[0] - COLOURS[parts.labels.long()].permute(2, 0, 1)).abs().amax(0) > 0.03
    background = (parts.labels == 0) & inner[0]
    assert not wrong[background].any()
    body = (parts.labels > 0) & inner[0]
    assert body.sum() > 200
    assert wrong[body].float().mean() < 0.1  # an opening joint shows what covered it before
    inside = (parts.middles.abs() < 1).all(1)
    x, y = ((parts.middles[inside] + 1) * (SIDE / 2)).long().unbind(1)
    found = parts.labels[y, x] == 1 + torch.arange(len(BODY))[inside]
    assert found.float().mean() > 0.6  # arms may lie before the rest


def test_the_motion_back_leads_to_the_same_colours() -> None:
    """The motion between the parts of the new and the old pose holds in the pictures."""
    frame, before = person()
    picture, after = reposed(3)
    motion, visible = after.motion(before)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    there = [
        (start + step).round().long().clamp(0, SIDE - 1) for start, step in zip((x, y), motion.unbind(), strict=True)
    ]
    moved = frame[0][:, there[1], there[0]]
    seen = (visible[0] > 0) & (after.labels > 0)
    assert ((moved - picture[0]).abs().amax(0)[seen] < 0.05).float().mean() > 0.8


def test_the_background_of_a_clip_is_what_is_seen_beside_the_person() -> None:
    true = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    _, still = person()
    frames, parts = [], []
    for shift in (-30, 0, 30):
        mask = still.mask.roll(shift, 1)
        frames.append(torch.where(mask > 0.5, 1.0, true))
        parts.append(BodyParts(still.skeleton, mask))
    assert torch.equal(clip_background(frames, parts), true)
    hidden = clip_background(frames[:1], parts[:1])
    assert hidden.isfinite().all()
    far = torch.nn.functional.max_pool2d(parts[0].mask[None], 5, 1, 2)[0] == 0
    assert torch.equal(hidden[0, :, far], true[0, :, far])
    assert (hidden[0, :, ~far] != 1).any(0).all()  # nothing of the person remains


# In samples


@pytest.fixture
def clip(tmp_path) -> VideoClip:
    frames = [np.full((48, 64, 3), 40 + 8 * number, np.uint8) for number in range(12)]
    write_video(tmp_path / "walk.mp4", frames, fps=10)
    return VideoClip(tmp_path / "walk.mp4")


def samples(clip: VideoClip, probability: float) -> ClipDataset:
    return ClipDataset(
        [clip],
        32,
        min_seconds=0,
        source="random",
        samples_per_clip=20,
        pose=Seen(),
        pose_augmentation=PoseAugmentation(probability=probability),
        augmentation=PLAIN,
    )


def test_source_and_driving_frame_are_each_in_their_own_pose(clip: VideoClip) -> None:
    plain, posed, again = samples(clip, 0.0), samples(clip, 1.0), samples(clip, 1.0)
    for number in range(20):
        old, new = plain[number], posed[number]
        assert old.keys() == new.keys()
        assert not torch.equal(old["source_anchors"], new["source_anchors"])
        assert not torch.equal(new["source_anchors"], new["current_anchors"])
        assert new["motion"].abs().max() > 0.5
        assert old["motion"].abs().max() < 1e-4  # in the clip, this person never moves
        assert all(
            torch.equal(value, again[number][name]) for name, value in new.items() if isinstance(value, torch.Tensor)
        )
    changed = [not torch.equal(a["motion"], b["motion"]) for a, b in zip(samples(clip, 0.5), plain, strict=True)]
    assert 5 < sum(changed) < 20  # each of two frames with probability 1/2


def test_frames_without_a_person_do_not_make_the_background(tmp_path) -> None:
    frames = [np.full((48, 48, 3), 40 + 8 * number, np.uint8) for number in range(12)]
    frames[3] = np.zeros_like(frames[3])
    write_video(tmp_path / "walk.mp4", frames, fps=10)
    data = samples(VideoClip(tmp_path / "walk.mp4"), 1.0)
    with pytest.warns(UserWarning, match="nobody is found in frame 3 of the clip 'walk'"):
        assert all(sample["current"].isfinite().all() for sample in data)
    dark = [np.zeros((48, 48, 3), np.uint8)] * 12
    write_video(tmp_path / "dark.mp4", dark, fps=10)
    with pytest.warns(UserWarning, match="nobody is found"), pytest.raises(MediaError, match="none of 8 draws"):
        samples(VideoClip(tmp_path / "dark.mp4"), 1.0)[0]


def test_it_needs_a_pose_and_takes_no_flow(clip: VideoClip) -> None:
    options = {"min_seconds": 0, "pose_augmentation": PoseAugmentation(probability=0.5)}
    with pytest.raises(ValueError, match="pose_augmentation needs a pose function"):
        ClipDataset([clip], 32, **options)
    with pytest.raises(ValueError, match="no flow, which is that of other poses"):
        ClipDataset([clip], 32, pose=Seen(), flow=lambda start, end: start[:, :2], **options)
