"""The parts of a filmed person: exact maps between poses, occlusion, and what is visible in the source."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from internet import ops
from internet.data.body_parts import BodyParts
from internet.data.clip import VideoClip
from internet.data.dataset import ClipDataset
from internet.data.figure import BODY
from internet.data.image import MediaError
from internet.data.synthetic import WalkingClip
from internet.data.video_writer import write_video
from internet.geometry import identity_field
from internet.losses import anchor_losses
from internet.model.anchors import Anchors
from tests.support.people import MadeUpPose, Seen, standing

SIDE = 64
NAMES = [part.name for part in BODY]
#: The key points between which a limb lies, and its part.
LIMBS = {"far upper arm": (12, 14), "near thigh": (23, 25), "far shin": (26, 28), "near upper arm": (11, 13)}


def turned(pose: MadeUpPose, degrees: float, scale: float = 1.0) -> MadeUpPose:
    """The whole person rotated about the centre of the frame."""
    angle, middle = np.radians(degrees), len(pose.mask) / 2
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return replace(pose, points=(pose.points - middle) @ rotation.T + middle)


def mapped(driving: BodyParts, source: BodyParts, part: int, point: np.ndarray) -> np.ndarray:
    """Eq. 5's map of one part, at a point in pixels of a frame of SIDE."""
    z = torch.tensor(point * (2 / SIDE) - 1, dtype=torch.float32)
    moved = source.turns[part] @ driving.turns[part].inverse() @ (z - driving.middles[part]) + source.middles[part]
    return (moved.numpy() + 1) * (SIDE / 2)


@pytest.mark.parametrize("name", LIMBS)
def test_a_limb_goes_from_joints_to_joints(name: str) -> None:
    """Its map takes both joints of the driving frame to those of the source, for any two poses."""
    rng = np.random.default_rng(3)
    poses = [replace(standing(SIDE), points=standing(SIDE).points + rng.uniform(-4, 4, (33, 2))) for _ in range(2)]
    driving, source = (BodyParts.of(pose, 32) for pose in poses)
    for joint in LIMBS[name]:
        found = mapped(driving, source, NAMES.index(name), poses[0].points[joint])
        assert found == pytest.approx(poses[1].points[joint], abs=1e-3)


def test_a_person_turned_as_a_whole_turns_every_part() -> None:
    still, moved = standing(SIDE), turned(standing(SIDE), 25, scale=0.8)
    driving, source = BodyParts.of(still, 32), BodyParts.of(moved, 32)
    linear = source.turns @ driving.turns.inverse()
    angle = np.radians(25)
    rotation = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    assert torch.allclose(linear, (0.8 * rotation).expand(12, 2, 2), atol=1e-4)
    motion, _ = driving.motion(source)
    line = (torch.arange(32) + 0.5) * (2 / 32) - 1
    z = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    expected = (torch.einsum("ij,jhw->ihw", 0.8 * rotation, z) - z) * 16
    body = driving.labels > 0
    assert body.any()
    assert torch.allclose(motion[:, body], expected[:, body], atol=1e-3)
    assert not motion[:, ~body].any()


def test_a_limb_that_points_at_the_camera_keeps_a_finite_map() -> None:
    pose = standing(SIDE)
    pose.points[14] = pose.points[12]
    parts = BodyParts.of(pose, 32)
    assert parts.turns.isfinite().all()
    assert torch.linalg.det(parts.turns).min() > 0.01


def test_the_nearer_part_covers_the_farther_one_and_the_mask_ends_both() -> None:
    pose = standing(SIDE)
    pose.points[[14, 16, 18, 20]] = [(32, 24), (36, 28), (37, 29), (37, 29)]  # the right arm in front of the trunk
    pose.mask[:, 40:] = 0
    seen = []
    for depth in (-1.0, 1.0):
        pose.depth[[14, 16, 18, 20]] = depth
        labels = BodyParts.of(pose, SIDE).labels
        assert not labels[:, 40:].any()
        seen.append(labels[28, 36])
    forearm, torso = NAMES.index("far forearm") + 1, NAMES.index("torso") + 1
    assert seen == [forearm, torso]
    assert set(BodyParts.of(standing(SIDE), SIDE).labels.unique().tolist()) == set(range(13))
    assert BodyParts.of(standing(SIDE), SIDE).labels[2, 2] == 0  # farther from every part than parts extend


