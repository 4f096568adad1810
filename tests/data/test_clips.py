"""Clips on disk: which are found, and that the right frames are read."""

from pathlib import Path

import av
import numpy as np
import pytest

from internet.data import video, video_index
from internet.data.clip import FrameFolder, VideoClip
from internet.data.clip_search import find_clips, usable_clips
from internet.data.frame_sampler import FrameSampler
from internet.data.image import MediaError
from internet.data.synthetic import WalkingClip
from internet.data.video_writer import write_video
from tests.support.clips import write_image

FRAMES = list(WalkingClip(0, (32, 48), frames=30))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    write_video(path, FRAMES, fps=10, lossless=True)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures 0.png to 11.png: in the order of their names 10 would come before 2."""
    path = tmp_path_factory.mktemp("frames") / "walk"
    path.mkdir()
    for number, frame in enumerate(FRAMES[:12]):
        write_image(path / f"{number}.png", frame)
    (path / "notes.txt").write_text("no picture")
    return path


@pytest.mark.parametrize("numbers", [[0], [29], [0, 28, 29], [29, 0, 15, 15], list(range(30))])
def test_frames_of_a_video_are_those_asked_for(walk: Path, numbers: list[int]) -> None:
    read = VideoClip(walk).read(numbers)
    assert all(np.array_equal(frame, FRAMES[number]) for frame, number in zip(read, numbers, strict=True))


def test_times_of_a_video(walk: Path) -> None:
    assert VideoClip(walk).times == pytest.approx([number / 10 for number in range(30)])


def test_a_late_pair_is_read_without_decoding_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the preceding key frame: FFmpeg's encoder makes one at least every 250 frames; here every 8."""
    from tests.support.clips import write_video as with_key_frames

    path = with_key_frames(tmp_path / "long.mp4", list(WalkingClip(0, (16, 16), frames=200)), fps=25)
    clip = VideoClip(path)
    assert len(clip.times) == 200
    decoded: list[int] = []
    monkeypatch.setattr(video, "decode_from", lambda *key: (seen(frame) for frame in video_index.decode_from(*key)))

    def seen(frame: av.VideoFrame) -> av.VideoFrame:
        decoded.append(frame.pts)
        return frame

    clip.read([150, 151])
    assert len(decoded) <= 8


def test_no_such_frame(walk: Path) -> None:
    with pytest.raises(MediaError, match="has 30 frames; it has no frame 30"):
        VideoClip(walk).read([30])


def test_a_folder_of_frames_in_the_order_of_its_numbers(folder: Path) -> None:
    clip = FrameFolder(folder, fps=5)
    assert clip.times == pytest.approx([number / 5 for number in range(12)])
    assert all(np.array_equal(a, b) for a, b in zip(clip.read([2, 10]), [FRAMES[2], FRAMES[10]], strict=True))


def names(root: Path, split: str = "train") -> list[str]:
    return [clip.name for clip in find_clips(root, split)]


def data_set(root: Path, *entries: str) -> Path:
    for entry in entries:
        (root / entry).parent.mkdir(parents=True, exist_ok=True)
        (root / entry).write_bytes(b"")
    return root


def test_one_video_and_one_folder_of_frames_are_data_sets(walk: Path, folder: Path) -> None:
    assert names(walk) == names(folder) == ["walk"]
    with pytest.raises(MediaError, match="no clip for the split 'test'"):
        find_clips(walk, "test")


def test_without_lists_and_folders_everything_is_for_training(tmp_path: Path) -> None:
    data_set(tmp_path, "b10.mp4", "b9.mp4", "frames/0.png", "readme.txt", ".hidden.mp4")
    with pytest.warns(UserWarning, match=r"1 that are not clips were left out: readme\.txt"):
        assert names(tmp_path) == ["b9", "b10", "frames"]


def test_folders_of_splits(tmp_path: Path) -> None:
    data_set(tmp_path, "train/a.mp4", "train/b/0.jpg", "test/c.mp4", "other.mp4")
    assert names(tmp_path) == ["a", "b"]
    assert names(tmp_path, "test") == ["c"]


def test_lists_come_before_folders(tmp_path: Path) -> None:
    data_set(tmp_path, "train/a.mp4", "train/b.mp4", "x/c.mp4")
    (tmp_path / "train.txt").write_text("# chosen\ntrain/b.mp4\n\nx/c.mp4  # late\n")
    assert names(tmp_path) == ["b", "c"]


def test_a_list_that_names_nothing_real_says_where(tmp_path: Path) -> None:
    data_set(tmp_path, "a.mp4")
    (tmp_path / "train.txt").write_text("a.mp4\nb.mp4\n")
    with pytest.raises(MediaError, match=r"train.txt', line 2: 'b.mp4' does not exist"):
        find_clips(tmp_path)


def test_places_without_clips(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no clip"):
        find_clips(tmp_path)
    with pytest.raises(MediaError, match="does not exist"):
        find_clips(tmp_path / "none")
    with pytest.raises(ValueError, match="split is 'validation'"):
        find_clips(tmp_path, "validation")


def test_short_and_broken_clips_are_reported_once_and_skipped(walk: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    write_video(tmp_path / "short.mp4", FRAMES[:5], fps=10)
    clips = [VideoClip(walk), VideoClip(tmp_path / "broken.mp4"), VideoClip(tmp_path / "short.mp4")]
    with pytest.warns(UserWarning, match="skipped") as warned:
        assert usable_clips(clips, FrameSampler(2.0)) == clips[:1]
    messages = [str(warning.message) for warning in warned]
    assert len(messages) == 2
    assert "broken.mp4" in messages[0]
    assert "'short' has 5 frames in 0.40 s" in messages[1]


def test_no_usable_clip_is_an_error(walk: Path) -> None:
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(MediaError, match="none of the 1 clips"):
        usable_clips([VideoClip(walk)], FrameSampler(60.0))
