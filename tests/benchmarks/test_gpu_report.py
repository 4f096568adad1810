"""The GPU report: its steps run here on the CPU, and its arithmetic is correct for made-up figures."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import correctness, page, publish, roofline
from benchmarks.gpu import report as gpu_report
from benchmarks.gpu.store import Store
from benchmarks.gpu.targets import TARGETS, results
from benchmarks.lib import markdown
from internet.ops import OPERATORS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the command writes here, without the compiler."""
    out = tmp_path_factory.mktemp("gpu") / "report"
    gpu_report.main(
        ["--out", str(out), "--device", "cpu", "--no-compile", "--tests", "tests/support/test_samples.py -x -n 0"]
    )
    return out


def test_every_step_runs_on_the_cpu(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    sections = report["sections"]
    assert report["finished"]
    assert not report["measurement"]
    assert "errors" not in sections
    assert report["pending"] == report["left_out"] == []
    (tests,) = sections["tests"]
    assert tests["ended"] == "finished"
    assert tests["passed"] > 0 == tests["failed"]
    assert {row["operator"] for row in sections["speed"]} == set(OPERATORS)
    assert {row["operator"] for row in sections["small"]} == set(OPERATORS)
    assert [row["preset"] for row in sections["end to end"]] == ["tiny"]
    assert all("no CUDA device" in entry["ended"] for entry in sections["sanitizer"])
    assert all("reason" in entry for entry in sections["power"])
    assert "no figure below means anything" in (folder / "report.md").read_text()
    assert (folder / "roofline.png").stat().st_size > 10_000


def test_a_report_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(SystemExit, match="has a report already"):
        gpu_report.main(["--out", str(folder)])


def test_failed_tests_and_crashes_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "test_broken.py"
    broken.write_text("import os\ndef test_a(): pass\ndef test_b(): assert 1 == 2\ndef test_c(): os.abort()\n")
    selection = ["-c", "/dev/null", "--rootdir", str(tmp_path), str(broken)]
    found = correctness.run_tests("made up", selection, tmp_path, 60)
    assert (found["passed"], found["failed"], found["ended"]) == (1, 2, "finished")
    errors = "".join(failure["error"] for failure in found["failures"])
    assert "1 == 2" in errors
    assert "crashed while running" in errors
    found = correctness.run_tests("made up", [*selection, "-n", "0"], tmp_path, 60)
    assert (found["passed"], found["failed"], found["ended"]) == (1, 1, "exit status -6")


def test_tests_that_take_too_long_are_ended(tmp_path: Path) -> None:
    slow = tmp_path / "test_slow.py"
    slow.write_text("import time\ndef test_slow(): time.sleep(60)\n")
    start = time.perf_counter()
    assert correctness.run_tests("made up", ["-c", "/dev/null", str(slow)], tmp_path, 1)["ended"] == "out of time"
    assert time.perf_counter() - start < 30


def test_sanitizers_see_every_tensor_as_an_allocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three tools; without torch's allocator, which hides from memcheck where a tensor ends."""
    started = []

    def run(command: Sequence[str], log: Path, seconds: float, environment: dict[str, str]) -> str:
        started.append((command[:3], environment["PYTORCH_NO_CUDA_MEMORY_CACHING"]))
        log.write_text("========= a line\n========= ERROR SUMMARY: 0 errors\n")
        return "finished"

    monkeypatch.setattr(correctness.limits, "run", run)
    monkeypatch.setattr(correctness.shutil, "which", lambda name: f"/bin/{name}")
    for tool in correctness.SANITIZER_TOOLS:
        found = correctness.sanitize(tool, torch.device("cuda"), tmp_path, 60)
        assert found == {"tool": tool, "ended": "finished", "summary": "========= ERROR SUMMARY: 0 errors"}
    tools = ("memcheck", "racecheck", "synccheck")
    assert started == [(["/bin/compute-sanitizer", "--tool", tool], "1") for tool in tools]


def test_a_store_is_whole_at_any_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "new", device="none")
    store.add("speed", {"operator": "x"})
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert report["sections"] == {"speed": [{"operator": "x"}]}
    assert not report["finished"]


