"""`register` from the command line: its output, and that bad input is named and nothing is lost."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from internet import cli
from internet.data.image import read_image
from internet.data.synthetic import WalkingClip
from internet.utils import files
from internet.utils.files import OutputError, atomic_write, numbered_folder, output_folder, save_tensors
from tests.support.clips import write_image, write_video

FRAMES = list(WalkingClip(1, (128, 160), frames=12))
QUICK = ("--size", "128", "--steps", "2", "--no-compare")


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, str]:
    for name, frame in (("a.png", FRAMES[4]), ("b.png", FRAMES[6])):
        write_image(tmp_path / name, frame)
    return str(tmp_path / "a.png"), str(tmp_path / "b.png")


@pytest.fixture
def video(tmp_path: Path) -> str:
    return str(write_video(tmp_path / "clip.mp4", FRAMES))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with exit status 2; returns its message."""
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # argparse refuses by itself
        status = stop.code  # type: ignore[assignment]
    said = capsys.readouterr()
    assert status == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


def assert_words(pattern: str, said: str) -> None:
    assert re.search(pattern, said), said


def test_without_a_command_all_are_listed(capsys):
    said = refused(capsys)
    assert all(f"    {name}" in said for name in cli.COMMANDS)
    assert "--help" in said


def test_register_writes_a_figure_and_the_state(pictures, tmp_path, capsys):
    source, driving = pictures
    out = tmp_path / "deep" / "out"
    assert cli.main(["register", "--source", source, "--driving", driving, "--out", str(out), *QUICK]) == 0
    assert sorted(os.listdir(out)) == ["figure.png", "state.pt"]
    assert read_image(out / "figure.png").std() > 10
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["logits"].shape == (1, 11, 128, 128)
    said = capsys.readouterr().out
    for words in ("128 x 128, 10 anchors, 2 steps", "photometric error", "distance to DIS flow", str(out / "state.pt")):
        assert words in said


def test_the_same_pictures_give_the_same_state(pictures, tmp_path):
    for out in ("one", "two"):
        arguments = ["--source", pictures[0], "--driving", pictures[1], "--out", str(tmp_path / out)]
        assert cli.main(["register", *arguments, *QUICK]) == 0
    one, two = (torch.load(tmp_path / out / "state.pt", weights_only=True) for out in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_register_reads_a_video(video, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["register", "--video", video, "--frames", "9", "3", "--out", str(out), *QUICK]) == 0
    assert "frame 3 explained by frame 9 of 12" in capsys.readouterr().out
    assert cli.main(["register", "--video", video, "--gap", "5", "--out", str(out), "--overwrite", *QUICK]) == 0
    assert "frame 8 explained by frame 3 of 12" in capsys.readouterr().out


def test_register_without_pictures_is_synthetic_and_keeps_every_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert cli.main(["register", *QUICK]) == 0
    assert "synthetic clip 1, frame 30 explained by frame 28 of 60" in capsys.readouterr().out
    for run in ("run-001", "run-002"):
        assert sorted(os.listdir(tmp_path / "register" / run)) == ["figure.png", "state.pt"]


def test_the_comparison_says_what_was_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["register", "--size", "128", "--steps", "1"]) == 0
    said = capsys.readouterr().out
    assert "times faster" in said or "not timed, the fused operators are missing" in said


def test_bad_videos_are_named(video, tmp_path, capsys):
    noise, one, tiny = tmp_path / "noise.mp4", tmp_path / "one.mp4", tmp_path / "tiny.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(4000))
    write_video(one, FRAMES[:1])
    write_video(tiny, FRAMES[:2])
    out = ("--out", str(tmp_path / "out"), *QUICK)
    cases = {
        ("--video", str(tmp_path / "absent.mp4")): "--video: the video .*absent.mp4' does not exist",
        ("--video", str(tmp_path)): "--video: .* is a folder, not a video",
        ("--video", str(noise)): "--video: the video .*noise.mp4' cannot be decoded",
        ("--video", str(one)): "--video: the video has 1 frame.*two are needed",
        ("--video", str(tiny), "--gap", "2"): "--gap: the video has 2 frames; two of them cannot be 2 apart",
        ("--video", video, "--frames", "3", "12"): "--frames: the video has frames 0 to 11; it has no frame 12",
        ("--video", video, "--frames", "3", "3"): "--frames: the same frame",
        ("--gap", "60"): "--gap: the video has 60 frames",
    }
    for arguments, words in cases.items():
        assert_words(words, refused(capsys, "register", *arguments, *out))
    assert not (tmp_path / "out").exists()


