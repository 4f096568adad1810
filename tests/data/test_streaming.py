"""Frames are streamed with their times, and sound is copied in sync."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from internet.data.audio import open_audio
from internet.data.container import open_video
from internet.data.image import MediaError
from internet.data.streaming import stream_frames
from internet.data.synthetic import WalkingClip
from internet.data.video import index_video, iter_frames, read_frames, read_indexed
from internet.data.video_writer import video_writer
from tests.support.clips import heard, shown, write_sound, write_talkie, write_video

FRAMES = list(WalkingClip(0, (32, 48), frames=20))
IRREGULAR = [0, 33, 40, 100, 180, 181, 250, 300, 420, 430, 470, 500, 540, 560, 600, 640, 680, 690, 700, 780]


def copy(source: Path, out: Path, start: int = 0, stop: int | None = None, audio: bool = False) -> None:
    with stream_frames(source, start, stop) as frames:
        options = {"fps": frames.fps, "clock": frames.clock}
        if not audio:
            with video_writer(out, **options) as video:
                for stamp, frame in frames:
                    video.write(frame, stamp)
            return
        with open_audio(source, frames.origin) as track, video_writer(out, **options, audio=track) as video:
            for stamp, frame in frames:
                video.write(frame, stamp)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (3, 9), (19, None), (5, 99)])
def test_the_frames_asked_for_are_streamed(tmp_path, start, stop):
    path = write_video(tmp_path / "a.mp4", FRAMES)
    with stream_frames(path, start, stop) as frames:
        stamps, images = zip(*frames, strict=True)
        assert frames.fps == 25
        assert frames.origin == Fraction(start, 25)
        assert [stamp * frames.clock for stamp in stamps] == [Fraction(number, 25) for number in range(len(images))]
    assert all(np.array_equal(one, other) for one, other in zip(images, FRAMES[start:stop], strict=True))


def test_frames_are_decoded_as_they_are_asked_for(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", FRAMES)
    made: list[int] = []
    monkeypatch.setattr("internet.data.streaming.displayed", lambda frame, *_: made.append(frame.pts))
    with stream_frames(path, 2) as frames:
        assert made == []  # nor are earlier frames converted to arrays
        iterator = iter(frames)
        for number in range(3):
            next(iterator)
            assert len(made) == number + 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("start", [0, 4])
def test_irregular_times_are_kept(tmp_path, suffix, start):
    path = write_talkie(tmp_path / "a.mkv", FRAMES, IRREGULAR)
    copy(path, tmp_path / f"b{suffix}", start)
    expected = [(stamp - IRREGULAR[start]) / 1000 for stamp in IRREGULAR[start:]]
    assert shown(tmp_path / f"b{suffix}") == pytest.approx(expected, abs=1e-6)


def test_the_frame_rate_is_kept_exactly(tmp_path):
    with video_writer(tmp_path / "a.mp4", fps=30000 / 1001) as video:
        for frame in FRAMES:
            video.write(frame)
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    with open_video(tmp_path / "b.mp4") as (_, stream):
        assert stream.average_rate == Fraction(30000, 1001)


def test_avi_has_a_rate_and_no_times(tmp_path):
    """Its demuxer numbers the packets in file order, which is not the order of the frames."""
    path = write_talkie(tmp_path / "a.avi", FRAMES, codec="pcm_s16le")
    with stream_frames(path, 2) as frames:
        assert [stamp for stamp, _ in frames] == list(range(18))
        assert (frames.clock, frames.origin) == (Fraction(1, 25), Fraction(2, 25))
    index = index_video(path)
    in_order = list(iter_frames(path))
    picked = read_indexed(path, index, range(20))
    assert all(np.array_equal(one, other) for one, other in zip(picked, in_order, strict=True))


class Packet:
    """A packet as from the decoder of a damaged file."""

    def __init__(self, pts: int | None) -> None:
        self.pts = pts


def test_times_that_go_back_or_are_missing_still_ascend(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", FRAMES)
    monkeypatch.setattr("internet.data.streaming.displayed", lambda *_: FRAMES[0])
    with stream_frames(path) as frames:
        frames._first = Packet(7)
        frames._frames = iter([Packet(9), Packet(8), Packet(None), Packet(20)])
        assert [stamp for stamp, _ in frames] == [0, 2, 3, 4, 13]


def test_frames_that_are_not_there(tmp_path):
    path = write_video(tmp_path / "a.mp4", FRAMES[:4])
    with pytest.raises(MediaError, match=r"a\.mp4' has no frame 4"), stream_frames(path, 4):
        pass
    for start, stop in ((2, 2), (-1, 2)):
        with pytest.raises(ValueError, match="expected 0 <= start < stop"), stream_frames(path, start, stop):
            pass


@pytest.mark.parametrize(("start", "stop"), [(0, None), (7, 15)])
def test_sound_is_copied_in_step(tmp_path, start, stop):
    """Each audio sample is played with its frame: `offset` later in the original."""
    path = write_talkie(tmp_path / "a.mp4", FRAMES)
    copy(path, tmp_path / "b.mp4", start, stop, audio=True)
    (_, original), (begin, copied) = heard(path), heard(tmp_path / "b.mp4")
    assert begin == 0
    length = 1920 * len(FRAMES[start:stop])
    assert length <= len(copied) < length + 1024
    inside = slice(2048, length - 1024)  # without the decoder's start and end
    offset = 1920 * start
    np.testing.assert_allclose(copied[inside], original[offset:][inside], atol=1e-4)


def test_sound_lies_beside_the_picture(tmp_path):
    """A player on a network must not have to read all pictures before the first sound."""
    path = write_talkie(tmp_path / "a.mp4", FRAMES * 5)
    copy(path, tmp_path / "b.mp4", audio=True)
    with open_video(tmp_path / "b.mp4") as (container, _):
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    changes = sum(one != other for one, other in pairwise(kinds))
    assert changes > 100


def test_sound_that_is_missing_or_does_not_fit(tmp_path):
    silent = write_video(tmp_path / "a.mp4", FRAMES)
    with pytest.raises(MediaError, match=r"a\.mp4' has no audio track"), open_audio(silent):
        pass
    with pytest.raises(MediaError, match="does not exist"), open_audio(tmp_path / "none.mp4"):
        pass
    flac = write_talkie(tmp_path / "a.mkv", FRAMES, codec="flac")
    with pytest.raises(ValueError, match=r"ends in '\.mov' cannot hold this audio \(flac\); .*\.mkv can"):
        copy(flac, tmp_path / "b.mov", audio=True)
    copy(flac, tmp_path / "b.mkv", audio=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.mkv", "a.mp4", "b.mkv"]


def test_a_file_without_pictures(tmp_path):
    with pytest.raises(MediaError, match="has no video track"), stream_frames(write_sound(tmp_path / "a.wav")):
        pass
    path = write_talkie(tmp_path / "a.mp4", FRAMES)
    assert len(read_frames(path, [0, -1])) == 2
