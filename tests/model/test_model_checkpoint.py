"""Models on disk: they are restored exactly, and mismatches are named."""

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from internet import cli, weights
from internet.model import INTERnet, INTERnetConfig, load_model, save_model
from internet.model.checkpoint import checkpoint_of, find_checkpoint, read_checkpoint
from internet.training.checkpoint import Checkpoints, warm_start
from internet.utils.files import OutputError, save_tensors
from internet.utils.optional import MissingExtraError

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
    model = INTERnet(INTERnetConfig.preset("tiny", stage_one="first-order"))
    model(*torch.rand(2, 2, 3, 128, 128))  # in training mode, which updates the batch statistics
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
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint: there is no checkpoints/latest\.txt in it"):
        find_checkpoint(tmp_path)
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        Checkpoints(folder).save(step, checkpoint_of(model))
    assert find_checkpoint(tmp_path) == find_checkpoint(folder) == folder / "step-00000003.pt"
    assert same_weights(load_model(tmp_path), model)
    for pointer in ("step-00000002.pt", " step-00000002.pt\r\n"):  # as edited by hand
        (folder / "latest.txt").write_text(pointer)
        assert find_checkpoint(tmp_path) == folder / "step-00000002.pt"


@pytest.mark.parametrize("pointer", [None, b"", b"step-00000009.pt", b"../secret.pt", b"\xff\x00", b"checkpoints"])
def test_a_missing_or_wrong_pointer_leads_to_the_highest_step(pointer, tmp_path):
    for name in ("step-00000002.pt", "step-00000010.pt", "step-123456789.pt", "step-00000011.damaged", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "latest.txt").write_bytes(pointer) if pointer is not None else None
    assert find_checkpoint(tmp_path) == tmp_path / "step-123456789.pt"


