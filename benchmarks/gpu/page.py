"""The report as one screen of Markdown: `report.md`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.gpu.targets import BATCH, COMPILE, COPY, EAGER, Result, results
from benchmarks.lib import markdown
from benchmarks.lib.markdown import UNKNOWN, seconds, times
from benchmarks.models import end_to_end

HEADER = (
    "operator", "layout, dtype", "pass", "cuda", "triton", "eager", "torch.compile", "call", "of a copy", "over eager",
    "over torch.compile", "verdict",
)  # fmt: skip
CANDIDATES = ("cuda", "triton", "eager", "compile")
LEGEND = (
    "Times are the device's alone, from a cold L2 cache, with every launch queued beforehand; *call* is what a call\n"
    "of the faster of ours takes in a row of calls, with Python and launches. *Of a copy*: the time of a copy that\n"
    "moves the fewest bytes the pass must, over ours. In parentheses what is asked for. –: not measured."
)


def render(report: Mapping[str, Any]) -> str:
    """The report's summary; `report.json` has every sample."""
    state = "" if report["finished"] else f", stopped early: {report.get('ended', 'still running')}"
    lines = [
        f"# {report['device']}",
        "",
        f"internet {report['internet']}, torch {report['torch']}, backends {', '.join(report['backends']) or 'none'}; "
        f"a large copy moves {report['copy_bandwidth'] / 1e9:.0f} GB/s; {report['seconds']:.0f} s{state}.",
        "" if report["measurement"] else "Tiny shapes on the CPU: every step ran, and no figure below means anything.",
        "",
        *_correctness(report["sections"]),
        "",
        table(report),
        "",
        *_small(report),
        *_models(report["sections"].get("end to end", [])),
        *_power(report["sections"].get("power", [])),
        *_left_out(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def table(report: Mapping[str, Any]) -> str:
    """Every measured row of batch 16, with verdicts on those that have a target."""
    found = list(results(report))
    if not found:
        return "No row of batch 16 was measured: no target can be judged."
    judged = [result.is_met for result in found if result.is_met is not None]
    counted = f"Paper sizes, {BATCH}, cold cache: {sum(judged)} of {len(judged)} targets met."
    return "\n".join([counted, "", LEGEND, "", markdown.table(HEADER, map(_cells, found), words=3)])


def _cells(result: Result) -> list[str]:
    verdict = {None: "", True: "met", False: "**missed**"}[result.is_met]
    return [
        f"`{result.row['operator']}` {result.row['shape'].removeprefix(f'{BATCH} ')}",
        f"{result.row['layout']}, {result.row['dtype']}",
        result.passed,
        *(_time(result.seconds(name)) for name in CANDIDATES),
        _time(result.seconds(result.backend, "calls")),
        _figure(result, COPY, "{:.2f}".format),
        _figure(result, EAGER, times),
        _figure(result, COMPILE, times),
        verdict,
    ]


def _time(value: float | None) -> str:
    return UNKNOWN if value is None else seconds(value)


def _figure(result: Result, name: str, write: Any) -> str:
    if name not in result.figures:
        return UNKNOWN
    asked = [] if result.target is None else [f" ({bound:g})" for bound in result.target.bounds(name)]
    return "".join([write(result.figures[name]), *asked])


EXCERPT = (
    ("pyramid_warp", "channels_last"),
    ("masked_backwarp_loss", "contiguous"),
    ("affine_mixture", "contiguous"),
)
"""The operators in the README's excerpt, in float32."""


def excerpt(report: Mapping[str, Any]) -> str:
    """Both passes of the three operators that take most of a training step."""
    header = ("operator, float32", "pass", "cuda", "triton", "eager", "torch.compile", "the faster, of a copy's speed")
    rows = [
        [
            f"`{result.row['operator']}`, {result.row['shape']}",
            result.passed,
            *(_time(result.seconds(name)) for name in CANDIDATES),
            f"{result.figures[COPY]:.2f}",
        ]
        for result in results(report)
        if (result.row["operator"], result.row["layout"]) in EXCERPT and result.row["dtype"] == "float32"
    ]
    return markdown.table(header, rows, words=2)


def _correctness(sections: Mapping[str, Any]) -> Iterator[str]:
    for tests in sections.get("tests", []):
        counts = f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        yield f"Tests of {tests['name']}: {counts}; {tests['ended']}."
        for failure in tests["failures"][:10]:
            yield f"- FAILED `{failure['test']}`: {_last_line(failure['error'])}"
        if tests["failed"] > 10:
            yield f"- and {tests['failed'] - 10} more, all of them in `report.json`"
    for tool in sections.get("sanitizer", []):
        yield f"compute-sanitizer {tool['tool']}: {tool['ended']}. {tool.get('summary', '')}".rstrip()


def _last_line(error: str) -> str:
    """The line that pytest marks with E, or else the last one."""
    lines = [line.removeprefix("E").strip() for line in error.splitlines() if line.startswith("E ")]
    return (lines or error.strip().splitlines() or [""])[0][:200]


def _small(report: Mapping[str, Any]) -> Iterator[str]:
    rows = report["sections"].get("small", [])
    if not rows:
        return
    names = [*report["backends"], "eager"]
    how = "replays of a CUDA graph" if rows[0].get("replayed") else "plain calls"
    yield f"Small shapes, forward, {how}, µs:"
    yield ""
    yield markdown.table(["operator", *names], (_small_cells(row, names) for row in rows))
    yield ""


def _small_cells(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    samples = row.get("samples", {})
    medians = [sorted(samples[name])[len(samples[name]) // 2] if samples.get(name) else None for name in names]
    values = (UNKNOWN if value is None else f"{1e6 * value:.1f}" for value in medians)
    return [f"`{row['operator']}` {row['shape']}", *values]


def _models(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield from ["Whole models, the same weights on every backend:", "", end_to_end.render(rows), ""]


def _power(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    readings = [row for row in rows if "watts" in row]
    if not readings:
        yield from [f"Energy: {rows[0]['reason']}."] if rows else []
        return
    throttled = ", ".join(f"`{row['operator']}`" for row in readings if row["throttled"])
    clocks = sorted({row["sm_clock_mhz"] for row in readings})
    yield f"Clocks {clocks[0]} to {clocks[-1]} MHz; throttled in: {throttled or 'none'}. Millijoules a call:"
    yield ", ".join(f"`{row['operator']}` {row['layout']} {1e3 * row['joules_per_call']:.1f}" for row in readings) + "."


def _left_out(report: Mapping[str, Any]) -> Iterator[str]:
    """What was left out for lack of time, and what failed."""
    pending = report.get("pending", [])
    reasons: dict[str, list[str]] = {}
    for entry in report.get("left_out", []):
        reasons.setdefault(entry["why"], []).append(entry["what"])
    for row in report["sections"].get("speed", []):
        if row.get("compile") in ("not compiled in time", "failed"):
            reasons.setdefault(f"torch.compile {row['compile']}", []).append(_name(row))
    if pending:
        reasons["was running at the end"] = pending[:1]
    if pending[1:]:
        reasons["not begun"] = pending[1:]
    if reasons:
        yield from ["", "Left out:", ""]
        yield from (
            f"- {why} ({len(what)}): {', '.join(f'`{name}`' for name in what)}" for why, what in reasons.items()
        )
    for error in report["sections"].get("errors", []):
        yield f"- FAILED {error['section']}: {error['error'].splitlines()[0]}"


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['operator']} {row['shape']} {row['layout']} {row['dtype']}"
