"""Models on disk: they come back as they went, and what does not fit is named."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from internet import cli
from internet.model import INTERnet, INTERnetConfig, load_model, save_model
from internet.model.checkpoint import checkpoint_of, find_checkpoint, read_checkpoint
from internet.model.first_order import stage_one
from internet.utils.files import OutputError, save_tensors

CONFIG = INTERnetConfig.preset("tiny", anchors=4, scales="single")


@pytest.fixture(scope="module")
def model() -> INTERnet:
    torch.manual_seed(0)
    return INTERnet(CONFIG)


@pytest.fixture
def entries(model: INTERnet) -> dict[str, Any]:
    return checkpoint_of(model)


def same_weights(one: INTERnet, other: INTERnet) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_model_comes_back_as_it_went(model, tmp_path):
    save_model(tmp_path / "model.pt", model)
    state = torch.get_rng_state()
    loaded = load_model(tmp_path / "model.pt")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.config == CONFIG
    assert not loaded.training
    assert same_weights(loaded, model)
    source, driving = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(source, driving).frame, model.eval()(source, driving).frame)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_first_order_motion_s_stage_one_comes_back_with_its_statistics(tmp_path):
    model = INTERnet(INTERnetConfig.preset("tiny", stage1="first-order"))
    model(*torch.rand(2, 2, 3, 128, 128))  # in training mode: it moves the batch statistics
    save_model(tmp_path / "model.pt", model)
    assert same_weights(load_model(tmp_path / "model.pt"), model)


def test_averaged_weights_are_taken_unless_told_otherwise(model, entries, tmp_path):
    averaged = INTERnet(CONFIG)
    more = {"step": 12, "optimizer": {"state": [torch.ones(3)]}}
    save_tensors(tmp_path / "last.pt", entries | {"ema": averaged.state_dict()} | more)
    assert same_weights(load_model(tmp_path / "last.pt"), averaged)
    assert same_weights(load_model(tmp_path / "last.pt", ema=False), model)
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 12


def test_a_training_folder_means_its_newest_checkpoint(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint: neither checkpoints/last\.pt nor last\.pt"):
        find_checkpoint(tmp_path)
    save_model(tmp_path / "last.pt", INTERnet(CONFIG))
    assert find_checkpoint(tmp_path) == tmp_path / "last.pt"
    (tmp_path / "checkpoints").mkdir()
    save_model(tmp_path / "checkpoints" / "last.pt", model)
    assert same_weights(load_model(tmp_path), model)


def test_a_failed_save_leaves_the_old_file(model, tmp_path, monkeypatch):
    save_model(tmp_path / "model.pt", model)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("internet.utils.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(tmp_path / "model.pt", INTERnet(CONFIG))
    assert same_weights(load_model(tmp_path / "model.pt"), model)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.pt"]


def changed(entries: dict[str, Any], **weights: Any) -> dict[str, Any]:
    """The checkpoint with these weights exchanged, or without those that are None."""
    state = {name: value for name, value in (entries["model"] | weights).items() if value is not None}
    return entries | {"model": state}


def test_weights_that_do_not_fit_are_named(entries, tmp_path):
    bad = {"generator.last.bias": None, "kp_detector.kp.bias": torch.zeros(5), "generator.third.weight": torch.ones(1)}
    save_tensors(tmp_path / "model.pt", changed(entries, **bad))
    with pytest.raises(ValueError, match=r"the weights of '.*model\.pt' do not fit") as caught:
        load_model(tmp_path / "model.pt")
    for words in (
        "missing: generator.last.bias",
        "kp_detector.kp.bias is (5,), expected (4,)",
        "unknown: generator.third",
    ):
        assert words in str(caught.value)


def test_files_that_are_something_else_are_named(entries, tmp_path):
    with torch.device("meta"):
        shapes = INTERnet(INTERnetConfig.preset("tiny", stage1="first-order")).state_dict()
    parts = {"kp_detector": "kp_detector.", "generator": ""}
    fomm = {
        entry: {
            name.removeprefix(prefix): torch.zeros(()).expand(value.shape)
            for name, value in shapes.items()
            if name.startswith(prefix or "dense_motion_network.")
        }
        for entry, prefix in parts.items()
    }
    cases = {
        "it holds the stage I that `internet import-fomm` writes": stage_one(fomm),
        "first-order-motion wrote it; `internet import-fomm` takes": fomm,
        "its format is None, expected 'internet-checkpoint'": entries["model"],
        "its format is 'lightning'": {"format": "lightning"},
        r"its format is None": {},
        "checkpoint of version 2, this library reads up to 1: update it": entries | {"version": 2},
        "model_config of .* does not fit: the model has no field 'width'": entries | {"model_config": {"width": 3}},
    }
    for words, content in cases.items():
        save_tensors(tmp_path / "file.pt", content)
        with pytest.raises(ValueError, match=words):
            load_model(tmp_path / "file.pt")


def test_damaged_files(model, tmp_path):
    save_model(tmp_path / "model.pt", model)
    whole = (tmp_path / "model.pt").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no weights at all", torch.rand(999).numpy().tobytes()):
        (tmp_path / "broken.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.pt' is no complete file of weights"):
            load_model(tmp_path / "broken.pt")
    with pytest.raises(FileNotFoundError, match="absent"):
        load_model(Path("absent.pt"))


def test_a_changed_byte_is_found(model, tmp_path):
    """In the weights, which torch reads unchecked, and in the archive's directory, where it asks for a password."""
    save_model(tmp_path / "model.pt", model)
    whole = (tmp_path / "model.pt").read_bytes()
    weight = whole.index(model.state_dict()["generator.last.weight"].numpy().tobytes())
    encrypted = whole.index(b"PK\x01\x02") + 8
    for place, reason in ((weight, r"the checksum of .*data/\d+ is wrong"), (encrypted, "is encrypted")):
        content = bytearray(whole)
        content[place] ^= 1
        (tmp_path / "broken.pt").write_bytes(content)
        with pytest.raises(ValueError, match=rf"broken\.pt' is damaged: .*{reason}"):
            load_model(tmp_path / "broken.pt")


def test_info_tells_what_a_checkpoint_holds(model, entries, tmp_path, capsys):
    extra = {"step": 1200, "metrics": {"psnr": 21.5}, "optimizer": {"state": [torch.ones(2)], "lr": 2e-4}}
    save_tensors(tmp_path / "last.pt", entries | {"ema": model.state_dict()} | extra)
    assert cli.main(["info", "--checkpoint", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name, value in (
        ("step", "1200"),
        ("psnr", "21.5"),
        ("anchors", "4"),
        ("scales", "single"),
        ("averaged weights", "yes"),
    ):
        assert f"  {name:<20}{value}\n" in said
    assert "optimizer" not in said
    assert cli.main(["info", "--checkpoint", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model_config"] == CONFIG.to_dict()
    assert found["metrics"] == {"psnr": 21.5}
    assert cli.main(["info", "--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
