"""`internet train --report`: a page about the run, which is otherwise unchanged."""

import base64
import re
from pathlib import Path

import pytest
import torch

from internet.cli import main
from internet.data.synthetic import WalkingClip
from internet.data.video import probe
from internet.data.video_writer import write_video
from internet.visualization import draw
from tests.support.training import SETTINGS, start_training, weights

WORDS = [*SETTINGS, "data.synthetic.frames=16", "validation.samples=2", "validation.every=2", "log.every=1"]
DRAWN = [*WORDS, "validation.path=synthetic"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "figure_png", lambda _: b"figure")  # which takes seconds


def labels(page: str) -> list[str]:
    """What the slider shows, from first to last."""
    return re.findall('data-label="(.*?)"', page)


def test_the_page_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", "--report", *DRAWN, f"out={run}", "run.steps=4"]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    video = (run / "held-out.mp4").read_bytes()
    assert base64.b64encode(video).decode() in page
    assert probe(run / "held-out.mp4").width == 4 * 32
    assert labels(page) == ["step 2", "step 4"]
    assert "loss" in page
    said = capsys.readouterr().out
    assert f"{run}: 4 steps of 4" in said
    assert f"{run / 'report.html'}: a report on the run" in said


def test_a_report_does_not_change_the_run(tmp_path: Path) -> None:
    for name, more in (("with", ["--report"]), ("without", [])):
        assert main(["train", *more, *DRAWN, f"out={tmp_path / name}", "run.steps=3"]) == 0
    found, expected = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_run_that_goes_on_tells_what_it_began_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", *DRAWN, f"out={run}", "run.steps=2"]) == 0
    assert main(["train", "--report", *DRAWN, f"out={run}", "run.steps=4"]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "2 steps from step 2" in page
    assert labels(page)[-1] == "step 4"


def test_the_first_of_the_clips_that_are_held_out(tmp_path: Path) -> None:
    write_video(tmp_path / "walk.mp4", WalkingClip(0, (40, 40), frames=20), fps=10)
    held_out = [
        f"validation.path={tmp_path / 'walk.mp4'}",
        "data.min_seconds=0",
        "validation.frames=[14,null]",
        "validation.split=train",
    ]
    assert main(["train", "--report", *WORDS, *held_out, f"out={tmp_path / 'run'}", "run.steps=1"]) == 0
    assert probe(tmp_path / "run/held-out.mp4").frames == 6
    assert "walk, frames 14 to 19, source frame 0" in (tmp_path / "run/report.html").read_text(encoding="utf-8")


def test_it_needs_frames_that_are_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--report", *WORDS, f"out={tmp_path / 'run'}"]) == 2
    assert "--report: needs frames that are not trained on; set validation.path" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "internet")
    words = [*DRAWN, f"out={tmp_path / 'run'}", "run.steps=2", "--report"]
    process = start_training(*words, program=launcher)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert said.count("a report on the run") == 1
    assert (tmp_path / "run/report.html").is_file()
