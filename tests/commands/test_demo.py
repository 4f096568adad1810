"""`internet demo`: all of it in a few seconds, with the smallest possible networks."""

import base64
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from internet import ops
from internet.cli import main
from internet.commands import demo
from internet.commands._shared.demo import animation, showcase
from internet.commands._shared.demo.results import times
from internet.comparison import operators, timing, why_not_fused
from internet.data.image import read_image
from internet.data.synthetic import WalkingClip, numbered_clip
from internet.data.video import probe, read_frames
from internet.data.video_writer import write_video
from internet.model import INTERnet, load_model, save_model
from internet.model.checkpoint import find_checkpoint
from internet.training.config import Config
from internet.training.data import HELD_OUT_SEED
from internet.visualization import draw
from tests.support.training import SETTINGS, tiny

WORDS = [*SETTINGS, "validation.samples=2", "validation.every=2", "log.every=1"]
WRITTEN = ["figure.png", "held-out.mp4", "metrics.json", "report.html", "training"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def video(tmp_path: Path) -> str:
    write_video(tmp_path / "a walk: 1.mp4", WalkingClip(0, (40, 40), frames=20), fps=10, lossless=True)
    return "a walk: 1.mp4"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["demo", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert not Path("demo").exists()
    return said.err


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    save_model(tmp_path / "model.pt", INTERnet(tiny().model))
    return "model.pt"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shapes, as few rounds as possible of every measurement, and a short clip."""
    monkeypatch.setattr(operators, "paper", partial(operators.paper, 16))
    monkeypatch.setattr(showcase, "OPERATOR_SECONDS", 0.0)
    monkeypatch.setattr(showcase, "MODEL_SECONDS", 0.0)
    monkeypatch.setattr(timing, "FEWEST_ROUNDS", 1)
    monkeypatch.setattr(animation, "FRAMES", 10)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_three_acts_on_one_page(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--checkpoint", checkpoint]) == 0
    folder = Path("demo", "run-001")
    assert sorted(os.listdir(folder)) == ["animation.mp4", "figure.png", "metrics.json", "report.html"]
    shown = probe(folder / "animation.mp4")
    assert (shown.width, shown.height, shown.frames) == (2 * (3 * 32 + 4), 2 * (2 * 32 + 2), 10)
    assert read_image(folder / "figure.png").std() > 10
    numbers = json.loads((folder / "metrics.json").read_text())
    page = (folder / "report.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 26
    assert max(map(len, said.splitlines()[:16])) <= 90
    for speed in numbers["operators"]:
        assert speed["operator"] in said
        assert speed["forward_ratio"] == pytest.approx(speed["forward"][1] / speed["forward"][0])
        assert times(speed["both_ratio"]) in said
        assert times(speed["both_ratio"]) in page
        assert speed["disagreement"] < 1e-3
    assert f"{numbers['animation']['psnr']:.3f}" in said
    assert f"{numbers['animation']['epe_zero']:.3f}" in page
    assert f"{1 / numbers['frames']['seconds']:.1f}" in said
    assert f"internet demo --checkpoint {checkpoint} --only animation" in page
    assert base64.b64encode((folder / "animation.mp4").read_bytes()).decode() in page
    assert str(folder / "report.html") in said


@pytest.mark.usefixtures("quick")
def test_one_act(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--checkpoint", checkpoint, "--only", "animation", "--seed", "3", "--out", "out"]) == 0
    numbers = json.loads(Path("out/metrics.json").read_text())
    assert {"machine", "animation"} == numbers.keys()
    assert "pyramid_warp" not in capsys.readouterr().out
    assert main(["demo", "--checkpoint", checkpoint, "--only", "animation", "--seed", "4", "--out", "other"]) == 0
    assert json.loads(Path("other/metrics.json").read_text())["animation"] != numbers["animation"]  # another figure


@pytest.mark.usefixtures("quick")
def test_without_fused_operators_it_says_so(checkpoint: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showcase, "why_not_fused", lambda *_: "not built")
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    for unneeded in ("cv2", "matplotlib"):
        monkeypatch.setitem(sys.modules, unneeded, None)
    assert main(["demo", "--checkpoint", checkpoint, "--only", "animation", "--device", "cpu", "--out", "out"]) == 0
    said = "the reference in plain PyTorch stands in for them: cpu: not built."
    assert said in capsys.readouterr().out
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert said in page
    assert "99 processes ran on " in page


def test_training_on_drawn_figures(capsys: pytest.CaptureFixture[str]) -> None:
    frames = "data.synthetic.frames=8"
    assert main(["demo", "--train", *WORDS, "run.steps=4", frames]) == 0
    folder = Path("demo", "run-001")
    assert sorted(os.listdir(folder)) == WRITTEN
    shown = probe(folder / "held-out.mp4")
    assert (shown.width, shown.height, shown.frames) == (4 * 32, 32, 7)
    clip = numbered_clip(HELD_OUT_SEED, 0, 32, frames=8, moving_background=0)
    beside = read_frames(folder / "held-out.mp4", [6])[0]
    for place, image in ((0, clip[0]), (32, clip[7])):  # lossy, with half the colour resolution
        assert abs(beside[:, place : place + 32].astype(int) - image).mean() < 8
    assert read_image(folder / "figure.png").std() > 10
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 2 * 4 + 1  # metrics and the loss
    assert page.count('data-label="step ') == 2
    assert f"internet animate --checkpoint {folder / 'training'} " in page

    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["steps"] == 4
    before, after = numbers["before"], numbers["after"]
    assert {"psnr", "ssim", "epe"} < before.keys() == after.keys()
    for idle in ("repeated_psnr", "epe_zero"):
        assert before[idle] == after[idle]
    assert before["psnr"] != after["psnr"]
    state = torch.load(find_checkpoint(folder / "training"), weights_only=True)
    assert (state["step"], state["metrics"]) == (4, after)
    assert not load_model(folder / "training").training

    said = capsys.readouterr().out
    assert re.search(rf"PSNR, dB +{before['repeated_psnr']:.3f} +{before['psnr']:.3f} +{after['psnr']:.3f}\n", said)
    assert re.search(rf"motion error, pixels +{before['epe_zero']:.3f} ", said)
    assert all(name in said for name in WRITTEN)
    timed = numbers["fused_against_eager"]
    if why_not_fused("cpu", ops.OPERATORS):
        assert timed is None
        assert "not timed, the fused operators are missing" in said
    else:
        assert timed["disagreement"] < 1e-4
        assert timed["ratio"] == pytest.approx(timed["eager_seconds"] / timed["fused_seconds"])
        assert f"{timed['ratio']:.1f} times faster" in said


def test_a_video_whose_end_is_held_out(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run.batch=2", "run.epochs=1", "data.samples_per_clip=4"]
    assert main(["demo", "--video", video, "--no-compare", "--seed", "3", *WORDS, *words]) == 0
    folder = Path("demo", "run-001")
    assert sorted(os.listdir(folder)) == WRITTEN
    assert probe(folder / "held-out.mp4").frames == 6
    config = Config.load(folder / "training" / "config.yaml")
    assert (config.data.frames, config.validation.frames, config.seed) == ((0, 14), (14, None), 3)
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["fused_against_eager"] is None
    assert numbers["after"]["epe_zero"] > 0  # with estimated flow
    said = capsys.readouterr().out
    assert "times faster" not in said


def test_every_run_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(draw, "figure_png", lambda _: b"figure")  # which takes seconds
    words = [
        "--train",
        "--minutes",
        "0",
        "--no-compare",
        *WORDS,
        "log.every=5",
        "data.synthetic.frames=4",
    ]  # no loss is reported
    for _ in range(2):
        assert main(["demo", *words]) == 0
    assert sorted(os.listdir("demo")) == ["run-001", "run-002"]
    first = find_checkpoint(Path("demo", "run-001", "training"))
    before = first.read_bytes()
    assert main(["demo", "--out", "demo/run-001", *words]) == 2
    assert "--out: the folder 'demo/run-001' is not empty" in capsys.readouterr().err
    assert main(["demo", "--out", "demo/run-001", "--overwrite", *words]) == 0
    assert first.read_bytes() == before
    assert find_checkpoint(Path("demo", "run-001", "training-001")).exists()


def test_bad_input_is_named_before_any_work(video: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_video("short.mp4", WalkingClip(0, (40, 40), frames=9), fps=10)
    cases = {
        ("--video", "none.mp4"): "--video: the video 'none.mp4' does not exist",
        ("--video", "short.mp4"): "--video: the video has 9 frames, expected at least 10",
        ("--train", "--minutes", "-1"): "run.minutes is -1.0, expected at least 0",
        ("--train", "run.bach=3"): "the nearest is 'run.batch'",
        ("--train", "out=here"): "out: got 'here', but the command itself sets it",
        ("--video", video, "data.frames=[0,3]"): r"data.frames: got \[0, 3\], but",
        ("--minutes", "2"): "--minutes: needs --train or --video",
        ("run.batch=3",): "KEY=VALUE: needs --train or --video",
        ("--train", "--only", "frames"): "--only: cannot be used with --train or --video",
        ("--checkpoint", "none.pt"): "--checkpoint: .*'none.pt'",
        ("--train", "batch"): "'batch' is not a setting, expected key=value",
    }
    for arguments, words in cases.items():
        assert re.search(words, refused(capsys, *arguments)), arguments


@pytest.mark.parametrize("missing", demo.TRAINING_PACKAGES)
def test_a_missing_package_is_named_before_any_work(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing] + [missing]:
        monkeypatch.setitem(sys.modules, name, None)
    assert re.search(
        r"needs the Python package '.*pip install 'internet-ops\[\w+\]'", refused(capsys, "--train", *WORDS)
    )


def test_a_signal_stops_it_with_a_checkpoint(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from internet.training.trainer import Trainer

    step = Trainer.train_step

    def interrupted(self: Trainer, *arguments: Any) -> Any:
        os.kill(os.getpid(), 15)
        return step(self, *arguments)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    assert main(["demo", "--train", *WORDS]) == 128 + 15
    assert capsys.readouterr().out == "stopped; continue with: internet train demo/run-001/training/config.yaml\n"
    assert os.listdir("demo/run-001") == ["training"]
    assert find_checkpoint(Path("demo/run-001/training")).exists()
