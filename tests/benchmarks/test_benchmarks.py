"""The benchmarks measure what they claim: eager baselines compute the operators, bytes are counted correctly.

Nothing here asserts a time.
"""

import contextlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.lib import builds, comparison, markdown, memory, nvidia
from benchmarks.lib.bandwidth import bytes_of_large_copy, copy_of
from benchmarks.ops import compare, comparison_table
from internet import ops
from internet.comparison import eager, timing
from internet.comparison import workloads as work
from internet.comparison.case import Case
from internet.comparison.dense_motion import dense_motion
from internet.comparison.inputs import size_in_bytes, tensors
from internet.comparison.workloads import Workload
from tests.support import samples
from tests.support.compare import require

CPU = torch.device("cpu")
START, END = f"<!-- {markdown.CPU}: start -->", f"<!-- {markdown.CPU}: end -->"


def _reference(operator: str) -> Callable[..., Any]:
    def call(**inputs: Any) -> Any:
        with ops.backend("reference"):
            return getattr(ops, operator)(**inputs)

    return call


def _case(workload: Workload) -> Case:
    return workload.case(CPU, _reference(workload.operator))


def _assert_equal_with_gradients(workload: Workload, baseline: Callable[..., Any], **options: Any) -> None:
    specification = _reference(workload.operator)
    case = _case(workload)
    for name in case.passes(specification):
        got, expected = (
            tensors(case.passes(lambda function=function, **inputs: function(**inputs, **options))[name]())
            for function in (baseline, specification)
        )
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("make", work.EVERY)
def test_eager_equals_the_reference(make: Callable[..., Workload], layout: str) -> None:
    workload = make(2, 12, dtype=torch.float64, layout=layout)
    _assert_equal_with_gradients(workload, getattr(eager, workload.operator))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (work.affine_mixture, {"threshold": 0.05, "align_corners": True}),
        (work.affine_mixture, {"jac_source": None, "jac_driving": None}),
        (work.confidence_warp, {"padding_mode": "border", "align_corners": True}),
        (work.skip_warp, {"interpolate_align_corners": True, "align_corners": True}),
        (work.skip_warp, {"upsampling": "progressive", "blend": None, "confidence": None}),
        (work.pyramid_warp, {"padding_mode": "border"}),
        (work.pyramid_warp, {"upsampling": "interpolate", "interpolate_align_corners": True, "confidence": None}),
        (work.volume_warp, {"padding_mode": "border", "align_corners": True}),
        (work.masked_backwarp_loss, {"norm": "l2", "reduction": "none", "padding_mode": "zeros"}),
        (work.masked_backwarp_loss, {"norm": "charbonnier", "reduction": "sum", "padding_mode": "valid"}),
        (work.flow_confidence, {"boundary": None}),
        (work.soft_argmax, {"temperature": 0.5, "align_corners": True}),
        (work.soft_argmax, {"covariance": True}),
        (work.soft_argmax_of_volume, {"covariance": True, "align_corners": True}),
        (work.anchor_features, {"variance": 0.05, "align_corners": True, "grid_align_corners": False}),
    ],
)
def test_eager_takes_the_operators_options(make: Callable[..., Workload], options: dict[str, Any]) -> None:
    workload = make(2, 12, dtype=torch.float64)
    case = _case(workload)
    arguments = case.inputs | options
    functions = (getattr(eager, workload.operator), _reference(workload.operator))
    got, expected = (tensors(function(**arguments)) for function in functions)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (work.affine_mixture_of_volume, {"align_corners": True}),
        (work.anchor_features_of_volume, {"grid_align_corners": True}),
    ],
)
def test_eager_equals_the_reference_on_volumes(
    make: Callable[..., Workload], options: dict[str, Any], layout: str
) -> None:
    workload = make(2, 8, dtype=torch.float64, layout=layout)
    _assert_equal_with_gradients(workload, getattr(eager, workload.operator), **options)


def test_the_whole_dense_motion_equals_eager() -> None:
    case = work.dense_motion(2, 8, dtype=torch.float64).case(CPU, eager.dense_motion)
    with ops.backend("reference"):
        for name in case.passes(dense_motion):
            got, expected = (tensors(case.passes(f)[name]()) for f in (dense_motion, eager.dense_motion))
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [(6, 7), (3, 4, 5)], ids=["image", "volume"])
@pytest.mark.parametrize(("operator", "options"), [("affine_mixture", {}), ("anchor_features", {"covariances": True})])
def test_eager_takes_backgrounds_and_covariances(operator: str, options: dict[str, Any], size: tuple[int, ...]) -> None:
    sample = samples.build(operator, torch.float64, size=size, background=True, **options)
    with ops.backend("reference"):
        torch.testing.assert_close(getattr(eager, operator)(*sample.args, **sample.kwargs), sample())