def test_what_the_source_shows() -> None:
    """A shift by a quarter of the frame: the person is visible in both, and the place that it left is not."""
    before = standing(SIDE)
    after = replace(before, points=before.points + np.array([SIDE / 4, 0]))
    source, driving = BodyParts.of(before, SIDE), BodyParts.of(after, SIDE)
    motion, visible = driving.motion(source)
    body, left = driving.labels > 0, (source.labels > 0) & (driving.labels == 0)
    inside = body & (torch.arange(SIDE) < SIDE - SIDE // 4)
    assert torch.allclose(motion[:, body], torch.tensor([[-SIDE / 4], [0.0]]).expand(2, int(body.sum())), atol=1e-3)
    assert visible[0, inside].mean() == 1
    assert left.any()
    assert visible[0, left].max() == 0
    far = (torch.nn.functional.max_pool2d(((source.labels > 0) | body).float()[None], 3, 1, 1)[0]) == 0
    assert visible[0, far].min() == 1
    shown = ops.confidence_warp((source.labels > 0).float()[None, None], _field(motion), padding_mode="border")[0, 0]
    assert shown[inside].min() > 0.4  # it leads to the person


def test_a_leg_behind_the_other_counts_as_visible() -> None:
    """At its position, the source shows the leg in front, which looks the same."""
    apart = standing(SIDE)
    together = replace(apart, points=apart.points.copy(), depth=apart.depth.copy())
    right, left = [26, 28, 30, 32], [25, 27, 29, 31]
    together.points[right] = together.points[left]
    together.depth[right] = 1.0
    driving, source = BodyParts.of(apart, SIDE), BodyParts.of(together, SIDE)
    shin = NAMES.index("far shin") + 1
    assert not (source.labels == shin).any()
    _, visible = driving.motion(source)
    assert visible[0, driving.labels == shin].mean() > 0.95


def test_what_leaves_the_frame_is_not_visible() -> None:
    before = standing(SIDE)
    driving = BodyParts.of(before, SIDE)
    source = BodyParts.of(replace(before, points=before.points + np.array([SIDE, 0])), SIDE)
    _, visible = driving.motion(source)
    assert visible[0, driving.labels > 0].max() == 0


def _field(motion: torch.Tensor) -> torch.Tensor:
    height, width = motion.shape[1:]
    return identity_field(height, width, motion.device) + motion.permute(1, 2, 0)[None] * (2 / width)


def test_parts_are_the_anchors_of_a_drawn_figure() -> None:
    """If the key points are a drawn figure's own joints, its limbs have the same centres and directions."""
    clip = WalkingClip(3, (SIDE, SIDE))
    poses, pose = clip.poses(0.4), standing(SIDE)
    ends = {12: ("far upper arm", 0), 14: ("far forearm", 0), 24: ("far thigh", 0), 26: ("far shin", 0)}
    ends |= {28: ("far foot", 0), 23: ("near thigh", 0), 25: ("near shin", 0), 27: ("near foot", 0)}
    for number, (name, _) in ends.items():
        pose.points[number] = (poses[name].joint + 1) * (SIDE / 2)
    parts = BodyParts.of(pose, SIDE)
    for name in ("far upper arm", "far thigh", "far shin", "near thigh", "near shin"):
        part = NAMES.index(name)
        assert parts.middles[part].numpy() == pytest.approx(clip.middles(0.4)[part], abs=1e-5)
        down = parts.turns[part, :, 1] / parts.turns[part, :, 1].norm()
        assert down.numpy() == pytest.approx(clip.rotations(0.4)[part, :, 1], abs=1e-5)


# In samples


@pytest.fixture
def clip(tmp_path) -> VideoClip:
    write_video(tmp_path / "walk.mp4", WalkingClip(1, (48, 64), frames=12), fps=10)
    return VideoClip(tmp_path / "walk.mp4")


def test_samples_tell_the_parts_and_each_frame_is_looked_at_once(clip: VideoClip) -> None:
    pose = Seen()
    data = ClipDataset([clip], 32, min_seconds=0, source="random", samples_per_clip=40, pose=pose)
    for sample in data:
        assert sample["motion"].shape == (2, 32, 32)
        assert sample["motion"].abs().max() < 1e-4  # this person never moves
        assert sample["motion_visible"].shape == sample["current_parts"].shape == (1, 32, 32)
        assert set(sample["current_parts"].unique().tolist()) > {0, 6, 7}
        assert sample["source_anchors"].shape == sample["current_anchors"].shape == (12, 2)
        assert sample["source_turns"].shape == sample["current_turns"].shape == (12, 2, 2)
    assert pose.times == 12
    own = Anchors(sample["source_anchors"][None], sample["source_turns"][None])
    assert anchor_losses(own, sample["current_anchors"][None], sample["current_turns"][None]) == (0, 0)


def test_frames_without_a_person_are_replaced_and_reported(tmp_path) -> None:
    frames = list(WalkingClip(1, (48, 48), frames=12))
    frames[4:6] = [np.zeros_like(frames[0])] * 2
    write_video(tmp_path / "walk.mp4", frames, fps=10)
    data = ClipDataset([VideoClip(tmp_path / "walk.mp4")], 32, min_seconds=0, samples_per_clip=30, pose=Seen())
    with pytest.warns(UserWarning, match=r"other frames taken: nobody is found in frame [45] of the clip 'walk'"):
        names = {sample["name"].split(",")[1] for sample in data}
    assert names == {f" frame {number} by frame 0" for number in (2, 3, *range(6, 12))}


def test_a_clip_without_a_person_is_an_error(tmp_path) -> None:
    write_video(tmp_path / "dark.mp4", [np.zeros((48, 48, 3), np.uint8)] * 12, fps=10)
    data = ClipDataset([VideoClip(tmp_path / "dark.mp4")], 32, min_seconds=0, pose=Seen())
    with pytest.warns(UserWarning, match="nobody is found"), pytest.raises(MediaError, match="none of 8 draws"):
        data[0]


def test_a_pose_is_not_mirrored(clip: VideoClip) -> None:
    from internet.data.augmentation import Augmentation

    with pytest.raises(ValueError, match=r"flip is 0\.5, expected 0: a pose tells left from right"):
        ClipDataset([clip], 32, min_seconds=0, pose=Seen(), augmentation=Augmentation())
