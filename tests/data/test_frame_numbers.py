"""A frame read by its number is the one that decoding from the start gives, in any file and however it was cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from internet.data.clip_search import find_clips
from internet.data.dataset import ClipDataset
from internet.data.image import MediaError
from internet.data.video import iter_frames, probe, read_frames, read_indexed
from internet.data.video_index import index_video
from tests.support.media import break_off, encode, pictures, remux

OPEN_GROUPS = {"g": "15", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def in_order(path: Path) -> list[np.ndarray]:
    """The frames that a player shows, up to where the video breaks off."""
    frames = []
    try:
        for frame in iter_frames(path):
            frames.append(frame)
    except MediaError:
        assert frames
    return frames


def assert_numbered_as_decoded(path: Path, count: int | None = None, sample: int = 1, *, broken: bool = False) -> None:
    """Each frame alone, and several at once out of order; `count` is how many there must be.

    The last frame of a broken file may be incomplete, which decoders conceal with earlier content.
    """
    frames, index = in_order(path), index_video(path)
    assert len(index.seconds) == len(frames) == (len(frames) if count is None else count)
    assert list(index.seconds) == sorted(set(index.seconds))
    assert index.seconds[0] == 0
    last = max(0, len(frames) - (2 if broken else 1))
    for number in [*range(0, last, sample), *[last][: len(frames) > broken]]:
        assert np.array_equal(read_indexed(path, index, [number])[0], frames[number]), number
    several = [last, 0, last // 2, last // 2] if last else []
    assert all(np.array_equal(a, frames[n]) for a, n in zip(read_frames(path, several), several, strict=True))


CODECS = {
    "libx264": (".mp4", ".mov", ".mkv", ".ts", ".avi", ".flv", ".3gp", ".asf", ".mxf", ".m4v", ".nut", ".h264", ".mpg"),
    "libx265": (".mp4", ".mkv", ".ts", ".hevc"),
    "libvpx": (".webm", ".mkv", ".ivf"),
    "libvpx-vp9": (".webm", ".mp4"),
    "libsvtav1": (".mp4", ".mkv", ".webm", ".obu"),
    "mpeg4": (".mp4", ".avi", ".mkv", ".mpg", ".ts"),
    "mpeg2video": (".mpg", ".ts", ".vob", ".mp4", ".mkv", ".mxf"),
    "mpeg1video": (".mpg", ".avi"),
    "h263p": (".avi",),
    "wmv2": (".wmv", ".avi"),
    "flv": (".flv",),
    "mjpeg": (".avi", ".mov", ".mkv"),
    "ffv1": (".mkv", ".avi"),
    "gif": (".gif",),
    "apng": (".apng",),
    "qtrle": (".mov",),
    "prores": (".mov",),
    "snow": (".avi", ".nut"),
}
PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24", "qtrle": "rgb24", "prores": "yuv422p10le"}


@pytest.mark.parametrize(("codec", "suffix"), [(codec, suffix) for codec, all in CODECS.items() for suffix in all])
def test_every_codec_and_container(codec: str, suffix: str, tmp_path: Path) -> None:
    options = {"g": "12", "preset": "12"} if codec == "libsvtav1" else {"g": "12"}
    path = encode(tmp_path / f"a{suffix}", pictures(40), codec, options=options, pixels=PIXELS.get(codec, "yuv420p"))
    assert_numbered_as_decoded(path, 40, sample=3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_x265_as_it_comes(suffix: str, tmp_path: Path) -> None:
    """The encoder's default is open groups of up to 250 pictures."""
    path = encode(tmp_path / f"a{suffix}", pictures(300), "libx265", options={"x265-params": "log-level=none"})
    frames, index = in_order(path), index_video(path)
    numbers = [*range(240, 262), 0, 299]
    assert len(index.seconds) == 300
    assert all(np.array_equal(read_indexed(path, index, [number])[0], frames[number]) for number in numbers)


@pytest.mark.parametrize("container", [FRAGMENTS, {"movflags": "frag_every_frame+empty_moov"}, {"movflags": "dash"}])
@pytest.mark.parametrize("options", [{"g": "15"}, OPEN_GROUPS])
def test_fragments(options: dict[str, str], container: dict[str, str], tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pictures(50), options=options, container=container)
    assert_numbered_as_decoded(path, 50, sample=2)


