"""Settings: read from files and words, with a message for every mistake, and written so that they can be read again."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from internet.cli import main
from internet.losses import Weights
from internet.model import INTERnetConfig
from internet.training.config import Config
from internet.training.recipes import recipes
from internet.training.schedule import weights_at
from internet.utils.settings import SettingError, settings


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
    config = Config.load(None, [*words, "data.flow.preset=fine", "run.minutes=1"])
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
        ("bogus=1", "there is no setting 'bogus'; here there are out, seed, warm_start, model, data"),
        ("model.bogus=1", "there is no setting 'model.bogus'; here there are size, anchors"),
        ("model.preset=small", "model.preset is 'small', expected one of internet-512"),
        ("run.batch=x", "run.batch is 'x', expected a whole number"),
        ("run.batch=2.5", "run.batch is '2.5', expected a whole number"),
        ("run.batch=true", "run.batch is 'true', expected a whole number"),
        ("run.batch=", "run.batch is None, expected a whole number"),
        ("run.batch=0", "run.batch is 0, expected 1 to 1000000"),
        ("run.batch=1e3", "run.batch is '1e3', expected a whole number"),
        ("run.steps=99999999999999999999", "run.steps is '99999999999999999999', expected a whole number"),
        ("run.compile=1", "run.compile is '1', expected true or false"),
        ("run.threads=-1", "run.threads is -1, expected 0 to 4096"),
        ("run.minutes=inf", "run.minutes is 'inf', expected a finite number"),
        ("run.minutes=-1", "run.minutes is -1.0, expected at least 0"),
        ("seed=-1", "seed is -1, expected at least 0"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast', expected a finite number"),
        ("optimizer.lr=inf", "optimizer.lr is 'inf', expected a finite number"),
        ("optimizer.lr=nan", "optimizer.lr is 'nan', expected a finite number"),
        ("optimizer.lr=.inf", "optimizer.lr is '.inf', expected a finite number"),
        ("optimizer.lr=1e999", "optimizer.lr is '1e999', expected a finite number"),
        ("optimizer.lr=-0.1", "optimizer.lr is -0.1, expected at least 0"),
        ("optimizer.betas=[0.9]", r"optimizer.betas is \['0.9'\], expected 2 values"),
        ("optimizer.betas=[0.9, 1.5]", r"optimizer.betas is \[0.9, 1.5\], expected each at least 0 and below 1"),
        ("optimizer.betas=[-0.1, 0.9]", "optimizer.betas is .* expected each at least 0 and below 1"),
        ("optimizer.betas=[0.9, 1]", "optimizer.betas is .* expected each at least 0 and below 1"),
        ("optimizer.milestones=60", "optimizer.milestones is '60', expected a list"),
        ("optimizer.milestones=[60, x]", "optimizer.milestones is 'x', expected a whole number"),
        ("optimizer=3", "optimizer is '3', expected a section of settings"),
        ("optimizer.ema=1", "optimizer.ema is 1.0, expected at least 0 and below 1"),
        ("optimizer.gamma=inf", "optimizer.gamma is 'inf', expected a finite number"),
        ("model.anchors=0", "model.anchors is 0, expected 1 to 1000"),
        ("model.channels=[64, 0, 16]", r"model.channels is \[64, 0, 16\], expected each 1 to"),
        ("model.temperature=0", "model.temperature is 0.0, expected at least 1e-06"),
        ("model.size=100", "model.size is 100, expected a multiple of 128"),
        ("loss.weights.style=-1", "loss.weights.style is -1.0, expected at least 0"),
        ("model.threshold=0.5", "model.threshold is 0.5, expected"),
        ("data.augmentation.flip=2", "data.augmentation.flip is 2.0, expected 0 to 1"),
        ("data.synthetic.moving_background=1.5", "moving_background is 1.5, expected 0 to 1"),
        ("data.source=last", "data.source is 'last', expected one of first, random"),
        ("data.flow.preset=slow", "data.flow.preset is 'slow', expected one of"),
        ("data.workers=1000000", "data.workers is 1000000, expected 0 to 1024"),
        ("loss.schedule.foo=[[0, 1]]", "loss.schedule is of 'foo', expected one of adversarial"),
        ("loss.schedule.style=[[5, 1], [5, 2]]", "loss.schedule of 'style' is .* steps rising"),
        ("loss.schedule.style=[[0, inf]]", "loss.schedule.style is 'inf', expected a finite number"),
        ("loss.schedule.style=[[0, -1]]", "loss.schedule is .* expected at least 0"),
        ("data={pose: true}", "data.pose is of filmed people, path is 'synthetic'"),
        ("data={path: a.mp4, pose: true}", "data.augmentation.flip is 0.5, expected 0: pose tells left from right"),
        (
            "data={path: a.mp4, pose: true, motion: true, augmentation: {flip: 0}}",
            "data.pose and motion are both true, expected one of them",
        ),
        (
            "data={path: a.mp4, pose_augmentation: {probability: 0.5}}",
            "data.pose_augmentation.probability is 0.5, expected 0 without pose",
        ),
        (
            "data={path: a.mp4, pose: true, augmentation: {flip: 0}, pose_augmentation: {probability: 0.5}}",
            "loss.regularization is 'intrinsic', expected 'none' with data.pose_augmentation",
        ),
        ("batch", "'batch' is not a setting, expected key=value"),
        ("=3", "'=3' is not a setting, expected key=value"),
        ("run..batch=3", "there is no setting 'run.'"),
        ("run.batch=[", r"run.batch is '\[', which is not YAML"),
        ("run={batch: 2, batch: 3}", "'batch' stands twice"),
        ("out.folder=a", "out is .*folder.*, expected text"),
    ],
)
def test_every_mistake_is_named(word: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Config.load(None, [word])


#: Text that YAML would read as a comment, a number, a time, a date, null, a flag, a list or a reference.
TYPED = (
    *("run #1", "+5", "001", "010", "0x10", "1_000", "1e3", "12:30", "2026-11-26", "2026-11-26 12:30:00", "null", "~"),
    *("true", "no", "[a]", "{a: b}", "&a", "*a", "!x", "%a", "@a", "`a`", "- a", "a: b", "'a'", '"a"', " a ", "a=b"),
    *(".inf", ".nan", "=", "<<", "?", "|", ">", "é", "\t"),
)


@pytest.mark.parametrize("text", TYPED)
def test_what_is_typed_for_a_text_setting_is_that_text(text: str, tmp_path: Path) -> None:
    config = Config.load(None, [f"out={text}", f"data.path={text}"])
    assert config.out == config.data.path == text
    file = tmp_path / "config.yaml"  # as a run writes it, and as it is read when the run continues
    file.write_text(yaml.safe_dump(config.to_dict(), allow_unicode=True))
    assert Config.load(file).out == text
    assert Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("text", ["001", "010", "+5", "12:30", "2026-11-26", "1_000", "0x10", "yes", "1e3", ".inf"])
def test_a_text_setting_in_a_file_is_its_text_too(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"out: {text}\ndata: {{path: {text}}}\n")
    assert Config.load(file).out == Config.load(file).data.path == text


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("run: {batch: 016, steps: null}\noptimizer: {lr: 1e-3, betas: [.5, 9.9e-1], discriminator_lr: ~}\n")
    config = Config.load(file)
    assert (config.run.batch, config.run.steps) == (16, None)
    assert (config.optimizer.lr, config.optimizer.betas, config.optimizer.discriminator_lr) == (1e-3, (0.5, 0.99), None)
    for text in ("true", "True", "TRUE"):
        assert Config.load(file, [f"run.compile={text}"]).run.compile


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"run: [1, 2", "is not a YAML file of settings"),
        (b"- run\n- data\n", "holds a list, expected sections of settings"),
        (b"run", "holds text, expected sections"),
        (b"run: {batch: 2}\nseed: 1\nrun: {steps: 3}\n", "'run' stands twice, the second time in line 3"),
        (b"? [a, b]\n: 3\n", "in line 1 a name is expected before the colon"),
        (b"a: &a [*a]\n", "is not a YAML file of settings: it is nested too deeply, or holds itself"),
        (b"[" * 5000, "is not a YAML file of settings"),
        (b"\xff\xfe\x00", "is not a YAML file of settings"),
        (b"out: \x00", "is not a YAML file of settings"),
        (b"--- {seed: 1}\n--- {seed: 2}\n", "is not a YAML file of settings"),
        (b"run: !!python/object:os.system {}", "run.*|is not"),
        (b"out: r\xe9sum\xe9\n", "is not a YAML file of settings"),
    ],
)
def test_a_file_that_is_something_else_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    if content.startswith(b"run: !!python"):  # tags are ignored, which leaves an empty section
        assert Config.load(tmp_path / "config.yaml") == Config()
        return
    with pytest.raises(SettingError, match=message):
        Config.load(tmp_path / "config.yaml")


def test_files_of_other_editors_are_read(tmp_path: Path) -> None:
    for content in ("seed: 3\n", "\ufeffseed: 3\n", "seed: 3\r\n", "# a comment\nseed: 3", "---\nseed: 3\n...\n"):
        (tmp_path / "config.yaml").write_text(content, encoding="utf-8", newline="")
        assert Config.load(tmp_path / "config.yaml").seed == 3
    (tmp_path / "config.yaml").write_text("")
    assert Config.load(tmp_path / "config.yaml") == Config()


def test_values_of_a_program_are_checked_as_well() -> None:
    for wrong in ({"size": "large"}, {"size": None}, {"depth": 2.5}, {"threshold": float("nan")}, {"channels": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            INTERnetConfig(**wrong)
    assert INTERnetConfig(channels=[64, 32, 16]).channels == (64, 32, 16)
    with pytest.raises(ValueError, match=r"style is inf, expected a finite number"):
        Weights(style=float("inf"))


def test_every_setting_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    names = [name for name, _ in settings(Config)]
    assert len(names) > 60
    assert all(f"  {name} = " in shown for name in names)


def test_the_help_tells_what_each_setting_means_and_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(field.metadata["about"] for _, field in settings(Config))
    for line in (
        "optimizer.ema = 0.0 decay of the running mean of the weights, such as 0.999 (0: none) (at least",
        "data.augmentation.flip = 0.5 the probability of a horizontal flip (0 to 1)",
        'loss.regularization = "intrinsic" the temporal loss (one of none, flow, extrinsic, intrinsic)',
        "run.batch = 16 samples of a step, over all ranks (1 to 1000000)",
    ):
        assert line in shown


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


@pytest.mark.parametrize("place", range(3))
def test_an_option_may_stand_anywhere_among_the_settings(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run.batch=4", "out=runs/a"]
    assert main(["train", *words[:place], "--report", *words[place:]]) == 2
    assert "--report: needs frames that are not trained on" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "out=runs/a", "--repot", "run.batch=4"])
    assert "unrecognized arguments: --repot run.batch=4" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a=b.yaml", "-.yaml", "a #1: b.yml", "é🙂.yaml", "n" * 250 + ".yaml"])
def test_a_file_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("seed: x\n")
    assert main(["train", f"./{name}"]) == 2
    assert "seed is 'x', expected a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_a_configuration(name: str) -> None:
    assert Config.load(name, ["out=runs/a"]).out == "runs/a"


def test_neither_file_nor_recipe() -> None:
    with pytest.raises(SettingError, match=r"no file 'one-vide', and no recipe .*one-video"):
        Config.load("one-vide")
