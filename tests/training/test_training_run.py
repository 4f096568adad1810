"""Whole runs from the command line: resumed bitwise, stopped, refused, and in two processes."""

import re
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from internet.cli import main
from internet.data.clip import VideoClip
from internet.data.dataset import ClipDataset
from internet.data.synthetic import WalkingClip
from internet.data.synthetic_dataset import SyntheticDataset
from internet.data.video_writer import write_video
from internet.model import load_model
from internet.training.config import Config
from internet.training.trainer import Trainer
from internet.utils import weight_files
from internet.utils.run_checkpoints import latest_checkpoint
from tests.support.people import Seen
from tests.support.training import SETTINGS, newest_state, start_training, weights

STEPS = 9


@pytest.fixture(autouse=True)
def _threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def train(*words: str) -> int:
    return main(["train", *SETTINGS, f"run.steps={STEPS}", *words])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    held_out = ["validation.path=synthetic", "validation.samples=3", "validation.every=4"]
    assert train(f"out={folder}", *held_out, "log.every=2", "log.pictures=4") == 0
    return folder


def same(folder: Path, other: Path) -> bool:
    found, expected = weights(folder), weights(other)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def wait_for_a_checkpoint(process: Any, folder: Path) -> None:
    while latest_checkpoint(folder) is None:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)


# Files of a run