def made_up(**seconds: float) -> dict[str, Any]:
    """A report of one row whose minimal number of bytes takes a copy one second."""
    samples = {name: [value, value] for name, value in {"copy": 1.0, **seconds}.items()}
    passes = {"forward": {"bytes": 1e9, "samples": samples}}
    row = {
        "operator": "affine_mixture",
        "shape": "B=16 K=10",
        "batch": "B=16",
        "layout": "contiguous",
        "dtype": "float32",
        "passes": passes,
    }
    return {
        "device": "A GPU (80 GB)",
        "date": "2026-01-02",
        "measurement": True,
        "internet": "1",
        "torch": "2",
        "seconds": 1.0,
        "finished": True,
        "backends": ["cuda", "triton"],
        "copy_bandwidth": 1e9,
        "sections": {"speed": [row]},
    }


@pytest.mark.parametrize(
    ("seconds", "met"),
    [
        ({"cuda": 1.1, "triton": 2.0, "eager": 12.0, "compile": 3.0}, True),
        ({"cuda": 1.1, "triton": 2.0, "eager": 12.0}, True),  # what was not measured does not count
        ({"cuda": 1.3, "triton": 2.0, "eager": 20.0, "compile": 4.0}, False),  # 0.77 of a copy's speed; target: 0.85
        ({"cuda": 1.1, "triton": 2.0, "eager": 10.0, "compile": 3.0}, False),  # 9.1 times eager; the target is 10
        ({"cuda": 1.1, "triton": 2.0, "eager": 12.0, "compile": 2.0}, False),  # 1.8 times compiled; the target is 2
        ({"cuda": 9.0, "triton": 1.0, "eager": 12.0, "compile": 3.0}, True),  # the faster backend counts
    ],
)
def test_verdicts(seconds: dict[str, float], met: bool) -> None:
    (result,) = results(made_up(**seconds))
    assert result.is_met is met
    assert ("**missed**" in page.render(made_up(**seconds))) is not met


def test_every_operator_has_a_target() -> None:
    assert {target.row["operator"] for target in TARGETS} == set(OPERATORS)


def test_bars_are_fractions_of_the_copy() -> None:
    (row,) = roofline.bars(made_up(cuda=2.0, eager=10.0, copy=1.0)).values()
    assert row == {"cuda": 0.5, "eager": 0.1}


PAGE = "".join(
    f"a\n<!-- {name}: start -->\nold\n<!-- {name}: end -->\nz\n" for name in (markdown.GPU, markdown.GPU_EXCERPT)
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a page that has a place for the tables, and one without."""
    for name, text in {"README.md": PAGE, "docs/kernels.md": PAGE, "docs/data.md": "none here"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / publish.PREFERENCE).parent.mkdir(parents=True)
    return tmp_path


def preference(root: Path) -> dict[str, Any]:
    return json.loads((root / publish.PREFERENCE).read_text())


def test_without_a_report_the_pages_say_so(root: Path) -> None:
    assert publish.publish(root) == "no report"
    assert all((root / path).read_text().count("Not measured yet") == 2 for path in ("README.md", "docs/kernels.md"))
    assert (root / "docs/data.md").read_text() == "none here"
    assert preference(root) == {"measured": "no report", "triton_before_cuda": []}


def test_the_newest_report_fills_the_pages(root: Path) -> None:
    reports = {"old": made_up(cuda=1.0, triton=2.0), "new": made_up(cuda=2.0, triton=1.0, eager=12.0)}
    reports["old"]["date"] = "2025-12-31"
    reports["cpu"] = made_up(cpu=1.0) | {"measurement": False, "date": "2027-01-01"}
    for name, report in reports.items():
        folder = root / publish.RESULTS / name
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report))
    assert publish.publish(root) == "the report of 2026-01-02 on A GPU (80 GB)"
    for name in ("README.md", "docs/kernels.md"):
        rows = {tuple(row[:3]) for row in markdown.cells((root / name).read_text())}
        assert ("`affine_mixture` K=10", "contiguous, float32", "forward") in rows
        assert ("`affine_mixture`, B=16 K=10", "forward", "2000 ms") in rows
    assert preference(root)["triton_before_cuda"] == ["affine_mixture"]


def test_folders_are_named_after_gpus() -> None:
    assert publish.folder_of("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_the_preference_is_what_the_reports_say() -> None:
    """The file in the package is what `publish` writes now."""
    report = publish.newest(publish.ROOT / publish.RESULTS)
    expected = [] if report is None else publish.prefers_triton(report)
    assert preference(publish.ROOT)["triton_before_cuda"] == expected
