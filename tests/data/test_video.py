"""Reading frames, reading and writing pictures: exact pixels, and a clear message for every bad file."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from internet.data.image import MediaError, read_image, square, to_array, to_tensor
from internet.data.synthetic import WalkingClip
from internet.data.video import VideoInfo, choose_pair, iter_frames, probe, read_frames
from internet.utils.optional import MissingExtraError
from tests.support.clips import turn_clockwise, write_image, write_sound, write_video

FRAMES = list(WalkingClip(0, (48, 64), frames=20))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", FRAMES)


def test_probe_counts_frames(video):
    assert probe(video) == VideoInfo(width=64, height=48, fps=25.0, frames=20)


def test_frames_by_number_in_any_order(video):
    for number, frame in zip((13, 2, 2, -1), read_frames(video, (13, 2, 2, -1)), strict=True):
        assert np.array_equal(frame, FRAMES[number])
    assert read_frames(video, ()) == []


def test_frames_one_after_another(video):
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(iter_frames(video), FRAMES, strict=True))


def test_a_sideways_video_is_turned_upright(tmp_path):
    path = turn_clockwise(write_video(tmp_path / "phone.mp4", FRAMES[:2]))
    upright = next(iter_frames(path))
    assert np.array_equal(upright, np.rot90(FRAMES[0], -1))


def test_a_frame_that_is_not_there(video):
    with pytest.raises(MediaError, match="has 20 frames; it has no frame 20"):
        read_frames(video, (3, 20))
    with pytest.raises(MediaError, match="no frame -1"):
        read_frames(video, (-21,))


def bad_files(folder: Path) -> dict[str, Path]:
    """Files that are not videos, with the words that their error must contain."""
    noise, cut = folder / "noise.mp4", folder / "cut.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    whole = write_video(folder / "whole.mp4", FRAMES)
    cut.write_bytes(whole.read_bytes()[:300])
    empty = folder / "empty.mp4"
    empty.touch()
    return {
        "does not exist": folder / "absent.mp4",
        "is a folder, not a video": folder,
        "cannot be decoded": noise,
        "cut.mp4' cannot be decoded": cut,
        "empty.mp4' cannot be decoded": empty,
        "has no video track": write_sound(folder / "sound.wav"),
    }


@pytest.mark.parametrize("read", [probe, lambda path: read_frames(path, (0,)), lambda path: next(iter_frames(path))])
def test_bad_videos(tmp_path, read):
    for words, path in bad_files(tmp_path).items():
        with pytest.raises(MediaError, match=words):
            read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret.mp4"
    path.touch(mode=0)
    with pytest.raises(MediaError, match="permission denied"):
        probe(path)


def test_without_pyav_the_extra_is_named(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"reading a video needs .*'av'.*pip install 'internet-ops\[video\]'"):
        probe(video)


@pytest.mark.parametrize(
    ("fps", "frames", "asked", "gap", "pair"),
    [
        (60, 100, None, None, (46, 52)),  # a tenth of a second, in the middle
        (25, 60, None, None, (28, 30)),
        (25, 2, None, None, (0, 1)),
        (240, 10, None, None, (0, 9)),  # shorter than a tenth of a second
        (1, 10, None, None, (4, 5)),
        (25, 60, None, 59, (0, 59)),
        (25, 60, (40, 3), None, (40, 3)),
    ],
)
def test_which_pair_is_taken(fps, frames, asked, gap, pair):
    assert choose_pair(VideoInfo(8, 8, fps, frames), asked, gap) == pair


@pytest.mark.parametrize(
    ("frames", "asked", "gap", "words"),
    [
        (0, None, None, "has 0 frame"),
        (1, None, None, "two are needed"),
        (9, (0, 9), None, "frames 0 to 8; it has no frame 9"),
        (9, (4, 4), None, "asked for twice"),
        (9, None, 9, "cannot be 9 apart"),
        (9, None, 0, "cannot be 0 apart"),
    ],
)
def test_pairs_that_cannot_be(frames, asked, gap, words):
    with pytest.raises(MediaError, match=words):
        choose_pair(VideoInfo(8, 8, 25, frames), asked, gap)


def test_pictures_are_read_as_they_are(tmp_path):
    assert np.array_equal(read_image(write_image(tmp_path / "a.png", FRAMES[0])), FRAMES[0])
    assert np.abs(read_image(write_image(tmp_path / "a.jpg", FRAMES[0])).astype(int) - FRAMES[0]).mean() < 6


def test_grey_and_transparent_pictures(tmp_path):
    grey, clear = tmp_path / "grey.png", tmp_path / "clear.png"
    cv2.imwrite(str(grey), FRAMES[0][..., 0])
    cv2.imwrite(str(clear), np.concatenate([FRAMES[0][..., ::-1], FRAMES[1][..., :1]], -1))
    assert np.array_equal(read_image(grey), FRAMES[0][..., :1].repeat(3, -1))
    opacity = FRAMES[1][..., :1] / 255
    for background in ((255, 255, 255), (0, 128, 255)):
        expected = FRAMES[0] * opacity + np.array(background) * (1 - opacity)
        np.testing.assert_allclose(read_image(clear, background), expected, atol=0.51)


def test_bad_pictures(tmp_path):
    (tmp_path / "noise.png").write_bytes(b"not a picture")
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediaError, match=r"picture '.*absent.png' does not exist"):
        read_image(tmp_path / "absent.png")
    for name in ("noise.png", "empty.png"):
        with pytest.raises(MediaError, match=f"{name}' is not a picture"):
            read_image(tmp_path / name)


def test_tensors_and_arrays():
    tensor = to_tensor(FRAMES[0])
    assert tensor.shape == (1, 3, 48, 64)
    assert tensor.is_contiguous()
    assert 0 <= tensor.min() < tensor.max() <= 1
    assert np.array_equal(to_array(tensor), FRAMES[0])
    assert np.array_equal(to_array(tensor[0].double()), FRAMES[0])
    assert to_array(torch.tensor([-1.0, 0.5, 7.0]).reshape(1, 3, 1, 1)).tolist() == [[[0, 128, 255]]]
    with pytest.raises(ValueError, match=r"got float64 \(48, 64, 3\)"):
        to_tensor(FRAMES[0] / 255)
    with pytest.raises(ValueError, match=r"got \(2, 3, 48, 64\)"):
        to_array(tensor.expand(2, -1, -1, -1))


def test_squares_are_central_and_antialiased():
    image = torch.zeros(1, 3, 64, 128)
    image[..., 32:96] = (torch.arange(64) % 2).float()  # stripes one pixel wide in the central square only
    assert torch.equal(square(image, 64), image[..., 32:96])
    assert torch.allclose(square(image, 16)[..., 2:-2], torch.tensor(0.5), atol=0.1)  # no aliasing to 0 or 1
    assert square(image, 128).shape == (1, 3, 128, 128)
