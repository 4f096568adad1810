"""Which clips are found in realistic folders: stray pictures, nested folders, odd names, lists from anywhere."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from internet.data.clip import FrameFolder
from internet.data.clip_search import find_clips
from internet.data.image import MediaError
from tests.support.clips import write_image
from tests.support.media import encode, pictures


def place(root: Path, *names: str) -> Path:
    """Empty files: a common suffix is trusted until the file is opened."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path, split: str = "train") -> tuple[list[str], str]:
    """The names of clips, and the one warning."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        names = [clip.name for clip in find_clips(root, split)]
    assert len(told) <= 1
    return names, str(told[0].message) if told else ""


@pytest.mark.parametrize("stray", ["cover.jpg", "preview.PNG", "a.webp", "0001.png"])
def test_a_picture_beside_videos_is_left_out_and_named(stray: str, tmp_path: Path) -> None:
    place(tmp_path, "a.mp4", "b.mp4", stray)
    names, told = found(tmp_path)
    assert names == ["a", "b"]
    assert told.endswith(f"1 that are not clips were left out: {stray}")


def test_a_picture_beside_folders_of_splits(tmp_path: Path) -> None:
    place(tmp_path, "preview.png", "train/a.mp4", "train/cover.png", "test/b.mp4")
    assert found(tmp_path)[0] == ["a"]
    assert found(tmp_path, "test") == (["b"], "")


def test_a_picture_beside_folders_of_frames(tmp_path: Path) -> None:
    place(tmp_path, "preview.png", "walk/0.png", "walk/1.png", "run/0.png")
    names, told = found(tmp_path)
    assert names == ["run", "walk"]
    assert "preview.png" in told


SYSTEM = (
    "._a.mp4", "._cover.png", ".DS_Store", ".hidden/x.mp4", "Thumbs.db", "desktop.ini", "@eaDir/a.mp4/thumb.jpg",
    "__MACOSX/._a.mp4", "System Volume Information/x.mp4", "$RECYCLE.BIN/old.mp4", "lost+found/x.png",
)  # fmt: skip


@pytest.mark.parametrize("system", SYSTEM)
def test_what_systems_put_into_folders_is_passed_over(system: str, tmp_path: Path) -> None:
    place(tmp_path, "a.mp4", system)
    assert found(tmp_path) == (["a"], "")
    place(tmp_path / "frames", "0.png", "1.png", system)
    assert len(FrameFolder(tmp_path / "frames").times) == 2


def test_folders_may_be_nested(tmp_path: Path) -> None:
    place(tmp_path, "train/anna/walk.mp4", "train/anna/2/run.mp4", "train/bo/frames/0.png", "train/bo/frames/1.png")
    place(tmp_path, "train/c.mp4", "test/anna/x.mp4")
    assert found(tmp_path)[0] == ["anna/2/run", "anna/walk", "bo/frames", "c"]
    assert found(tmp_path, "test")[0] == ["anna/x"]


def test_a_link_round_in_circles(tmp_path: Path) -> None:
    place(tmp_path, "anna/a.mp4")
    (tmp_path / "anna" / "back").symlink_to(tmp_path)
    (tmp_path / "anna" / "nowhere").symlink_to(tmp_path / "none")
    names, told = found(tmp_path)
    assert names == ["anna/a"]
    assert "anna/nowhere" in told


@pytest.mark.parametrize("name", ["Train", "TRAIN"])
def test_capitals_do_not_hide_a_split(name: str, tmp_path: Path) -> None:
    place(tmp_path, f"{name}/a.mp4", "Test/b.mp4")
    assert found(tmp_path) == (["a"], "")
    assert found(tmp_path, "test") == (["b"], "")
    (tmp_path / f"{name}.TXT").write_text("Test/b.mp4\n")
    assert found(tmp_path) == (["b"], "")


CONTENTS = {
    "a.ts": ("libx264", None), "a.MTS": ("libx264", "mpegts"), "a.mpg": ("mpeg2video", None),
    "a.wmv": ("wmv2", None), "a.flv": ("flv", None), "a.3gp": ("h263", None), "a.MP4": ("libx264", "mp4"),
    "a.ogv": ("libx264", "matroska"), "a": ("libx264", "mp4"), "a.dat": ("mpeg4", "avi"), "a.part": ("libvpx", "webm"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_a_video_is_found_whatever_its_name(name: str, tmp_path: Path) -> None:
    codec, form = CONTENTS[name]
    frames = [picture[:48] for picture in pictures(4)] if codec != "h263" else [np.zeros((144, 176, 3), np.uint8)] * 4
    encode(tmp_path / name, frames, codec, form=form)
    (clip,) = find_clips(tmp_path)
    assert len(clip.times) == 4
    assert len(find_clips(tmp_path / name)) == 1


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2", ".PNG", ".ppm", ""])
def test_pictures_are_found_whatever_their_names(suffix: str, tmp_path: Path) -> None:
    for number, picture in enumerate(pictures(3)):
        written = write_image(tmp_path / f"{number}{suffix.lower() or '.png'}", picture)
        written.rename(tmp_path / f"{number}{suffix}")
    (clip,) = find_clips(tmp_path)
    np.testing.assert_allclose(clip.read([2])[0].astype(int), list(pictures(3))[2], atol=90 if suffix == ".jp2" else 0)


def test_what_is_neither_is_left_out_and_counted(tmp_path: Path) -> None:
    place(tmp_path, "a.mp4", *(f"{number}.json" for number in range(9)))
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(3000))
    (tmp_path / "code.ts").write_text("export const answer: number = 42;\n" * 50)
    (tmp_path / "list").write_text("ffconcat version 1.0\nfile a.mp4\n")
    (tmp_path / "play").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    os.mkfifo(tmp_path / "pipe")
    names, told = found(tmp_path)
    assert names == ["a"]
    assert "14 that are not clips were left out: 0.json, 1.json, 2.json, 3.json, 4.json and 9 more" in told


def test_names_with_odd_digits(tmp_path: Path) -> None:
    place(tmp_path, "10m²3.png", "5²5.png", "²1.png", "٣.png", "9.png", "10.png")
    assert [path.name for path in FrameFolder(tmp_path)._pictures][1:4] == ["5²5.png", "9.png", "10.png"]


# Lists


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_as_editors_save_them(encoding: str, end: str, tmp_path: Path) -> None:
    place(tmp_path, "größe.mp4", "b/c.mp4")
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    (tmp_path / "train.txt").write_bytes((mark + end.join(["größe.mp4", "", "b\\c.mp4", ""])).encode(encoding))
    assert found(tmp_path)[0] == ["größe", "c"]


def test_a_list_that_is_not_unicode_says_where(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("a.mp4\ngröße.mp4\n".encode("latin-1"))
    place(tmp_path, "a.mp4")
    with pytest.raises(MediaError, match=r"train\.txt' is not UTF-8 text \(line 2\): save it as UTF-8"):
        find_clips(tmp_path)


@pytest.mark.parametrize("name", ["take #1.mp4", "#2.mp4", " spaces .mp4", "a\\b.mp4", "100%.mp4"])
def test_names_that_lists_can_hold(name: str, tmp_path: Path) -> None:
    """A line that begins with # is a comment, but not # after a folder."""
    place(tmp_path, f"x/{name}", "b.mp4")
    (tmp_path / "train.txt").write_text(f"# chosen\nx/{name}\nb.mp4 # and this\n")
    assert found(tmp_path)[0] == [name[:-4], "b"]


