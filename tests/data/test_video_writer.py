"""Videos are written completely or not at all."""

from pathlib import Path

import numpy as np
import pytest

from internet.data.synthetic import WalkingClip
from internet.data.video import iter_frames, probe
from internet.data.video_writer import video_writer, write_video
from internet.utils.files import OutputError

FRAMES = list(WalkingClip(0, (48, 64), frames=7))


def test_lossless_frames_come_back_exactly(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", FRAMES, fps=12.5, lossless=True)
    assert all(np.array_equal(a, b) for a, b in zip(iter_frames(tmp_path / "a.mp4"), FRAMES, strict=True))
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(12.5)


def test_the_usual_video_is_close(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", FRAMES, fps=25)
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(iter_frames(tmp_path / "a.mp4"), FRAMES, strict=True)]
    assert max(errors) < 8  # of 255: half of the colour resolution is lost
    assert (tmp_path / "a.mp4").stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_is_interrupted_leaves_the_old_video(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def write() -> None:
        with video_writer(path, fps=25) as video:
            video.write(FRAMES[0])
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one frame"),
        ([np.zeros((48, 64, 3))], "expected a uint8"),
        ([np.zeros((48, 64), np.uint8)], "expected a uint8"),
        ([FRAMES[0], FRAMES[1][:46]], r"a frame is \(46, 64\), those before it are \(48, 64\)"),
        ([np.zeros((47, 64, 3), np.uint8)], "47x64; .* even sides"),
    ],
)
def test_wrong_frames_are_refused(tmp_path: Path, frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, fps=25)
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_is_no_video_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no format for H.264 video has the suffix '\.xyz'"):
        write_video(tmp_path / "a.xyz", FRAMES, fps=25)
    with pytest.raises(OutputError, match="cannot write in the folder"):
        write_video(tmp_path / "none" / "a.mp4", FRAMES, fps=25)