@pytest.mark.parametrize("threshold", [0.0, 0.05])
def test_the_one_matmul_form_equals_the_reference(threshold: float) -> None:
    workload = work.affine_mixture(2, 12, dtype=torch.float64)
    _assert_equal_with_gradients(workload, eager.affine_mixture_one_matmul, threshold=threshold)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", work.EVERY)
def test_eager_runs_in_half_precision(make: Callable[..., Workload], dtype: torch.dtype) -> None:
    workload = make(1, 12, dtype=dtype)
    case = _case(workload)
    got = tensors(getattr(eager, workload.operator)(**case.inputs))
    assert [(t.shape, t.dtype) for t in got] == [(t.shape, t.dtype) for t in case.outputs_like]


def test_the_fewest_bytes_of_a_mixture_counted_by_hand() -> None:
    case = _case(work.affine_mixture(2, 8))
    logits, anchors, field = 4 * 2 * 11 * 8 * 8, 4 * 2 * 10 * (2 + 2 + 4 + 4), 4 * 2 * 8 * 8 * 2
    forward = logits + anchors + field
    assert case.fewest_bytes("forward") == forward
    # the gradient of the field, the inputs again; the gradients of logits and anchors
    assert case.fewest_bytes("forward+backward") == forward + field + 2 * (logits + anchors)


def test_the_fewest_bytes_of_a_half_precision_loss_counted_by_hand() -> None:
    case = _case(work.masked_backwarp_loss(1, 16, dtype=torch.bfloat16))
    frame, flow, mask, loss = 2 * 3 * 16 * 16, 4 * 2 * 16 * 16, 4 * 4 * 4, 4
    forward = 2 * frame + flow + mask + loss
    assert case.fewest_bytes("forward") == forward
    # target and flow take no gradient, so none is written
    assert case.fewest_bytes("forward+backward") == forward + loss + (2 * frame + flow + mask) + (frame + mask)


def test_every_trained_input_gets_its_gradient_and_the_rest_none() -> None:
    workload = work.pyramid_warp(1, 4)
    case = _case(workload)
    _outputs, gradients = case.passes(eager.pyramid_warp)["forward+backward"]()
    assert [g.shape for g in gradients] == [t.shape for t in tensors(case.inputs)]
    assert "forward+backward" not in _case(work.flow_confidence(1, 4)).passes(len)


