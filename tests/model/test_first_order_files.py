"""First-order-motion's files: the command that imports them, and reading them without running code."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from internet import cli
from internet.data.image import to_array
from internet.data.video import iter_frames, read_frames
from internet.inference import animate_video
from internet.model import load_model
from internet.model.first_order import import_checkpoint
from internet.model.first_order.settings_file import config_of
from internet.model.weights import read_weights
from tests.support.clips import write_image, write_video
from tests.support.first_order import COMMON, checkpoint, settings


@pytest.fixture
def files(small, tmp_path: Path) -> Path:
    written, saved = small
    torch.save(saved, tmp_path / "vox.pth.tar")
    (tmp_path / "vox.yaml").write_text(yaml.safe_dump(written))
    return tmp_path


def imported(folder: Path, *more: str, name: str = "vox.pth.tar", out: str = "out.safetensors") -> int:
    return cli.main(["import-fomm", str(folder / name), "--out", str(folder / out), *more])


def test_the_command_writes_what_loads(files, small, capsys):
    assert imported(files, "--config", str(files / "vox.yaml")) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"out\.safetensors: first-order-motion, .* 3 anchors, a Jacobian map each, frames 64 × 64 × 3", said
    )
    assert "torch before 1.6" not in said
    model = load_model(files / "out.safetensors")
    assert model.config == config_of(small[0])
    assert imported(files, "--config", str(files / "vox.yaml")) == 2
    assert "exists; choose another name or pass --overwrite" in capsys.readouterr().err
    assert cli.main(["info", "--checkpoint", str(files / "out.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "first-order-motion" in said
    assert "vox.pth.tar" in said
    assert imported(files, "--config", str(files / "vox.yaml"), "--trained-with-torch-1.0", out="2019.pt") == 0
    assert load_model(files / "2019.pt").config.align_corners


def test_without_settings_nothing_is_guessed(files, capsys):
    assert imported(files) == 2
    said = capsys.readouterr().err
    assert "--config: the weights do not show size, temperature, padding, variance" in said
    assert not (files / "out.safetensors").exists()
    assert imported(files, "--published-settings", "--size", "64") == 0
    assert "assumed, because the weights do not show it: size 64, temperature 0.1" in capsys.readouterr().out
    assert load_model(files / "out.safetensors").config.size == 64


def test_a_size_that_does_not_fit_is_called_what_it_was_given_as(files, capsys):
    config = ("--config", str(files / "vox.yaml"))
    assert imported(files, *config, "--size", "50") == 2
    assert "CHECKPOINT, --config, --size: size is 50, expected a multiple of" in capsys.readouterr().err
    (files / "vox.yaml").write_text((files / "vox.yaml").read_text().replace("- 64", "- 50"))
    assert imported(files, *config) == 2
    said = capsys.readouterr().err
    assert "CHECKPOINT, --config: dataset_params.frame_shape is 50, expected a multiple of" in said


def test_files_of_old_torch_are_told_from_new(files, small, capsys):
    torch.save(small[1], files / "old.pth.tar", _use_new_zipfile_serialization=False)
    config = ("--config", str(files / "vox.yaml"))
    assert imported(files, *config, name="old.pth.tar") == 0
    assert "--trained-with-torch-1.0 samples as in training" in capsys.readouterr().out
    assert imported(files, *config, "--overwrite", "--trained-with-torch-1.0", name="old.pth.tar") == 0
    assert "--trained" not in capsys.readouterr().out


def test_an_imported_model_animates(files, small, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [cv2_smooth(rng) for _ in range(4)]
    write_image(tmp_path / "source.png", pictures[0])
    write_video(tmp_path / "driving.mp4", pictures[1:])
    assert imported(files, "--config", str(files / "vox.yaml")) == 0
    names = {
        "--source": "source.png",
        "--driving": "driving.mp4",
        "--checkpoint": "out.safetensors",
        "--out": "out.mp4",
    }
    words = [word for name, file in names.items() for word in (name, str(tmp_path / file))]
    assert cli.main(["animate", "--device", "cpu", "--report", "--relative", *words]) == 0
    assert len(list(iter_frames(tmp_path / "out.mp4"))) == 3
    assert (tmp_path / "out.html").exists()


def cv2_smooth(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture, uint8 (64, 80, 3)."""
    coarse = torch.from_numpy(rng.random((1, 3, 6, 8)))
    return to_array(F.interpolate(coarse, size=(64, 80), mode="bilinear"))


