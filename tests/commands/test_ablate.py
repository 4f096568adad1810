"""`internet ablate`: every scheme is trained and measured, and the results are presented."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from internet.cli import main
from internet.commands._shared.ablation import material
from internet.commands._shared.ablation.job import Job
from internet.commands._shared.ablation.results import Results, gather, orders, spread, table_rows, verdict_rows
from internet.commands._shared.ablation.schemes import ORDERS, PAPER, SCHEMES
from internet.data.synthetic import numbered_clip
from internet.evaluation.measure import Column
from tests.support.clips import write_video

SMALL = ["--measures", "quality", "--set", "model.size=32", "run.batch=2", "loss.stage_one=1"]


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two clips of 12 frames, without a split into train and test."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        frames = list(numbered_clip(7, number, 32, frames=12, moving_background=0))
        write_video(folder / f"{number}.mp4", frames)
    return folder


def ablate(data: object, out: Path, *words: object) -> int:
    return main(["ablate", *map(str, (data, "--out", out, *words))])


@pytest.mark.slow
def test_a_whole_one(clips, tmp_path, capsys):
    """Every scheme, including those of the future work: files, tables, figures and the page."""
    out = tmp_path / "out"
    assert ablate(clips, out, "--steps", 2, "--seeds", 1, "--future-work", *SMALL) == 0
    said = capsys.readouterr().out
    assert all(scheme.title in said for scheme in SCHEMES.values())
    assert all((out / name).stat().st_size for name in ("tables.txt", "report.html", "figure-7.png", "figure-8.png"))
    results = json.loads((out / "results.json").read_text())
    assert results["steps"] == {f"{scheme} 0": 2 for scheme in SCHEMES}
    assert len(results["orders"][1]) == len(ORDERS) * 2  # by MS-SSIM and by PSNR
    assert "trained on frames 0 to 7, measured on the others" in (out / "report.html").read_text()
    one = json.loads((out / "runs" / "ms-c-0" / "evaluation" / "metrics.json").read_text())
    assert [clip["frames"] for clip in one["clips"]] == [4, 4]
    configs = {scheme: (out / "runs" / f"{scheme}-0" / "training" / "config.yaml").read_text() for scheme in SCHEMES}
    assert len(set(configs.values())) == len(SCHEMES)


@pytest.mark.slow
def test_more_seeds_are_added_and_nothing_is_done_twice(clips, tmp_path):
    out, words = tmp_path / "out", ("--steps", 2, "--schemes", "ss4x-a", "ms-c", *SMALL)
    assert ablate(clips, out, "--seeds", 1, *words) == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*.json")}
    assert ablate(clips, out, "--seeds", 2, "--processes", 2, *words) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    alone = tmp_path / "alone"
    assert ablate(clips, alone, "--seeds", 2, *words, "--schemes", "ms-c") == 0
    for name in ("evaluation/metrics.json", "anchors.json"):
        assert (out / "runs/ms-c-1" / name).read_text() == (alone / "runs/ms-c-1" / name).read_text()


def test_other_settings_are_refused(clips, tmp_path, capsys):
    out = tmp_path / "out"
    assert ablate(clips, out, "--steps", 1, "--seeds", 1, "--schemes", "ms-c", *SMALL) == 0
    assert ablate(clips, out, "--steps", 2, "--seeds", 1, "--schemes", "ms-c", *SMALL) == 2
    assert "--out: " in (said := capsys.readouterr().err)
    assert "steps was 1, is 2" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "1", "--set", "model.sise=32"), "--set: there is no setting 'model.sise'"),
        (("--steps", "1", "--schemes", "fom", "--future-work"), "--future-work adds to the schemes"),
        (("--steps", "1"), "DATA: 'missing' does not exist"),
    ],
)
def test_bad_arguments_are_named(tmp_path, capsys, words, message):
    assert ablate("missing", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_drawn_material_has_the_persons_true_outline(tmp_path, monkeypatch):
    monkeypatch.setattr(material, "TRAINED", 1)
    monkeypatch.setattr(material, "TESTED", 2)
    monkeypatch.setattr(material, "FRAMES", 5)
    found = material.prepare("synthetic", tmp_path / "clips", 64)
    assert [clip.name for clip in found.clips] == ["001", "002"]
    clip = numbered_clip(material.SEED, 2, 64, frames=5, **material.BACKGROUNDS)
    assert np.array_equal(found.clips[1].read([3])[0], clip[3])
    mask = found.person("002", 3, torch.empty(0), torch.empty(1, 3, 64, 64))
    assert np.array_equal(mask[0, 0].numpy(), clip.labels(clip.time(3)) > 0)


def made_up(values: dict[tuple[str, int], list[float]], better: str = "higher") -> Results:
    """Results of one column."""
    columns = {"x": Column("x", "X", better, "")}
    return Results(columns, {which: {"x": np.array(clips)} for which, clips in values.items()}, {}, {}, {})


def test_orders_by_hand():
    values = {
        ("ss4x-a", 0): [1.0, 2.0, 3.0],
        ("ss4x-b", 0): [2.0, 3.0, 4.5],
        ("ss4x-a", 1): [1.0, 2.0, 3.0],
        ("ss4x-b", 1): [1.5, 2.5, 4.0],
        ("ss4x-c", 1): [1.4, 2.6, 4.0],  # only one seed
    }
    found = {(order.better, order.worse): order for order in orders(made_up(values))}
    assert set(found) == {("ss4x-b", "ss4x-a"), ("ss4x-c", "ss4x-b")}
    first = found["ss4x-b", "ss4x-a"]
    assert first.gain == pytest.approx(np.mean([1, 1, 1.5, 0.5, 0.5, 1]))
    assert (first.wins, first.seeds, first.verdict) == (2, 2, "holds")
    assert found["ss4x-c", "ss4x-b"].verdict == "not decided"
    split = {("ms-b", 0): [1.0] * 5, ("ms-c", 0): [2.0] * 5, ("ms-b", 1): [1.0], ("ms-c", 1): [0.9]}
    (one,) = orders(made_up(split))
    assert one.low > 0  # but one of the two seeds disagrees
    assert (one.wins, one.verdict) == (1, "not decided")
    turned = {(order.better, order.worse): order for order in orders(made_up(values, "lower"))}
    assert turned["ss4x-b", "ss4x-a"].verdict == "reversed"
    assert turned["ss4x-b", "ss4x-a"].gain == pytest.approx(-first.gain)
    rows = [["SS4x b better than SS4x a", "holds"], ["SS4x c better than SS4x b", "–"]]
    assert verdict_rows(orders(made_up(values))) == (["", "X"], rows)


def test_spreads():
    assert spread(np.array([1.0, 2.0, 3.0])) == "2 ± 1"
    assert spread(np.array([0.5])) == "0.5"
    assert spread(np.array([math.nan])) == "–"
    rows = table_rows(made_up({("ms-c", 0): [1.0, 2.0], ("ms-c", 1): [2.0, 4.0]}))[1]
    assert rows == [["MS c", "2", "2.25 ± 1.1"]]


def test_the_papers_table_is_as_printed():
    assert set(PAPER) <= set(SCHEMES)
    assert PAPER["ms-c"] == (0.960, 36.451, 0.035, 24.245, 72.844)
    for metric, sign in enumerate((1, -1, -1, 1, -1)):
        best = max(PAPER, key=lambda scheme: sign * PAPER[scheme][metric])
        assert best == "ms-c"


def test_jobs_that_are_not_done_are_not_counted(tmp_path):
    job = Job("ms-c", 0, tmp_path, "synthetic", (), None, 1, ("quality",))
    assert gather([job]).schemes == []