def test_a_run_leaves_its_configuration_curves_pictures_and_a_model(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = Config.from_dict(yaml.safe_load((whole / "config.yaml").read_text()))
    assert (config.run.steps, config.model.size) == (STEPS, 32)
    events = EventAccumulator(str(whole))
    events.Reload()
    steps = [event.step for event in events.Scalars("training/total")]
    assert steps == [2, 4, 6, 8, 9]
    tags = events.Tags()
    assert {"training/temporal", "training/discriminator", "training/gradient", "training/rate"} < set(tags["scalars"])
    assert {f"validation/{name}" for name in ("psnr", "repeated_psnr", "epe", "epe_zero")} < set(tags["scalars"])
    assert [event.step for event in events.Scalars("validation/ssim")] == [4, 8, 9]
    assert set(tags["images"]) == {"training", "validation"}
    state = newest_state(whole)
    assert (state["step"], state["position"], state["epoch"]) == (9, 36, 0)
    assert state["metrics"]["psnr"] > 5
    model = load_model(whole)
    assert not model.training
    assert all(torch.equal(value, state["ema"][name]) for name, value in model.state_dict().items())


# Interrupted and resumed


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_killed_ends_with_the_same_bits(whole: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """Weights, running mean, optimizers and random numbers. SIGKILL comes at any moment; SIGTERM loses no step."""
    folder = tmp_path / "run"
    process = start_training(f"out={folder}", "run.steps=1000")
    wait_for_a_checkpoint(process, folder)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 128 + signal.SIGTERM), output
    assert 0 < newest_state(folder)["step"] < STEPS
    assert train(f"out={folder}", "data.workers=1") == 0
    assert same(folder, whole)


def test_a_damaged_checkpoint_does_not_stop_a_run_from_going_on(whole: Path, tmp_path: Path) -> None:
    assert train(f"out={tmp_path}", "run.steps=4") == 0
    (tmp_path / "checkpoints" / "step-00000004.pt").write_bytes(b"half a file")
    with pytest.warns(UserWarning, match="step-00000004.pt' is damaged"):
        assert train(f"out={tmp_path}") == 0
    assert same(tmp_path, whole)


def test_a_run_that_is_over_says_so_and_stays(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(whole)
    assert train(f"out={whole}") == 0
    assert "training to step 9, resumed at 9" in capsys.readouterr().err
    assert all(torch.equal(value, before[name]) for name, value in weights(whole).items())


def test_the_clock_stops_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    assert train(f"out={tmp_path}", "run.minutes=0", "checkpoint.every=100") == 0
    assert newest_state(tmp_path)["step"] == 1


def test_another_run_starts_from_the_weights_of_this_one(whole: Path, tmp_path: Path) -> None:
    words = [f"out={tmp_path}", f"warm_start={whole}", "optimizer.lr=0", "run.steps=1"]
    assert train(*words) == 0
    found, given = weights(tmp_path), weights(whole)
    for name, value in given.items():
        if name.startswith(".ema"):
            torch.testing.assert_close(found[name], value)
            torch.testing.assert_close(found[name.replace("ema", "model")], value)


# Refused


def test_other_settings_do_not_go_on_with_a_run(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(whole)
    assert train(f"out={whole}", "loss.weights.style=1", "seed=4") == 2
    message = capsys.readouterr().err
    assert "holds a run with other settings: seed was 0, is 4; loss.weights.style was 100000.0, is 1.0" in message
    assert all(torch.equal(value, before[name]) for name, value in weights(whole).items())


def test_what_systems_leave_in_folders_is_nothing(tmp_path: Path) -> None:
    for name in (".DS_Store", "._.DS_Store", "Thumbs.db", "desktop.ini", ".directory"):
        (tmp_path / name).touch()
    assert train(f"out={tmp_path}", "run.steps=1") == 0


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    assert train(f"out={tmp_path}") == 2
    assert "is not empty and not a training run's" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# Not finite


def test_an_infinite_pixel_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = SyntheticDataset.__getitem__

    def poisoned(self: SyntheticDataset, index: int) -> dict[str, Any]:
        sample = drawn(self, index)
        if index == 17:
            sample["source"] = torch.full(sample["source"].shape, float("inf"))
        return sample

    name = SyntheticDataset(32)[17]["name"]
    monkeypatch.setattr(SyntheticDataset, "__getitem__", poisoned)
    assert train(f"out={tmp_path}", "run.accumulate=4") == 1
    message = capsys.readouterr().err
    assert f"the loss is infinite or not a number. The samples:\n  {name}\n" in message
    state = newest_state(tmp_path)
    assert state["step"] == 4  # sample 17 belongs to the next step
    assert all(value.isfinite().all() for value in state["model"].values())


# Clips


def test_a_video_is_trained_on_with_its_last_frames_held_out(tmp_path: Path) -> None:
    frames = list(WalkingClip(0, (40, 40), frames=40))
    write_video(tmp_path / "walk.mp4", frames, fps=10, lossless=True)
    path = tmp_path / "walk.mp4"
    held_out = [f"validation.path={path}", "validation.split=train", "validation.frames=[30, 40]"]
    words = [f"data.path={path}", "data.frames=[0, 30]", "data.source=random", "data.min_seconds=0.5"]
    options = ["run.steps=2", "run.epochs=100", "data.motion=true", "run.batch=2", "validation.samples=2"]
    assert train(f"out={tmp_path / 'run'}", *words, *held_out, *options) == 0
    state = newest_state(tmp_path / "run")
    assert state["epoch"] == 4  # one clip, one sample in each epoch
    assert {"psnr", "repeated_psnr", "epe", "unexplained"} < set(state["metrics"])  # with estimated flow
    assert list((tmp_path / "run" / "flow").rglob("*.npz"))
    for steps in (1, 2):
        assert train(f"out={tmp_path / 'again'}", *words, *options, f"run.steps={steps}", "data.workers=1") == 0
    assert same(tmp_path / "again", tmp_path / "run")


def test_a_path_without_clips_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    cases = {
        ("data.path=",): "data.path is empty, expected 'synthetic', a video",
        (f"data.path={tmp_path}/none",): "data.path: '.*none' does not exist",
        (f"data.path={tmp_path}/notes.txt",): "data.path: '.*notes.txt' is not a video",
        (f"data.path={tmp_path}",): "data.path: '.*' holds no clip for the split 'train'",
        (f"validation.path={tmp_path}",): "validation.path: '.*' holds no clip for the split 'test'",
    }
    for words, message in cases.items():
        assert train(f"out={tmp_path / 'run'}", *words) == 2
        assert re.search(f"internet train: {message}", capsys.readouterr().err)


@pytest.mark.parametrize("missing", ["yaml", "tensorboard", "torchmetrics", "tqdm"])
def test_a_missing_package_is_named_before_the_first_step(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing] + [missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(Trainer, "train_step", None)
    assert train(f"out={tmp_path}", "validation.path=synthetic") == 2
    assert re.search(r"needs the Python package '.*pip install 'internet-ops\[\w+\]'", capsys.readouterr().err)


def test_a_recipe_for_videos_does_not_draw_figures_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "one-video", f"out={tmp_path}"]) == 2
    assert "data.path is empty" in capsys.readouterr().err


def test_one_video_starts_from_weights_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "walk.mp4", WalkingClip(1, (128, 128), frames=12), fps=10)
    words = [f"data.path={tmp_path / 'walk.mp4'}", f"out={tmp_path / 'run'}", "model.preset=tiny", "data.pose=false"]
    words += ["data.pose_augmentation.probability=0", "model.scene=false"]
    assert main(["train", "one-video", *words]) == 2
    assert re.search(r"figures\.safetensors'.* do not fit", capsys.readouterr().err)


def test_a_model_of_one_scene_begins_with_its_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("internet.training.data.BlazePose", Seen)
    for name in ("one/walk.mp4", "two/a.mp4", "two/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, WalkingClip(1, (64, 64), frames=12), fps=10)
    small = ["model.size=64", "run.batch=1", "run.steps=1", "data.workers=0", "loss.features.weights=random"]
    words = ["train", "one-video", *small, "warm_start=", "optimizer.lr=0"]
    assert main([*words, f"data.path={tmp_path / 'two'}", f"out={tmp_path / 'none'}"]) == 2
    assert "model.scene is true, expected one clip in data.path, which has 2" in capsys.readouterr().err
    assert main([*words, f"data.path={tmp_path / 'one'}", f"out={tmp_path / 'run'}"]) == 0
    state = load_model(tmp_path / "run").state_dict()
    clips = ClipDataset([VideoClip(tmp_path / "one/walk.mp4")], 64, min_seconds=0, pose=Seen())
    assert torch.equal(state["generator.scene"], clips.background(0))
    assert main(["train", "one-video", *small, "data.pose=false", "data.pose_augmentation.probability=0"]) == 2
    assert "model.scene is True, expected False without data.pose" in capsys.readouterr().err


def test_without_the_networks_a_pose_cannot_teach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "walk.mp4", WalkingClip(1, (128, 128), frames=12), fps=10)
    words = ["train", "one-video", f"data.path={tmp_path / 'walk.mp4'}", f"out={tmp_path / 'run'}"]
    monkeypatch.setattr(weight_files.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", types.SimpleNamespace(Interpreter=None))
    assert main(words) == 2
    assert "data.pose: 'mediapipe/modules/pose_detection" in (said := capsys.readouterr().err)
    assert "pip install --no-deps mediapipe==0.10.21" in said
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert main(words) == 2
    assert "pip install 'internet-ops[pose]'" in capsys.readouterr().err


# Two processes

#: Rank 1 dies in its fourth step, once: torchrun restarts both.
DIES_ONCE = """
import os, sys
from internet.training.step import TrainingStep

take_step, done = TrainingStep.__call__, 0

def dying(self, *arguments):
    global done
    done += 1
    if done == 4 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os._exit(9)
    return take_step(self, *arguments)

TrainingStep.__call__ = dying

from internet.cli import main

sys.exit(main())
"""


def test_two_processes_one_of_which_dies_once_train_as_one(whole: Path, tmp_path: Path) -> None:
    """After nine steps, weights differ by 1e-3 of their total change, due to the order of float32 sums, and to how
    RAdam amplifies gradients that consist only of rounding errors."""
    program, folder = tmp_path / "program.py", tmp_path / "run"
    program.write_text(DIES_ONCE)
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1")
    torchrun = ("-m", "torch.distributed.run", *options, str(program))
    words = [f"out={folder}", f"run.steps={STEPS}", "validation.path=synthetic", "validation.samples=3"]
    process = start_training(*words, program=torchrun, PYTHONPATH=str(Path(__file__).parents[2]))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "resumed at 2" in output
    before, found = model_weights(tmp_path / "before"), weights(folder)
    for name, expected in weights(whole).items():
        if name.startswith((".model", ".ema", ".discriminator")):
            way = (expected - before[name]).norm()
            assert (found[name] - expected).norm() <= 1e-3 * way + 1e-5, name
    ours, theirs = (newest_state(run) for run in (folder, whole))
    for name, value in theirs["metrics"].items():
        assert ours["metrics"][name] == pytest.approx(value, rel=1e-3), name


def model_weights(folder: Path) -> dict[str, Tensor]:
    """The initial weights of every run: those of one with a learning rate of zero."""
    assert train(f"out={folder}", "run.steps=1", "optimizer.lr=0") == 0
    return weights(folder)
