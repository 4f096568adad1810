"""Settings: read from files and words, every mistake named, and written so that they can be read again."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from internet.cli import main
from internet.losses import Weights
from internet.model import INTERnetConfig
from internet.training.config import Config
from internet.training.overrides import SettingError, meanings, settings
from internet.training.recipes import recipes
from internet.training.schedule import weights_at


def test_words_change_a_file_which_changes_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: {preset: tiny, anchors: 5}\nrun: {batch: 8, epochs: 3}\nloss: {weights: {style: 0}}\n")
    config = Config.load(file, ["run.batch=2", "optimizer.lr=1e-3", "data.frames=[0, 70]", "out=runs/a"])
    assert config.model == INTERnetConfig.preset("tiny", anchors=5)
    assert (config.run.batch, config.run.epochs, config.run.accumulate) == (2, 3, 1)
    assert config.optimizer.lr == 1e-3  # text, to YAML
    assert config.data.frames == (0, 70)
    assert config.loss.weights == Weights(style=0)
    assert config.out == "runs/a"
    assert Config.load(file, ["out=2026"]).out == "2026"
    assert Config.load(file, ["validation.path="]).validation.path == ""


def test_the_default_is_the_paper() -> None:
    config = Config()
    assert config.model == INTERnetConfig.preset("internet-512")
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.milestones) == ("radam", 2e-4, (60, 90))
    assert (config.run.epochs, config.run.batch, config.optimizer.gamma) == (100, 16, 0.1)


def test_what_is_written_is_read_again() -> None:
    words = ["model.preset=tiny", "loss.schedule.style=[[0, 1], [10, 2.5]]", "data.frames=[5, null]"]
    config = Config.load(None, [*words, "data.flow.options.preset=fine", "run.minutes=1"])
    assert Config.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("run.bach=3", "there is no setting 'run.bach'; the nearest is 'run.batch'"),
        ("rum.steps=1", "there is no setting 'rum'; the nearest is 'run'"),
        ("loss.weigths.style=1", "'loss.weigths'; the nearest is 'loss.weights'"),
        ("lr=1", "there is no setting 'lr'; the nearest is 'optimizer.lr'"),
        ("loss.weights.stile=1", "'loss.weights.stile'; the nearest is 'loss.weights.style'"),
        ("model.prest=tiny", "the nearest is 'model.preset'"),
        ("model.preset=small", "model.preset is 'small', expected one of internet-512"),
        ("run.batch=x", "run.batch is 'x', expected a whole number"),
        ("run.batch=2.5", "run.batch is 2.5, expected a whole number"),
        ("run.batch=true", "run.batch is True, expected a whole number"),
        ("run.batch=0", "run.batch is 0, expected at least 1"),
        ("run.compile=1", "run.compile is 1, expected true or false"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast', expected a number"),
        ("optimizer.betas=[0.9]", r"optimizer.betas is \[0.9\], expected 2 values"),
        ("optimizer.milestones=60", "optimizer.milestones is 60, expected a list"),
        ("optimizer=3", "optimizer is 3, expected a section of settings"),
        ("optimizer.ema=1", "optimizer.ema is 1.0, expected 0 <= ema < 1"),
        ("model.anchors=0", "model.anchors is 0, expected at least 1"),
        ("loss.weights.style=-1", "loss.weights.style is -1.0, expected at least 0"),
        ("model.threshold=0.5", "model.threshold is 0.5, expected"),
        ("data.augmentation.flip=2", "data.augmentation.flip is 2.0, expected a probability"),
        ("data.source=last", "data.source is 'last', expected one of first, random"),
        ("loss.schedule.foo=[[0, 1]]", "loss.schedule is of 'foo', expected one of adversarial"),
        ("loss.schedule.style=[[5, 1], [5, 2]]", "loss.schedule of 'style' is .* steps rising"),
        ("batch", "'batch' is no setting, expected key=value"),
        ("run.batch=[", r"run.batch is '\[', which is no YAML"),
    ],
)
def test_every_mistake_is_named(word: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Config.load(None, [word])


def test_every_setting_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    names = [name for name, _ in settings(Config)]
    assert len(names) > 60
    assert all(f"  {name} = " in shown for name in names)


def test_every_setting_is_described() -> None:
    """By its field, or by the docstring of a class of another module."""
    about = meanings(Config)
    assert list(about) == [name for name, _ in settings(Config)]
    assert all(about.values()), [name for name, text in about.items() if not text]
    assert about["model.size"].endswith("It runs on any whose sides are multiples of `multiple`")
    assert about["loss.weights.style"] == about["loss.weights.perceptual"]
    assert about["data.augmentation.flip"] == "the probability of a horizontal flip"


def test_a_run_can_be_resumed_with_other_limits_but_not_with_another_loss() -> None:
    config = Config.load(None, ["model.preset=tiny"])
    assert not config.differences(Config.load(None, ["model.preset=tiny", "run.steps=5", "log.every=1", "out=b"]))
    other = Config.load(None, ["model.preset=tiny", "loss.weights.style=1", "run.batch=4"])
    assert config.differences(other) == ["loss.weights.style was 100000.0, is 1.0", "run.batch was 16, is 4"]


def test_weights_follow_their_schedule() -> None:
    config = Config.load(None, ["loss.schedule.temporal=[[10, 0], [20, 5]]", "loss.weights.style=3"])
    for step, weight in ((0, 0), (10, 0), (15, 2.5), (20, 5), (100, 5)):
        assert weights_at(config.loss, step) == dataclasses.replace(Weights(style=3), temporal=weight)


def test_stage_one_comes_first() -> None:
    config = Config.load(None, ["loss.stage_one=5", "loss.weights.guidance=3", "loss.weights.pixel=7"])
    equivariance = {"equivariance": 10.0, "equivariance_jacobian": 10.0}
    first = {name: weight for name, weight in dataclasses.asdict(weights_at(config.loss, 4)).items() if weight}
    assert first == {"guidance": 3.0, **equivariance}
    assert weights_at(config.loss, 5) == Weights(guidance=3, pixel=7)


def test_the_command_without_settings_or_with_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "internet train --help" in capsys.readouterr().err
    assert main(["train", "none.yaml"]) == 2
    assert "none.yaml" in capsys.readouterr().err
    assert main(["train", "run.batch=4"]) == 2
    assert "out is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_a_configuration(name: str) -> None:
    assert Config.load(name, ["out=runs/a"]).out == "runs/a"


def test_neither_file_nor_recipe() -> None:
    with pytest.raises(SettingError, match=r"no file 'one-vide', and no recipe .*one-video"):
        Config.load("one-vide")
