"""The weights that ship: how they are exported from a run, and what their card says."""

from pathlib import Path

import pytest
import torch

from internet import weights
from internet.cli import main
from internet.evaluation import measure_on_figures
from internet.model.checkpoint import load_model, read_checkpoint
from internet.weights.export import ROWS, export

SMALL = ["model.size=64", "run.batch=2", "run.steps=2", "run.precision=float32", "data.workers=0"]
LOSS = ["loss.features.weights=random", "loss.stage_one=1", "validation.path=", "optimizer.ema=0.5"]


def test_a_run_becomes_weights_and_a_card(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "figures", f"out={run}", *SMALL, *LOSS]) == 0
    export(str(run), "small", folder=tmp_path, samples=4, commit="c0ffee", note="on a test")
    model, trained = load_model(tmp_path / "small.safetensors"), load_model(run)
    for name, value in trained.state_dict().items():  # the averaged ones
        assert torch.equal(model.state_dict()[name], value.half().float())
    metadata = read_checkpoint(tmp_path / "small.safetensors")["metadata"]
    assert (metadata["steps"], metadata["batch"], metadata["commit"]) == (2, 2, "c0ffee")
    measured = measure_on_figures(model, samples=4)
    assert metadata["metrics"] == pytest.approx(measured)
    assert metadata["metrics_moving_background"]["psnr"] != measured["psnr"]
    card = (tmp_path / "small.md").read_text(encoding="utf-8")
    assert "internet train figures out=runs/small\n" in card
    assert "2 steps of 2 samples, commit c0ffee; on a test" in card
    assert f"| PSNR, dB | {measured['psnr']:.1f} | {measured['repeated_psnr']:.1f} |" in card
    assert all(label in card for label, *_ in ROWS)


def test_weights_take_the_background_of_another_run(tmp_path: Path) -> None:
    for name in ("figures", "figures-background"):
        changed = [*SMALL, *LOSS, "warm_start=", "validation.every=1000"]
        assert main(["train", name, f"out={tmp_path / name}", *changed]) == 0
    runs = [str(tmp_path / name) for name in ("figures", "figures-background")]
    export(runs[0], "both", background=runs[1], folder=tmp_path, samples=2)
    made, figures, later = (load_model(path).state_dict() for path in (tmp_path / "both.safetensors", *runs))
    assert any(name.startswith("background_predictor.") for name in made)
    for name, value in made.items():
        whose = later if name.startswith("background_predictor.") else figures
        assert torch.equal(value, whose[name].half().float())
    assert read_checkpoint(tmp_path / "both.safetensors")["metadata"]["background"] == {
        "seed": 0,
        "steps": 2,
        "batch": 2,
    }
    assert "background's motion: seed 0, 2 steps of 2" in (tmp_path / "both.md").read_text(encoding="utf-8")
    export(str(tmp_path / "both.safetensors"), "again", folder=tmp_path, samples=2)  # of weights in place of a run
    assert "2 steps of 2 samples" in (tmp_path / "again.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="has a still background"):
        export(runs[0], "none", background=runs[0], folder=tmp_path, samples=2)


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="no weights 'nobody' in the library; it has"):
        weights.find("nobody")


@pytest.mark.parametrize("name", weights.names())
def test_what_ships_is_small_loads_and_has_a_card_that_agrees(name: str) -> None:
    file = weights.find(name)
    assert file.stat().st_size < 6_000_000
    metadata = read_checkpoint(file)["metadata"]
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{metadata['steps']} steps of {metadata['batch']} samples" in card
    assert f"| {metadata['metrics']['psnr']:.1f} | {metadata['metrics']['repeated_psnr']:.1f} |" in card


def test_the_shipped_figures_move_as_their_card_says() -> None:
    if "figures" not in weights.names():
        pytest.skip("not trained yet")
    measured = measure_on_figures(load_model("figures"), samples=16)
    assert measured["epe"] < 0.25 * measured["epe_zero"]
    assert measured["psnr"] > measured["repeated_psnr"] + 5
    assert measured["ssim"] > measured["repeated_ssim"]
    assert measured["confidence_vacated"] < 0.3 < 0.7 < measured["confidence_visible"]


def test_the_shipped_figures_move_before_a_background_that_does() -> None:
    measured = measure_on_figures(load_model("figures"), samples=16, moving_background=1.0)
    assert measured["epe"] < 0.3 * measured["epe_zero"]
    assert measured["psnr"] > measured["repeated_psnr"] + 4
    assert measured["ssim"] > measured["repeated_ssim"] + 0.2