def test_gradual_refresh(tmp_path: Path) -> None:
    """There are no key frames: a decoder needs several frames until its output is complete."""
    options = {"g": "20", "x264-params": "intra-refresh=1"}
    assert_numbered_as_decoded(encode(tmp_path / "a.mp4", pictures(60), options=options), 60, sample=2)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv"])
@pytest.mark.parametrize("options", [{"g": "15"}, OPEN_GROUPS], ids=["closed", "open"])
@pytest.mark.parametrize("skip", [1, 4, 15, 16, 18, 33])
def test_cut_between_packets(skip: int, options: dict[str, str], suffix: str, tmp_path: Path) -> None:
    """The references of the first frames are missing: these are neither shown nor counted."""
    whole = encode(tmp_path / f"whole{'.ts' if suffix == '.ts' else '.mp4'}", pictures(50), options=options)
    path = remux(whole, tmp_path / f"cut{suffix}", skip=skip)
    assert 0 < probe(path).frames <= 50 - skip
    assert_numbered_as_decoded(path, sample=3)


@pytest.mark.parametrize("shift", [-0.4, -1.2])
def test_frames_that_an_edit_list_hides(shift: float, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", pictures(60), options={"g": "250"})
    path = remux(whole, tmp_path / "cut.mp4", seconds=shift)
    assert_numbered_as_decoded(path, 60 + round(25 * shift))
    expected = in_order(whole)[-round(25 * shift) :]
    assert all(np.array_equal(a, b) for a, b in zip(in_order(path), expected, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
def test_a_late_start(suffix: str, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", pictures(40), options={"g": "12"})
    assert_numbered_as_decoded(remux(whole, tmp_path / f"late{suffix}", seconds=7), 40, sample=3)


@pytest.mark.parametrize("fraction", [0.4, 0.75, 0.95])
@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mp4", "libx264", FRAGMENTS),
        ("a.mp4", "mpeg4", {"movflags": "faststart"}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.ts", "libx264", {}),
        ("a.mpg", "mpeg2video", {}),
        ("a.avi", "mpeg4", {}),
        ("a.flv", "libx264", {}),
        ("a.gif", "gif", {}),
    ],
)
def test_a_file_that_breaks_off(
    name: str, codec: str, container: dict[str, str], fraction: float, tmp_path: Path
) -> None:
    whole = encode(
        tmp_path / name,
        pictures(60),
        codec,
        options={"g": "12"},
        container=container,
        pixels=PIXELS.get(codec, "yuv420p"),
    )
    path = break_off(whole, fraction)
    assert_numbered_as_decoded(path, sample=4, broken=True)
    assert probe(path).frames <= 60


def test_a_file_without_a_frame_that_can_be_shown(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", pictures(30), options={"g": "250"})
    path = remux(whole, tmp_path / "cut.mp4", skip=5)
    for read in (probe, index_video, lambda path: read_frames(path, [0])):
        with pytest.raises(MediaError, match=r"cut\.mp4' has no frame that can be shown"):
            read(path)


def test_a_cut_clip_trains(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    whole = encode(tmp_path / "whole.mp4", pictures(80), options={"g": "30"})
    for name, make in {
        "hidden.mp4": lambda path: remux(whole, path, seconds=-0.4),
        "cut.ts": lambda path: remux(whole, path, skip=20),
        "broken.mp4": lambda path: break_off(remux(whole, path, container={"movflags": "faststart"}), 0.8),
    }.items():
        (tmp_path / name[:3]).mkdir()
        make(tmp_path / name[:3] / name)
        data = ClipDataset(find_clips(tmp_path / name[:3]), 32, min_seconds=0.5, samples_per_clip=20)
        assert {tuple(sample["current"].shape) for sample in data} == {(3, 32, 32)}
    assert not recwarn.list


def test_reading_late_frames_decodes_one_group_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", pictures(200), options={"g": "10"})
    index, fed = index_video(path), 0
    from internet.data import container

    original: Callable = container.decode

    def counted(packets):
        nonlocal fed

        def count(packets):
            nonlocal fed
            for packet in packets:
                fed += 1
                yield packet

        return original(count(packets))

    monkeypatch.setattr("internet.data.video_index.decode", counted)
    monkeypatch.setattr("internet.data.video.decode", counted)
    read_indexed(path, index, [195, 196])
    assert 0 < fed <= 20