@pytest.mark.parametrize("channels", [1, 2])
def test_pictures_for_a_model_of_other_channels(channels, tmp_path):
    written = settings({f"{COMMON}.num_channels": channels})
    model = import_checkpoint(checkpoint(written), written)
    picture = cv2_smooth(np.random.default_rng(1))
    write_video(tmp_path / "driving.mp4", [picture, picture[::-1]])
    out = tmp_path / "out.mp4"
    if channels == 2:
        with pytest.raises(ValueError, match="the model takes frames of 2 channels, a picture has 3 or, as luma, 1"):
            animate_video(model, picture, tmp_path / "driving.mp4", out)
        assert not out.exists()
        return
    results: list[Tensor] = []
    animate_video(model, picture, tmp_path / "driving.mp4", out, on_result=lambda *all: results.append(all[3].frame))
    assert [tuple(frame.shape) for frame in results] == [(1, 1, 64, 64)] * 2
    shown = read_frames(out, [1])[0].astype(int)
    assert np.abs(shown - to_array(results[1])).mean() < 8
    assert np.abs(shown - shown.mean(axis=2, keepdims=True)).mean() < 3  # grey


class Anything:
    """An object that only unpickling can create."""


class Runs:
    """An object whose unpickling runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_is_run(small, tmp_path, zipped, capsys):
    for extra, named in ((Anything(), "Anything"), (Runs(tmp_path / "ran"), "mkdir")):
        path = tmp_path / "code.pth"
        torch.save(small[1] | {"extra": extra}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=rf"code\.pth' holds more than tensors.*{named}.* would run code"):
            read_weights(path)
        assert imported(tmp_path, "--published-settings", name="code.pth") == 2
        assert "CHECKPOINT:" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_are_read(small, tmp_path, zipped):
    numbers = [np.float64(0.1), np.float32(-2.5), np.float16(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    numbers += [np.dtype(">f4").type(3.5), np.complex64(1 + 2j)]
    torch.save(small[1] | {"epoch": numbers}, tmp_path / "vox.pth", _use_new_zipfile_serialization=zipped)
    read = read_weights(tmp_path / "vox.pth")["epoch"]
    assert read == [number.item() for number in numbers]
    assert [type(number) for number in read] == [type(number.item()) for number in numbers]


class Forged:
    """numpy's function for numbers, with arguments chosen by an attacker."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return np.core.multiarray.scalar if hasattr(np, "core") else None, self.arguments


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "arguments", [(np.dtype("f8"), b"123"), (np.dtype("O"), b"12345678"), (np.dtype("S8"), b"12345678"), (3, b"1")]
)
def test_forged_numbers_are_refused(tmp_path, arguments):
    torch.save({"epoch": Forged(*arguments)}, tmp_path / "forged.pth")
    with pytest.raises(ValueError, match=r"forged\.pth' is not a complete file of weights \(the file holds a"):
        read_weights(tmp_path / "forged.pth")


def test_a_file_that_is_not_a_checkpoint(tmp_path, capsys):
    empty, noise, half, tensor = (tmp_path / name for name in ("empty.pth", "noise.pth", "half.pth", "tensor.pth"))
    empty.touch()
    noise.write_bytes(b"\x80\x02no checkpoint at all")
    torch.save({"kp_detector": {"kp.weight": torch.zeros(1000)}}, half)
    half.write_bytes(half.read_bytes()[:2000])
    torch.save(torch.zeros(2), tensor)
    words = {empty: "is not a complete file", noise: "is not a complete file", half: "its end is missing"}
    words |= {tensor: "holds a Tensor", tmp_path / "absent": "No such file", tmp_path: "is a folder, not a file"}
    for path, reason in words.items():
        assert imported(tmp_path, "--published-settings", name=path.name if path != tmp_path else "") == 2
        said = capsys.readouterr().err
        assert "CHECKPOINT:" in said
        assert reason in said
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"model_params: [", "is not a YAML file"),
        (b"\xff\xfe\x00", "is not a YAML file"),
        (b"a: !!python/object/apply:os.getcwd []", "is not a YAML file"),
        (b"", "holds a NoneType, expected sections such as model_params"),
        (b"- 1", "holds a list"),
        (b"train_params: {}", "there is no section model_params.common_params"),
    ],
)
def test_settings_files_that_are_something_else(files, content, words, capsys):
    (files / "bad.yaml").write_bytes(content)
    assert imported(files, "--config", str(files / "bad.yaml")) == 2
    said = capsys.readouterr().err
    assert "--config: " in said
    assert words in said


def test_settings_files_that_are_not_there(files, capsys):
    for name, words in (("absent.yaml", "No such file"), ("", "is a folder, not a file")):
        assert imported(files, "--config", str(files / name)) == 2
        said = capsys.readouterr().err
        assert "--config: " in said
        assert words in said
