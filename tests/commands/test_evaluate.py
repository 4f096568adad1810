"""`internet evaluate`, from videos to the table, the numbers and the page."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from internet.cli import main
from internet.data.image import square, to_array, to_channels, to_tensor
from internet.data.synthetic import numbered_clip
from internet.data.video import iter_frames
from internet.evaluation.clip_result import ClipResult
from internet.model import FirstOrderConfig, FirstOrderMotion, INTERnet, INTERnetConfig, load_model, save_model
from tests.support.browser import evaluate as in_browser
from tests.support.clips import write_image, write_video

CHEAP = ["--measures", "quality", "warping"]


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two clips of four frames, 64 × 48."""
    folder = tmp_path / "real"
    folder.mkdir()
    for number, name in enumerate(("b", "a")):
        write_video(folder / f"{name}.mp4", drawn(number))
    return folder


def drawn(number: int, count: int = 4) -> list[np.ndarray]:
    clip = numbered_clip(5, number, 64, frames=count, moving_background=0)
    return [image[:48] for image in clip]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.pt"
    save_model(path, INTERnet(INTERnetConfig.preset("tiny", size=64)))
    return path


def evaluate(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def test_a_model_on_clips(clips, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate("--checkpoint", checkpoint, "--videos", clips, "--out", out, *CHEAP) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert [clip["name"] for clip in metrics["clips"]] == ["a", "b"]
    for clip in metrics["clips"]:
        assert clip["frames"] == 4
        assert len(clip["curves"]["psnr"]) == 4
        assert clip["curves"]["e_warp"][0] is None
        assert clip["values"]["psnr"] == pytest.approx(np.mean(clip["curves"]["psnr"]))
    assert metrics["means"]["psnr"]["mean"] == pytest.approx(np.mean([c["values"]["psnr"] for c in metrics["clips"]]))
    assert metrics["machine"]["processor"]
    said = capsys.readouterr().out
    assert "PSNR, dB ↑" in said
    assert "mean of 2 clips" in said


def test_it_is_the_model_by_the_first_frame(clips, checkpoint, tmp_path):
    """The same as applying the model directly."""
    out = tmp_path / "out"
    evaluate("--checkpoint", checkpoint, "--videos", clips / "a.mp4", "--out", out, *CHEAP)
    found = json.loads((out / "metrics.json").read_text())["clips"][0]["curves"]["l1"]
    frames = [square(to_tensor(frame), 64).clamp(0, 1) for frame in iter_frames(clips / "a.mp4")]
    model = load_model(checkpoint)
    with torch.no_grad():
        expected = [float((model(frames[0], f).frame.clamp(0, 1) - f).abs().mean()) for f in frames]
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def grey_checkpoint(tmp_path) -> Path:
    """As `internet import-fomm` writes it for `num_channels: 1`."""
    small = {"anchor_width": 4, "anchor_depth": 2, "motion_width": 4, "motion_depth": 2, "generator_width": 4}
    config = FirstOrderConfig(size=64, frame_channels=1, anchors=2, jacobian_maps=2, blocks=1, **small)
    torch.manual_seed(0)
    save_model(tmp_path / "grey.safetensors", FirstOrderMotion(config))
    return tmp_path / "grey.safetensors"


def test_a_model_of_grey_frames(clips, grey_checkpoint, tmp_path):
    """The output is compared with the input as the model saw it."""
    out = tmp_path / "out"
    assert evaluate("--checkpoint", grey_checkpoint, "--videos", clips / "a.mp4", "--out", out) == 0
    (clip,) = json.loads((out / "metrics.json").read_text())["clips"]
    frames = [to_channels(square(to_tensor(frame), 64).clamp(0, 1), 1) for frame in iter_frames(clips / "a.mp4")]
    model = load_model(grey_checkpoint)
    with torch.no_grad():
        expected = [float((model(frames[0], frame).frame - frame).abs().mean()) for frame in frames]
    assert clip["curves"]["l1"] == pytest.approx(expected, abs=1e-5)


def test_cross_imitation_of_a_model_of_grey_frames(clips, grey_checkpoint, tmp_path):
    out = tmp_path / "out"
    assert evaluate("--checkpoint", grey_checkpoint, "--cross", clips, clips / "a.mp4", "--out", out) == 0
    shown = [frame.astype(int) for frame in iter_frames(out / "cross.mp4")]
    assert len(shown) == 4
    driving = square(to_tensor(drawn(1)[0]), 64)
    assert np.abs(shown[0][:64, 66:130] - to_array(driving)).mean() < 6, "the driving video is shown as it is"
    model = load_model(grey_checkpoint)
    with torch.no_grad():
        expected = to_array(model(to_channels(driving, 1), to_channels(driving, 1)).frame)
    assert np.abs(shown[0][66:130, 66:130] - expected).mean() < 6


def test_a_model_of_frames_that_no_video_has(clips, tmp_path, capsys):
    config = FirstOrderConfig(size=128, frame_channels=4, anchors=2, jacobian_maps=2, generator_width=4, blocks=1)
    save_model(tmp_path / "four.safetensors", FirstOrderMotion(config))
    out = tmp_path / "out"
    assert evaluate("--checkpoint", tmp_path / "four.safetensors", "--videos", clips, "--out", out, *CHEAP) == 2
    said = capsys.readouterr().err
    assert "--checkpoint: the model takes frames of 4 channels, a picture has 3 or, as luma, 1" in said
    assert not out.exists()


def test_videos_of_another_program(clips, tmp_path):
    """Smaller ones are resized to the real ones; a folder of frames is a clip, too."""
    made = tmp_path / "made"
    (made / "a").mkdir(parents=True)
    for number, image in enumerate(drawn(1)):
        write_image(made / "a" / f"{number}.png", image[::2, ::2])
    write_video(made / "b.mp4", drawn(0))
    out = tmp_path / "out"
    assert evaluate("--generated", made, "--reference", clips, "--out", out, *CHEAP) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    values = {clip["name"]: clip["values"] for clip in metrics["clips"]}
    assert values["b"]["l1"] == pytest.approx(0, abs=1e-6)
    assert values["a"]["l1"] > 0.005
    assert metrics["settings"]["size"] == 48


def test_it_goes_on_where_it_was_stopped(clips, checkpoint, tmp_path, monkeypatch):
    out, words = tmp_path / "out", ("--checkpoint", checkpoint, "--videos", clips, *CHEAP)
    save, saved = ClipResult.save, []

    def stopped(result: ClipResult, stem: Path) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(result.name)
        save(result, stem)

    with monkeypatch.context() as patch:
        patch.setattr(ClipResult, "save", stopped)
        assert evaluate(*words, "--out", out) == 130
    assert not (out / "metrics.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(ClipResult, "save", lambda result, stem: (saved.append(result.name), save(result, stem)))
        assert evaluate(*words, "--out", out) == 0
    assert saved == ["a", "b"]
    whole = tmp_path / "whole"
    evaluate(*words, "--out", whole)
    both = [json.loads((folder / "metrics.json").read_text())["clips"] for folder in (out, whole)]
    assert both[0] == both[1]


def test_results_keep_what_json_lacks(tmp_path):
    result = ClipResult("ä/b", 2, {"x": math.inf, "y": math.nan}, {"x": [math.nan, 1.0]}, {"f": np.ones((2, 3))})
    result.save(tmp_path / "1")
    again = ClipResult.load(tmp_path / "1")
    assert again.values["x"] == math.inf
    assert math.isnan(again.values["y"])
    assert again.curves["x"][1] == 1
    assert np.array_equal(again.features["f"], np.ones((2, 3)))
    (tmp_path / "1.npz").write_bytes(b"cut off")
    assert ClipResult.load(tmp_path / "1") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected --checkpoint and --videos, or --generated and --reference"),
        (("--checkpoint", "figures", "--videos", "x", "--relative"), "--relative needs --cross"),
        (("--checkpoint", "figures", "--cross", "missing", "x"), "--cross: the picture 'missing' does not exist"),
        (("--generated", "x", "--reference", "y", "--cross", "x", "y"), "and not more"),
        (("--checkpoint", "figures"), "expected --checkpoint and --videos"),
        (("--generated", "x", "--reference", "y", "--videos", "z"), "and not more"),
        (("--generated", "x", "--reference", "missing"), "--reference: 'missing' does not exist"),
        (("--checkpoint", "figures", "--videos", "missing"), "--videos: 'missing' does not exist"),
        (("--checkpoint", "missing", "--videos", "missing"), "--checkpoint: "),
        (("--checkpoint", "figures", "--videos", "missing", "--size", "100"), "--size: a frame has shape"),
    ],
)
def test_bad_arguments_are_named(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "evaluation").exists()


def test_clips_must_fit_together(clips, tmp_path, capsys):
    made = tmp_path / "made"
    made.mkdir()
    write_video(made / "a.mp4", drawn(1, 3))
    write_video(made / "c.mp4", drawn(0))
    assert evaluate("--generated", made, "--reference", clips) == 2
    assert "in one alone: 'b', 'c'" in capsys.readouterr().err
    (made / "c.mp4").rename(made / "b.mp4")
    assert evaluate("--generated", made, "--reference", clips) == 2
    assert "the generated clip of 'a' has 3 frames, the real one 4" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(clips, checkpoint, tmp_path, capsys):
    words = ("--checkpoint", checkpoint, "--videos", clips)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert evaluate(*words, "--out", tmp_path / "out", *CHEAP) == 2
    assert "no evaluation.json" in capsys.readouterr().err
    assert evaluate(*words, "--out", tmp_path / "other", *CHEAP) == 0
    assert evaluate(*words, "--out", tmp_path / "other", "--measures", "quality") == 2
    assert "other settings: measures was" in capsys.readouterr().err


def test_a_file_of_weights_that_is_not_there_is_an_error(clips, checkpoint, tmp_path, capsys):
    words = ("--checkpoint", checkpoint, "--videos", clips, "--out", tmp_path / "out")
    assert evaluate(*words, "--pose", tmp_path / "mediapipe.whl") == 2
    assert "pip install --no-deps mediapipe" in capsys.readouterr().err
    assert evaluate(*words, "--lpips", tmp_path / "alex.pth") == 2
    assert "LPIPS, which needs torchvision's AlexNet" in capsys.readouterr().err


def test_the_page_in_a_browser(clips, checkpoint, tmp_path):
    """Videos play, charts are drawn, nothing is loaded, and only what scrolls is wider than the window."""
    out = tmp_path / "out"
    evaluate("--checkpoint", checkpoint, "--videos", clips, "--out", out, *CHEAP)
    page = out / "report.html"
    assert "http" not in page.read_text().replace("https://download.pytorch.org", "")
    script = (
        "[document.querySelectorAll('video').length,"
        " [...document.querySelectorAll('video')].every(v => v.readyState > 0),"
        " document.querySelectorAll('svg polyline').length, document.documentElement.scrollWidth <= innerWidth,"
        " document.querySelectorAll('tbody tr').length].join()"
    )
    videos, ready, curves, fits, rows = in_browser(page, script, width=420, folder=tmp_path).split(",")
    assert (videos, ready, fits) == ("2", "true", "true")
    assert int(curves) == 2 * 6
    assert int(rows) == 6 + 2


def test_cross_imitation_is_every_pair(clips, checkpoint, tmp_path):
    """The cells of the grid are the model's output for each pair; a shorter driving video stands still at its end."""
    driving, sources, out = tmp_path / "driving", tmp_path / "sources", tmp_path / "out"
    driving.mkdir()
    sources.mkdir()
    write_video(driving / "long.mp4", drawn(0, 5))
    write_video(driving / "short.mp4", drawn(1, 2))
    write_image(sources / "one.png", drawn(2)[0])
    write_video(sources / "two.mp4", drawn(3))
    assert evaluate("--checkpoint", checkpoint, "--cross", sources, driving, "--out", out) == 0
    shown = list(iter_frames(out / "cross.mp4"))
    assert len(shown) == 5
    assert shown[0].shape == (3 * 66 - 2, 3 * 66 - 2, 3)
    for row, source in enumerate((drawn(2)[0], drawn(3)[0]), start=1):
        picture = shown[0][row * 66 : row * 66 + 64, :64].astype(int)
        assert np.abs(picture - to_array(square(to_tensor(source), 64))).mean() < 6
    model = load_model(checkpoint)
    for column, (number, count) in enumerate(((0, 5), (1, 2)), start=1):
        for row, source in enumerate((drawn(2)[0], drawn(3)[0]), start=1):
            for frame in range(5):
                target = square(to_tensor(drawn(number, count)[min(frame, count - 1)]), 64)
                with torch.no_grad():
                    expected = to_array(model(square(to_tensor(source), 64), target).frame)
                cell = shown[frame][row * 66 : row * 66 + 64, column * 66 : column * 66 + 64]
                assert np.abs(cell.astype(int) - expected).mean() < 6  # H.264
    assert "one, two" in (out / "report.html").read_text()