def test_a_list_may_name_folders_of_clips(tmp_path: Path) -> None:
    place(tmp_path, "anna/a.mp4", "anna/2/b.mp4", "frames/0.png", "frames/1.png", "frames/notes.txt")
    (tmp_path / "train.txt").write_text("anna\nframes/\n")
    names, told = found(tmp_path)
    assert names == ["2/b", "a", "frames"]
    assert "notes.txt" in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("none.mp4", "'none.mp4' does not exist"),
        ("x" * 300 + ".mp4", "does not exist"),
        ("a\0b.mp4", "does not exist"),
        ("notes.txt", "is not a video, nor a folder that holds any"),
        ("empty", "is not a video, nor a folder that holds any"),
    ],
)
def test_lines_that_name_no_clip(line: str, words: str, tmp_path: Path) -> None:
    place(tmp_path, "a.mp4", "notes.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "train.txt").write_text(f"a.mp4\n{line}\n")
    with pytest.raises(MediaError, match=f"train.txt', line 2: .*{words}"):
        find_clips(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    place(tmp_path, "a.mp4", "secret/b.mp4")
    (tmp_path / "secret").chmod(0)
    names, told = found(tmp_path)
    assert names == ["a"]
    assert "secret" in told
    assert "Permission denied" in told


@pytest.mark.parametrize("name", ["picture.png", "notes.txt", "pipe"])
def test_a_root_that_is_no_clip(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / "picture.png", next(pictures(1)))
    (tmp_path / "notes.txt").write_text("nothing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match=f"{name}' is not a video, nor a folder"):
        find_clips(tmp_path / name)