def test_bad_pictures_are_named(pictures, tmp_path, capsys):
    source, driving = pictures
    (tmp_path / "noise.png").write_bytes(b"no picture")
    write_image(tmp_path / "small.png", FRAMES[0][:100])
    out = ("--out", str(tmp_path / "out"), *QUICK)
    cases = {
        ("--source", str(tmp_path / "absent.png"), "--driving", driving): "--source: the picture .* does not exist",
        ("--source", source, "--driving", str(tmp_path / "noise.png")): "--driving: .*noise.png' is not a picture",
        (
            "--source",
            source,
            "--driving",
            str(tmp_path / "small.png"),
        ): "160 x 128 and --driving is 160 x 100",
        ("--source", source): "--driving: is missing; it goes with --source",
        ("--driving", driving, "--video", "a.mp4"): "--source: is missing",
        ("--source", source, "--driving", driving, "--gap", "2"): "--gap: cannot be used together with --source",
        ("--video", "a.mp4", "--seed", "2"): "--seed: cannot be used together with --video",
    }
    for arguments, words in cases.items():
        assert_words(words, refused(capsys, "register", *arguments, *out))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--steps", "-1"), "--steps: expected at least 0, got -1"),
        (("--steps", "many"), "--steps: expected a whole number, got 'many'"),
        (("--anchors", "0"), "--anchors: expected at least 1, got 0"),
        (("--size", "200"), "--size: invalid choice: .*200"),
        (("--gap", "0"), "--gap: expected at least 1"),
        (("--gap", "2", "--frames", "1", "2"), "--frames: not allowed with argument --gap"),
        (("--frames", "1"), "--frames: expected 2 arguments"),
    ],
)
def test_bad_numbers_are_named(arguments, words, capsys):
    assert_words(words, refused(capsys, "register", *arguments))


def test_outputs_are_never_replaced_unasked(pictures, tmp_path, capsys):
    command = ["register", "--source", pictures[0], "--driving", pictures[1], "--out", str(tmp_path / "out")]
    out = tmp_path / "out"
    out.mkdir()
    (out / "state.pt").write_bytes(b"a week of work")
    (out / "notes.txt").write_text("mine")
    assert_words("--out: the folder .*out' is not empty; .*--overwrite", refused(capsys, *command, *QUICK))
    assert (out / "state.pt").read_bytes() == b"a week of work"
    assert cli.main([*command, *QUICK, "--overwrite"]) == 0
    assert "logits" in torch.load(out / "state.pt", weights_only=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_folders_that_cannot_be_written(pictures, tmp_path, monkeypatch, capsys):
    command = ["register", "--source", pictures[0], "--driving", pictures[1], *QUICK, "--out"]
    (tmp_path / "file").write_text("in the way")
    assert_words("--out: '.*file' is a file, not a folder", refused(capsys, *command, str(tmp_path / "file")))
    assert_words("--out: cannot write in the folder", refused(capsys, *command, str(tmp_path / "file" / "sub")))
    assert (tmp_path / "file").read_text() == "in the way"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "register").write_text("in the way, too")
    assert_words("--out: 'register' is a file", refused(capsys, "register", *QUICK))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(pictures, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    command = ["register", "--source", pictures[0], "--driving", pictures[1], *QUICK, "--out"]
    for out in (locked, locked / "sub"):
        assert_words("--out: cannot write in the folder .*Permission denied", refused(capsys, *command, str(out)))


@pytest.mark.parametrize("missing", ["cv2", "matplotlib", "tqdm", "av"])
def test_a_missing_package_is_named_before_any_work(missing, video, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    said = refused(capsys, "register", "--video", video, "--out", str(tmp_path / "out"), *QUICK)
    assert_words(r"needs the Python package '.*pip install 'internet-ops\[(flow|figures|video)\]'", said)
    assert not (tmp_path / "out").exists()


# Writing files


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_tensors(path, {"a": torch.ones(2)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(files.os, step, full)
            with pytest.raises(OutputError, match=r"cannot write '.*state.pt': No space left"):
                atomic_write(path, b"half")
        assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))
        assert os.listdir(tmp_path) == ["state.pt"]


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    atomic_write(tmp_path / "ours", b"data")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_numbered_folders_go_on_from_the_last(tmp_path):
    (tmp_path / "run-007").mkdir()
    (tmp_path / "run-x").mkdir()
    (tmp_path / "other-009").mkdir()
    assert [numbered_folder(tmp_path, "run").name for _ in range(2)] == ["run-008", "run-009"]


def test_output_folders(tmp_path):
    assert output_folder(tmp_path / "a" / "b").is_dir()
    assert output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"  # an empty folder counts as new
    with pytest.raises(OutputError, match="is not empty"):
        output_folder(tmp_path / "a")
    assert output_folder(tmp_path / "a", overwrite=True) == tmp_path / "a"
