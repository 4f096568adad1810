"""Each example runs, as described in the comment at its top."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from internet.data.image import read_image
from internet.data.synthetic import WalkingClip
from internet.data.video import probe
from internet.data.video_writer import write_video
from internet.model import INTERnet, save_model
from tests.support.clips import write_image
from tests.support.training import tiny

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def video(tmp_path: Path) -> str:
    write_video(tmp_path / "walk.mp4", WalkingClip(0, (40, 40), frames=12), fps=10)
    return "walk.mp4"


def run(example: str, *arguments: str, folder: Path) -> str:
    """The output of an example."""
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_first_order_motion(tmp_path):
    said = run("first_order_motion", folder=tmp_path)
    first, last = (float(number) for number in said.split("loss ")[1].split(";")[0].split(" -> "))
    assert last < first


def test_accelerate_first_order_motion(tmp_path):
    said = run("accelerate_first_order_motion", folder=tmp_path)
    assert "DenseMotionNetwork" in said
    assert "anchor_features, affine_mixture" in said
    assert float(said.split("largest difference ")[1].split(";")[0]) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frames", "1"], "--frames is 1, expected at least 2"),
        (["--repo", "nowhere"], "--repo is nowhere, expected a"),
    ],
)
def test_accelerate_first_order_motion_with_bad_arguments(tmp_path, arguments, said):
    command = [sys.executable, str(EXAMPLES / "accelerate_first_order_motion.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_register_two_frames(tmp_path):
    said = run("register_two_frames", folder=tmp_path)
    still, _, fitted = (float(line.split()[-1]) for line in said.splitlines()[:3])
    assert fitted < 0.8 * still
    assert read_image(tmp_path / "warped.png").shape == (128, 128, 3)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("ai_edge_litert", "mediapipe")),
    reason="ai-edge-litert or mediapipe is not installed",
)
def test_train_on_one_video(tmp_path):
    write_video(tmp_path / "walk.mp4", WalkingClip(1, (128, 128), frames=12), fps=10)
    few = ["run.steps=2", "run.batch=2", "validation.samples=2", "loss.stage_one=1"]
    said = run("train_on_one_video", "walk.mp4", "runs/me", *few, folder=tmp_path)
    assert "runs/me: 2 steps; psnr" in said
    assert "confidence_vacated" in said
    assert (tmp_path / "runs/me/config.yaml").is_file()


def test_animate(video, tmp_path):
    save_model(tmp_path / "model.pt", INTERnet(tiny().model))
    write_image(tmp_path / "source.png", WalkingClip(1, (40, 40), frames=2)[0])
    assert run("animate", "model.pt", "source.png", video, "out.mp4", folder=tmp_path) == "out.mp4\n"
    written = probe(tmp_path / "out.mp4")
    assert (written.width, written.height, written.frames) == (32, 32, 12)
