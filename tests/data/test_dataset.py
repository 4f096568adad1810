"""Training samples: the right frames, reproducible, augmented alike, and robust to undecodable frames."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from internet import ops
from internet.cli import main
from internet.data.augmentation import FLOWS, Augmentation, flipped
from internet.data.clip import Clip
from internet.data.clip_search import find_clips
from internet.data.dataset import ClipDataset
from internet.data.image import MediaError, as_float, to_tensor
from internet.data.synthetic import WalkingClip, numbered_clip
from internet.data.synthetic_dataset import CLIPS_AT_ONCE, SAMPLES_PER_CLIP, SyntheticDataset, clip_of
from internet.flow import dis_flow


class Drawn:
    """A clip in memory, 10 frames per second."""

    def __init__(self, seed: int = 0, frames: int = 40, broken: bool = False) -> None:
        self.name, self.broken = f"clip {seed}", broken
        self.frames = list(WalkingClip(seed, (32, 32), frames=frames))
        self.times = [number / 10 for number in range(frames)]

    def read(self, numbers: list[int]) -> list[np.ndarray]:
        if self.broken:
            raise MediaError(f"'{self.name}' is damaged")
        return [self.frames[number] for number in numbers]


def place(clip: Clip, frame: Tensor) -> int:
    """The number of a frame of the clip."""
    (found,) = [number for number, image in enumerate(clip.frames) if torch.equal(to_tensor(image)[0], frame)]
    return found


def test_a_sample_is_the_first_frame_and_two_late_neighbours() -> None:
    clip = Drawn()
    samples = ClipDataset([clip], 32, samples_per_clip=50)
    moments = [(place(clip, s["source"]), place(clip, s["previous"]), place(clip, s["current"])) for s in samples]
    assert all(source == 0 and previous == current - 1 for source, previous, current in moments)
    assert min(current for *_, current in moments) >= 20  # 2 seconds
    assert len({current for *_, current in moments}) > 10


def test_driving_frames_come_from_the_range_asked_for_and_the_source_stays_the_first() -> None:
    clip = Drawn()
    data = ClipDataset([clip], 32, frames=(25, 31), samples_per_clip=60)
    moments = {(place(clip, sample["source"]), place(clip, sample["current"])) for sample in data}
    assert moments == {(0, number) for number in range(25, 31)}


def test_a_random_source_is_of_the_same_range_and_far_enough_either_way() -> None:
    clip = Drawn()
    data = ClipDataset([clip], 32, frames=(5, 30), min_seconds=1.0, source="random", samples_per_clip=80)
    moments = [(place(clip, sample["source"]), place(clip, sample["current"])) for sample in data]
    assert all(5 <= number < 30 for moment in moments for number in moment)
    assert all(abs(source - current) >= 10 for source, current in moments)
    assert {source < current for source, current in moments} == {True, False}
    assert data[3]["name"] == "clip 0, frame {1} by frame {0}".format(*moments[3])


def test_a_range_without_a_sample_is_an_error() -> None:
    for frames, source in (((5, 12), "random"), ((40, 50), "first")):
        with pytest.warns(UserWarning, match=f"numbered {frames[0]} to"), pytest.raises(MediaError, match="none of"):
            ClipDataset([Drawn()], 32, frames=frames, source=source)
    with pytest.raises(ValueError, match="source is 'last'"):
        ClipDataset([Drawn()], 32, source="last")


def test_motion_leads_from_current_to_source_where_both_flows_agree() -> None:
    def flow(first: Tensor, second: Tensor) -> Tensor:
        """One pixel to the right and back, except in the upper half, where the backward flow is wrong."""
        sign = 1.0 if torch.equal(second[0], still["source"]) else -1.0
        shift = torch.zeros(1, 2, 32, 32)
        shift[:, 0] = sign
        shift[:, 0, :16] *= sign
        return shift

    still = ClipDataset([Drawn()], 32)[0]
    sample = ClipDataset([Drawn()], 32, flow=flow, motion=True)[0]
    assert torch.equal(sample["motion"][0], torch.ones(32, 32))
    assert not sample["motion_visible"][0, :16].any()
    assert sample["motion_visible"][0, 17:, 1:-1].all()
    with pytest.raises(ValueError, match="motion needs a flow"):
        ClipDataset([Drawn()], 32, motion=True)


def test_samples_are_a_function_of_seed_epoch_and_index() -> None:
    def drawn(seed: int, epoch: int, order: range) -> list[Tensor]:
        data = ClipDataset([Drawn(0), Drawn(1)], 32, samples_per_clip=4, augmentation=Augmentation(), seed=seed)
        data.set_epoch(epoch)
        found = {index: data[index]["current"] for index in order}
        return [found[index] for index in sorted(found)]

    first = drawn(0, 3, range(8))
    assert all(torch.equal(a, b) for a, b in zip(first, drawn(0, 3, range(7, -1, -1)), strict=True))
    for other in (drawn(1, 3, range(8)), drawn(0, 4, range(8))):
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_workers_change_nothing() -> None:
    data = SyntheticDataset(32, length=6, seed=1)
    alone = [batch["current"] for batch in DataLoader(data, batch_size=2)]
    shared = [batch["current"] for batch in DataLoader(data, batch_size=2, num_workers=2)]
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_flow_is_of_the_frames_before_augmentation_and_flipped_with_them() -> None:
    seen: list[Tensor] = []

    def flow(first: Tensor, second: Tensor) -> Tensor:
        seen.extend([first[0], second[0]])
        return torch.stack([first[:, 0], second[:, 0]], 1)  # x is the first image's red

    plain = ClipDataset([Drawn()], 32, flow=flow)[0]
    mirrored = ClipDataset([Drawn()], 32, flow=flow, augmentation=Augmentation(1.0, 0, 0, 0))[0]
    assert torch.equal(seen[0], plain["previous"])
    assert torch.equal(seen[0], seen[4])
    torch.testing.assert_close(mirrored["current"], plain["current"].flip(-1))
    torch.testing.assert_close(mirrored["flow"][0], -plain["flow"][0].flip(-1))
    torch.testing.assert_close(mirrored["flow"][1], plain["flow"][1].flip(-1))


def test_a_clip_that_does_not_decode_is_reported_once_and_replaced() -> None:
    data = ClipDataset([Drawn(0, broken=True), Drawn(1)], 32, samples_per_clip=2)
    with pytest.warns(UserWarning, match="'clip 0' is damaged") as warned:
        samples = [data[index] for index in range(4)]
    assert len(warned) == 1
    assert all(torch.equal(sample["source"], samples[1]["source"]) for sample in samples)


def test_no_clip_left_is_an_error() -> None:
    data = ClipDataset([Drawn(0, broken=True)], 32)
    words = "none of 8 draws of frames for sample 0 can be used"
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(MediaError, match=words):
        data[0]


@pytest.mark.parametrize("bad", [{"flip": 1.5}, {"contrast": 1.0}, {"brightness": -0.1}])
def test_nonsense_augmentation_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is"):
        Augmentation(**bad)


def test_colours_change_alike_in_all_frames() -> None:
    """A still clip stays still: equal frames remain equal."""
    frame = to_tensor(WalkingClip(0, (16, 16))[0])[0]
    sample = {"source": frame, "previous": frame, "current": frame}
    changed = Augmentation(0, 0.3, 0.3, 0.3)(sample, torch.Generator().manual_seed(1))
    assert torch.equal(changed["source"], changed["current"])
    assert not torch.equal(changed["source"], frame)
    unchanged = Augmentation(0, 0, 0, 0)(sample, torch.Generator().manual_seed(1))
    torch.testing.assert_close(unchanged["source"], frame)


def end_point_error(flow: Tensor, truth: Tensor, where: Tensor) -> float:
    return float((flow - truth).norm(dim=0, keepdim=True)[where > 0].mean())


@pytest.mark.parametrize("index", [0, 9, 17])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_truth_of_a_synthetic_sample_leads_each_pixel_to_itself(index: int, mirror: bool) -> None:
    sample = SyntheticDataset(96, seed=2)[index]
    sample = flipped(sample) if mirror else sample
    for flow, visible, start, end in (
        ("flow", "visible", "previous", "current"),
        ("motion", "motion_visible", "current", "source"),
    ):
        batch = default_collate([sample])
        loss = [
            ops.masked_backwarp_loss(batch[end], batch[start], used, batch[visible], padding_mode="valid")
            for used in (batch[flow], torch.zeros_like(batch[flow]))
        ]
        assert loss[0] < 0.6 * loss[1]
        assert 0.5 < sample[visible].mean() < 1


def test_the_background_moves_in_some_clips_only() -> None:
    moving = [bool(numbered_clip(0, number, 32).shift(1.0).any()) for number in range(20)]
    assert 3 < sum(moving) < 17
    assert not any(numbered_clip(0, number, 32, moving_background=0).shift(1.0).any() for number in range(20))


def test_anchors_lie_on_the_figure() -> None:
    clip = WalkingClip(1, (128, 128))
    middles = torch.from_numpy(clip.middles(1.0))
    x, y = (((middles + 1) * 64 - 0.5).round().long().T).unbind(0)
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 128)
    assert inside.sum() >= 10
    assert (clip.labels(1.0)[y[inside], x[inside]] > 0).all()


def test_dis_and_the_mask_of_the_extrinsic_scheme_against_the_truth() -> None:
    """DIS is closer to the true flow than no motion is, and even closer where the mask is 1."""
    errors, trusted, unmoved, hits, kept, visible = [], [], [], 0.0, 0.0, 0.0
    for index in (3, 12, 20, 28):
        sample = default_collate([SyntheticDataset(192, seed=0)[index]])
        forward = dis_flow(sample["previous"], sample["current"], preset="fine")
        backward = dis_flow(sample["current"], sample["previous"], preset="fine")
        mask = ops.flow_confidence(forward, backward)[0]
        flow, truth = forward[0], sample["flow"][0]
        errors.append(end_point_error(flow, truth, torch.ones_like(mask)))
        trusted.append(end_point_error(flow, truth, mask))
        unmoved.append(end_point_error(torch.zeros_like(flow), truth, torch.ones_like(mask)))
        hits += float((mask * sample["visible"][0]).sum())
        kept, visible = kept + float(mask.sum()), visible + float(sample["visible"].sum())
    assert sum(errors) < 0.8 * sum(unmoved)
    assert sum(trusted) < 0.7 * sum(errors)
    assert hits / kept > 0.95  # precision
    assert hits / visible > 0.7  # recall


def test_samples_that_follow_each_other_are_of_different_clips() -> None:
    clips = [clip_of(index) for index in range(2 * CLIPS_AT_ONCE * SAMPLES_PER_CLIP)]
    assert len(set(clips[:CLIPS_AT_ONCE])) == len(set(clips[5 : 5 + CLIPS_AT_ONCE])) == CLIPS_AT_ONCE
    assert all(clips.count(clip) == SAMPLES_PER_CLIP for clip in range(2 * CLIPS_AT_ONCE))


def test_a_drawn_source_is_the_first_frame_or_any() -> None:
    first = SyntheticDataset(16, length=8)[3]
    assert "by frame 0" in first["name"]
    assert torch.equal(first["source"], to_tensor(numbered_clip(0, clip_of(3), 16, moving_background=0.5)[0])[0])
    numbers = {SyntheticDataset(16, source="random")[index]["name"].split()[-1] for index in range(8)}
    assert len(numbers) > 4


def test_a_compact_sample_is_the_same_in_fewer_bytes() -> None:
    whole, compact = (SyntheticDataset(64, seed=3, compact=compact)[5] for compact in (False, True))
    assert compact.keys() == whole.keys()
    assert {compact[name].dtype for name in ("source", "motion", "visible")} == {torch.uint8, torch.float16, torch.bool}
    for name in compact.keys() - {"name"}:
        within = 1 / 30 if name in FLOWS else 0  # pixels
        assert whole[name].dtype == torch.float32
        torch.testing.assert_close(as_float(compact[name]), whole[name], atol=within, rtol=0)


def test_what_the_temporal_loss_alone_needs_can_be_left_out() -> None:
    whole, part = (SyntheticDataset(32, previous=previous)[5] for previous in (True, False))
    assert whole.keys() - part.keys() == {"previous", "flow", "flow_backward", "visible"}
    assert all(torch.equal(part[name], whole[name]) for name in part if name != "name")


@pytest.mark.parametrize("device", ["meta"])
def test_figures_are_drawn_on_the_cpu_whatever_the_default_device(device: str) -> None:
    expected = SyntheticDataset(32)[7]
    with torch.device(device):
        drawn = SyntheticDataset(32)[7]
    assert all(torch.equal(drawn[name], value) for name, value in expected.items() if name != "name")


def test_a_data_set_can_be_sent_to_a_worker() -> None:
    data = SyntheticDataset(16)
    data[0]
    assert torch.equal(pickle.loads(pickle.dumps(data))[3]["current"], data[3]["current"])


@pytest.mark.parametrize("bad", [{"size": 0}, {"size": 8, "min_seconds": 60}, {"size": 8, "moving_background": 2}])
def test_nonsense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"positive|is too short|a fraction"):
        SyntheticDataset(**bad)[0]


def test_synth_writes_what_it_says(tmp_path: Path) -> None:
    arguments = ["synth", "--videos", "3", "--size", "16", "--frames", "4", "--test", "0.34", "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == 0
    assert main([*arguments, str(tmp_path / "b")]) == 0
    assert [clip.name for clip in find_clips(tmp_path / "a")] == ["00000", "00001"]
    (held_out,) = find_clips(tmp_path / "b", "test")
    expected = list(numbered_clip(0, 2, 16, frames=4))
    assert all(np.array_equal(a, b) for a, b in zip(held_out.read(range(4)), expected, strict=True))
    assert main([*arguments, str(tmp_path / "a")]) == 2  # not empty
    assert main(["synth", "--size", "15", "--out", str(tmp_path / "c")]) == 2


@pytest.mark.parametrize("missing", ["av", "tqdm"])
def test_synth_names_a_missing_package_before_any_work(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing] + [missing]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["synth", "--out", str(tmp_path / "drawn")]) == 2
    assert f"needs the Python package '{missing}'" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--videos=0", "expected at least 1, got 0"),
        ("--frames=-5", "expected at least 1, got -5"),
        ("--fps=0", "expected a number above 0, got '0'"),
        ("--fps=nan", "expected a number above 0, got 'nan'"),
        ("--test=2", "expected a fraction, 0 to 1, got '2'"),
        ("--moving-background=x", "expected a fraction, 0 to 1, got 'x'"),
        ("--seed=-1", "expected at least 0, got -1"),
    ],
)
def test_numbers_that_cannot_be_are_named(
    argument: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["synth", argument, "--out", str(tmp_path / "drawn")])
    assert f"{argument.partition('=')[0]}: {words}" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()