def test_a_workload_is_the_same_every_time() -> None:
    first, second = (_case(work.anchor_features(1, 8)).inputs for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_timing_runs_in_turn_and_gives_medians() -> None:
    calls: list[str] = []

    def function(name: str) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            time.sleep(2 * timing.SHORTEST_SAMPLE)

        return call

    timings = timing.interleaved({name: function(name) for name in "ab"}, CPU, seconds=0, rounds=7)
    assert set(timings) == {"a", "b"}
    assert "".join(calls).endswith("ab" * 5)
    assert all(len(measured.samples) == 5 for measured in timings.values())  # the time is up: no sixth round
    assert all(min(measured.samples) <= measured.median <= max(measured.samples) for measured in timings.values())


def test_short_calls_are_repeated_within_a_sample() -> None:
    calls: list[int] = []
    measured = timing.interleaved({"short": lambda: calls.append(1)}, CPU, seconds=0)["short"]
    assert len(calls) > 2 * len(measured.samples)


def test_a_timing_is_its_median_and_its_ratio_is_taken_round_by_round() -> None:
    slow_machine_in_the_middle = timing.Timing((1.0, 1.0, 10.0, 10.0, 1.2))
    other = timing.Timing((2.0, 2.0, 20.0, 20.0, 2.4))
    assert slow_machine_in_the_middle.median == 1.2
    assert other.over(slow_machine_in_the_middle) == 2.0
    assert slow_machine_in_the_middle.spread == pytest.approx((10 - 1) / 1.2)
    assert timing.Timing((3.0,)).spread == 0


def test_a_copy_moves_the_bytes_it_is_asked_for() -> None:
    copied = copy_of(4096, CPU)()
    assert isinstance(copied, torch.Tensor)
    assert size_in_bytes(copied) == 2048  # read once, written once


def test_extra_memory_counts_scratch_and_not_results() -> None:
    count = 16 << 20

    def works_in_scratch() -> torch.Tensor:
        scratch = torch.ones(count, dtype=torch.uint8)
        return scratch[: count // 2].clone()

    extra = memory.extra_peak(works_in_scratch, CPU)
    if extra is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert count - (1 << 20) < extra < count + (2 << 20)


def test_nvidia_says_why_there_is_no_reading() -> None:
    with pytest.raises(nvidia.NotAvailable, match="not available: "):
        nvidia.measure(lambda: None, CPU)


def test_nvidia_says_that_a_slice_has_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML knows no GPU by the identifier that CUDA has for a slice of one (MIG)."""

    class NVMLError(Exception):
        pass

    def unknown(name: str) -> None:
        raise NVMLError(f"{name}: Not Found")

    nvml = SimpleNamespace(NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=unknown)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="of-a-slice"))
    with pytest.raises(nvidia.NotAvailable, match="not available: GPU-of-a-slice: Not Found"):
        nvidia.measure(lambda: None, torch.device("cuda"))


@pytest.mark.parametrize(("free", "count"), [(70 << 30, 4 << 30), (4 << 30, 2 << 30)])
def test_the_large_copy_fits_into_a_slice(free: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 << 30))
    assert bytes_of_large_copy(torch.device("cuda")) == count


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `--quick` reports on tiny shapes, without the compiler, and the pages it updates."""
    folder = tmp_path_factory.mktemp("compare")
    table, readme = folder / "docs/benchmarks.md", folder / "README.md"
    table.parent.mkdir()
    table.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    name = markdown.CPU_EXCERPT
    readme.write_text(f"<!-- {name}: start -->\nold\n<!-- {name}: end -->\n")
    arguments = ["--quick", "--device", "cpu", "--shrink", "16", "--no-compile", "--threads", "1"]
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("INTERNET_CPU_ISA", raising=False)
        compare.main([*arguments, "--json", str(folder / "report.json"), "--update", str(folder)])
    return json.loads((folder / "report.json").read_text()) | {"table": table.read_text(), "readme": readme.read_text()}


def test_quick_compares_the_five_operators(report: dict[str, Any]) -> None:
    (run,) = report["runs"]
    assert run["threads"] == 1
    operators = [row["operator"] for row in run["rows"]]
    assert operators == [
        "upsample_motion",
        "affine_mixture",
        "confidence_warp",
        "masked_backwarp_loss",
        "pyramid_warp",
    ]
    for row in run["rows"]:
        assert set(row["passes"]) == {"forward", "forward+backward"}
        for result in row["passes"].values():
            assert set(result["seconds"]) == {"fused", "eager", "copy"}
            assert set(result["over"]) == {"eager", "copy"}


def test_the_page_holds_the_table_between_its_markers(report: dict[str, Any]) -> None:
    before, rest = report["table"].split(START)
    written, after = rest.split(END)
    assert (before, after) == ("before\n", "\nafter\n")
    assert "old" not in written
    assert "1 thread" in written
    rows = markdown.cells(written)
    assert len(rows) == 10
    assert all(len(row) == 8 for row in rows)
    assert all(re.fullmatch(r"\d+(\.\d+)? (ms|µs)", row[3]) for row in rows)
    assert all(re.fullmatch(r"[\d.]+×", row[4]) for row in rows)
    assert all(row[5] == "–" for row in rows)  # not compiled


def test_the_readme_holds_an_excerpt(report: dict[str, Any]) -> None:
    rows = markdown.cells(report["readme"])
    assert [row[0].split("`")[1] for row in rows] == ["affine_mixture", "pyramid_warp", "masked_backwarp_loss"]
    assert all(re.fullmatch(r"[\d.]+×, –", cell) for row in rows for cell in row[1:])
    assert f"by `{report['command']}`" in report["readme"]


def test_a_narrower_instruction_set_has_its_own_table(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs/benchmarks.md"
    page.parent.mkdir()
    name = markdown.CPU_NARROWER
    page.write_text(f"{START}\nold\n{END}\n<!-- {name}: start -->\nold\n<!-- {name}: end -->\n")
    monkeypatch.setenv("INTERNET_CPU_ISA", "avx2")
    compare.update(tmp_path, report)  # there is no README to write to
    first, second = page.read_text().split(END)
    assert first == f"{START}\nold\n"
    assert len(markdown.cells(second)) == 10
    assert "old" not in second


@pytest.mark.parametrize("text", ["no markers", f"{END}\n{START}\n", START * 2 + END])
def test_a_readme_without_its_place_is_left_alone(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match=r"README\.md: expected one line"):
        markdown.update(readme, markdown.CPU, "new")
    assert readme.read_text() == text


def test_every_operator_is_in_the_full_comparison() -> None:
    from internet.ops import OPERATORS

    assert {row.workload.operator for row in compare.all_rows()} == {*OPERATORS, "dense_motion"}


def test_a_formulation_that_does_not_compile_costs_only_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(**_inputs: Any) -> Any:
        raise RuntimeError("no compiler\nat all")

    case = Case({"x": torch.ones(1)}, (), lambda x: x)
    assert comparison.compiled(breaks, case) is None
    assert "RuntimeError: no compiler" in capsys.readouterr().err


def test_only_some_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chosen: list[str] = []

    def measured(rows: Any, *_: Any, **__: Any) -> dict[str, Any]:
        chosen.extend(row.workload.operator for row in rows)
        return {}

    monkeypatch.setattr(compare, "compare", measured)
    monkeypatch.setattr(compare.comparison_table, "render", lambda report: report["command"])
    compare.main(["--device", "cpu", "--shrink", "32", "--only", "flow_confidence"])
    assert chosen == ["flow_confidence"]
    assert "--only flow_confidence" in capsys.readouterr().out
    for options, told in (
        (["--only", "nothing"], "expected a part of one of"),
        (["--only", "warp", "--update"], "leave"),
    ):
        with pytest.raises(SystemExit):
            compare.main(["--device", "cpu", *options])
        assert told in capsys.readouterr().err


def test_against_a_build_each_pass_is_measured_in_both(capsys: pytest.CaptureFixture[str]) -> None:
    require("cpu", "masked_backwarp_loss")
    arguments = ["--small", "--device", "cpu", "--shrink", "16", "--no-compile", "--threads", "2"]
    compare.main([*arguments, "--only", "mask", "--against", str(builds.HERE)])
    header, *rows = (line for line in capsys.readouterr().out.splitlines() if line.startswith("|") and "--" not in line)
    assert header.endswith(f"| {comparison_table.OTHER} |")
    assert [row.split(" | ")[2] for row in rows] == ["forward", "forward+backward"]
    assert all(re.search(r"\| [\d.]+× \|$", row) for row in rows)


def test_what_another_build_does_not_have_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    require("cpu", "affine_mixture")
    case = work.affine_mixture(1, 8).case(CPU, ops.affine_mixture)
    with builds.against(builds.HERE) as both:
        assert both is not None
        assert both.clocks(case, "an_operator_of_tomorrow", "forward") == {}
        assert "an_operator_of_tomorrow" in capsys.readouterr().err
        clocks = both.clocks(case, "affine_mixture", "forward+backward")  # the processes go on
        assert all(clock() > 0 for clock in clocks.values())


def test_a_build_whose_process_ends_is_told() -> None:
    require("cpu", "affine_mixture")
    case = work.affine_mixture(1, 8).case(CPU, ops.affine_mixture)
    with contextlib.closing(builds.Build(builds.HERE)) as build:
        build._process.kill()
        build._process.wait()
        with pytest.raises(builds.BuildError, match="its process ended with status -9"):
            build.clock(case, "affine_mixture", "forward")


def _other(kind: str, folder: Path) -> str:
    """Makes a folder that cannot be measured; returns what its error has to say."""
    package = folder / "internet"
    if kind == "no checkout":
        return "with a folder internet/"
    if kind == "not built":
        shutil.copytree(builds.HERE / "internet", package, ignore=shutil.ignore_patterns("*.so", "weights"))
        return f"{folder}"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit(3)")
    return "its process ended with status 3"


@pytest.mark.parametrize("kind", ["no checkout", "not built", "does not run"])
def test_against_what_cannot_be_measured(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = _other(kind, tmp_path)
    with pytest.raises(SystemExit):
        compare.main(["--quick", "--device", "cpu", "--shrink", "16", "--against", str(tmp_path)])
    assert f"--against {tmp_path}" in (error := capsys.readouterr().err)
    assert message in error