def test_a_run_of_the_first_version_whose_newest_is_a_link(model, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for step in (1, 2):
        save_tensors(folder / f"step-0000000{step}.pt", version_1(model))
    (folder / "last.pt").symlink_to("step-00000001.pt")
    assert find_checkpoint(tmp_path) == folder / "last.pt"
    assert same_weights(load_model(tmp_path), model)
    Checkpoints(folder).save(3, checkpoint_of(model))  # the run continues with this version
    assert find_checkpoint(tmp_path) == folder / "step-00000003.pt"
    assert not (folder / "last.pt").is_symlink()


def version_1(model: INTERnet) -> dict[str, Any]:
    """A checkpoint in the format of the first version."""
    entries = checkpoint_of(model)
    config = entries["model_config"]
    config["stage1"] = config.pop("stage_one")
    return entries | {"version": 1}


# Names of weights that ship


def test_weights_that_ship_are_found_by_their_name(model, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_FOLDER", tmp_path / "package")
    (tmp_path / "package").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file or folder 'walkers', .* it has none"):
        load_model("walkers")
    save_model(tmp_path / "package" / "walkers.safetensors", model)
    assert same_weights(load_model("walkers"), model)
    assert weights.find("walkers") == tmp_path / "package" / "walkers.safetensors"
    for name in ("walker", "walkers.pt", "walkers.safetensors", ""):
        with pytest.raises(FileNotFoundError, match=r"weights .*; it has walkers"):
            weights.find(name)
    with pytest.raises(FileNotFoundError, match=r"no file or folder 'dancers', .* it has walkers"):
        load_model("dancers")
    with pytest.raises(FileNotFoundError, match="walkers"):
        load_model("elsewhere/walkers")  # a path is not a name
    (tmp_path / "walkers").mkdir()  # a folder that is not a run
    assert same_weights(load_model("walkers"), model)
    (tmp_path / "walkers" / "config.yaml").touch()  # a run that has not saved anything yet
    with pytest.raises(FileNotFoundError, match="the folder 'walkers' has no checkpoint"):
        load_model("walkers")
    other = INTERnet(CONFIG)
    Checkpoints(tmp_path / "walkers" / "checkpoints").save(1, checkpoint_of(other))  # a run of that name comes first
    assert same_weights(load_model("walkers"), other)


# Safetensors


def test_a_model_comes_back_from_safetensors(model, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    about = {"recipe": "demo", "steps": 12, "metrics": {"psnr": 21.5}}
    save_model(path, model, metadata=about)
    loaded = load_model(path)
    assert loaded.config == CONFIG
    assert same_weights(loaded, model)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert read_checkpoint(path)["metadata"] == about
    assert cli.main(["info", "--checkpoint", str(path)]) == 0
    said = capsys.readouterr().out
    assert "metadata:\n  recipe              demo\n  steps               12\n" in said
    assert "metadata.metrics:\n  psnr                21.5\n" in said


def test_other_programs_read_the_tensors_and_the_header(model, tmp_path):
    from safetensors import safe_open

    save_model(tmp_path / "model.safetensors", model)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        assert torch.equal(file.get_tensor("generator.last.bias"), model.state_dict()["generator.last.bias"])
        header = {name: json.loads(text) for name, text in file.metadata().items()}
    assert (header["format"], header["version"]) == ("internet-checkpoint", 3)
    assert INTERnetConfig.from_dict(header["model_config"]) == CONFIG


def test_metadata_is_kept_by_torch_files_too(model, tmp_path):
    save_model(tmp_path / "model.pt", model, metadata={"steps": 12})
    assert read_checkpoint(tmp_path / "model.pt")["metadata"] == {"steps": 12}
    with pytest.raises(ValueError, match=r"header of .* takes plain types"):
        save_model(tmp_path / "model.safetensors", model, metadata={"weights": torch.ones(1)})


def test_any_changed_or_missing_byte_of_safetensors_is_found(model, tmp_path):
    """The format has no checksum of its own: ours is in the header."""
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for place in (0, 7, 8, 9, 50, 8 + header - 2, 8 + header, 8 + header + 5000, len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load_model(path)
    for size in (0, 1, 8, 9, 100, 8 + header, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load_model(path)


def test_safetensors_of_another_program_are_refused_as_a_model(model, tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"other\.safetensors' is not a checkpoint of this library"):
        load_model(tmp_path / "other.safetensors")


@pytest.mark.parametrize("rename", [".pt", ".bin", ""])
def test_a_file_is_known_by_its_content(model, tmp_path, rename):
    save_model(tmp_path / "model.safetensors", model)
    (tmp_path / "model.safetensors").rename(tmp_path / f"renamed{rename}")
    assert same_weights(load_model(tmp_path / f"renamed{rename}"), model)
    save_model(tmp_path / "model.pt", model)
    (tmp_path / "model.pt").rename(tmp_path / "torch.safetensors")
    assert same_weights(load_model(tmp_path / "torch.safetensors"), model)


def test_without_the_package_the_extra_is_named(model, tmp_path, monkeypatch):
    save_model(tmp_path / "model.safetensors", model)
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: load_model(tmp_path / "model.safetensors"), lambda: save_model("a.safetensors", model)):
        with pytest.raises(MissingExtraError, match=r"pip install 'internet-ops\[weights\]'"):
            call()


# Precision


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(model, tmp_path, dtype, name):
    stored = copy.deepcopy(model).to(dtype)
    save_model(tmp_path / name, stored)
    loaded = load_model(tmp_path / name)
    for key, value in loaded.state_dict().items():
        expected = stored.state_dict()[key]
        assert value.dtype == (torch.float32 if expected.is_floating_point() else expected.dtype)
        assert torch.equal(value, expected.to(value.dtype))
    with torch.no_grad():
        assert loaded(*torch.rand(2, 1, 3, 64, 64)).frame.isfinite().all()


def test_a_run_starts_from_weights_of_another_precision(model, tmp_path):
    save_model(tmp_path / "half.pt", copy.deepcopy(model).half())
    fresh = INTERnet(CONFIG)
    warm_start(fresh, str(tmp_path / "half.pt"))
    assert all(torch.equal(value, model.state_dict()[name].half()) for name, value in fresh.state_dict().items())
    assert all(value.dtype == torch.float32 for value in fresh.parameters())


def test_a_failed_save_leaves_the_old_file(model, tmp_path, monkeypatch):
    save_model(tmp_path / "model.pt", model)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("internet.utils.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(tmp_path / "model.pt", INTERnet(CONFIG))
    assert same_weights(load_model(tmp_path / "model.pt"), model)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.pt"]


def changed(entries: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The checkpoint with these weights replaced, or removed if None."""
    state = {name: value for name, value in (entries["model"] | others).items() if value is not None}
    return entries | {"model": state}


def test_weights_that_do_not_fit_are_named(entries, tmp_path):
    bad = {
        "generator.last.bias": None,
        "kp_detector.kp.bias": torch.zeros(5),
        "generator.third.weight": torch.ones(1),
        "generator.last.weight": entries["model"]["generator.last.weight"].int(),
        "kp_detector.jacobian.bias": torch.zeros(16).to_sparse(),
    }
    save_tensors(tmp_path / "model.pt", changed(entries, **bad))
    with pytest.raises(ValueError, match=r"the weights of '.*model\.pt' do not fit") as caught:
        load_model(tmp_path / "model.pt")
    for words in (
        "missing: generator.last.bias",
        "kp_detector.kp.bias is (5,), expected (4,)",
        "unknown: generator.third",
        "generator.last.weight is torch.int32, expected torch.float32",
        "kp_detector.jacobian.bias is sparse, quantized or without values",
    ):
        assert words in str(caught.value)


def test_files_that_are_something_else_are_named(entries, tmp_path):
    cases = {
        "it holds the stage I of first-order-motion alone": {"kp_detector.kp.bias": torch.zeros(1)},
        "first-order-motion wrote it; `internet import-fomm` makes": {"kp_detector": {}, "generator": {}},
        "its format is None, expected 'internet-checkpoint'": entries["model"],
        "its format is 'lightning'": {"format": "lightning"},
        r"its format is None": {},
        "checkpoint of version 4, this library reads up to 3: update it": entries | {"version": 4},
        "damaged: its entry 'architecture' is missing": {n: v for n, v in entries.items() if n != "architecture"},
        "is of the architecture 'unet', expected internet or first-order-motion": entries | {"architecture": "unet"},
        "damaged: its entry 'version' is missing": entries | {"version": None},
        "damaged: its entry 'model_config' is missing, or not a dict": entries | {"model_config": [1]},
        "damaged: its weights are not all tensors": changed(entries, **{"generator.last.bias": "0.5"}),
        "damaged: its weights are not all": entries | {"ema": {"generator.last.bias": 1}},
        "model_config of .* does not fit: there is no setting 'width'": entries | {"model_config": {"width": 3}},
    }
    for words, content in cases.items():
        save_tensors(tmp_path / "file.pt", content)
        with pytest.raises(ValueError, match=words):
            load_model(tmp_path / "file.pt")


def test_damaged_files(model, tmp_path):
    path = tmp_path / "broken.pt"
    for content in (b"", b"no weights at all", torch.rand(999).numpy().tobytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.pt' is not a complete file of weights"):
            load_model(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_model(Path("absent.pt"))


def test_a_file_that_is_cut_short_is_named_wherever_it_ends(model, tmp_path):
    """Like a broken download. torch searches for the end of the archive and may seek to a position before 0."""
    path = tmp_path / "broken.pt"
    save_model(path, model)
    whole = path.read_bytes()
    for size in (4, 30, 1000, 4100, 5000, 8000, 20000, 70000, len(whole) // 2, len(whole) - 22, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"broken\.pt' is damaged: its end is missing"):
            load_model(path)


def test_what_is_not_a_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", Path("/dev/zero")):
        with pytest.raises(OSError, match="is a pipe or a device, not a file"):
            load_model(path)


def test_a_changed_byte_is_found(model, tmp_path):
    """In the weights, which torch does not verify, and in the archive's directory, where it may imply a password."""
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
        ("stored as", "float32"),
    ):
        assert f"  {name:<20}{value}\n" in said
    assert "optimizer" not in said
    assert cli.main(["info", "--checkpoint", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model_config"] == CONFIG.to_dict()
    assert found["metrics"] == {"psnr": 21.5}
    assert cli.main(["info", "--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
