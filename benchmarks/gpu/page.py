"""The report on one screen of Markdown: `report.md`."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.gpu import wholes
from benchmarks.gpu.targets import Verdict, verdicts

HEADER = (
    "| operator | layout, dtype | pass | backend | of copy bandwidth (target) | over eager (target) "
    "| over torch.compile (target) | verdict |\n|---|---|---|---|--:|--:|--:|---|"
)


def render(report: Mapping[str, Any]) -> str:
    """Everything that fits a screen; `report.json` has every sample."""
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
        *table(report),
        "",
        *_small(report),
        *_whole(report["sections"].get("whole", [])),
        *_power(report["sections"].get("power", [])),
        *_left_out(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """A row for every target that was measured, at batch 16."""
    found = list(verdicts(report))
    if not found:
        yield "No row of batch 16 was measured: no target can be judged."
        return
    met = sum(verdict.met for verdict in found)
    yield f"Paper sizes, batch 16, cold cache: {met} of {len(found)} targets met."
    yield ""
    yield HEADER
    yield from map(_line, found)


def _line(verdict: Verdict) -> str:
    target, row = verdict.target, verdict.row
    is_float32 = row["dtype"] == "float32"
    return (
        f"| `{row['operator']}` | {row['layout']}, {row['dtype']} | {target.passed} | {verdict.ours} "
        f"| {verdict.fraction:.2f} ({target.fraction:.2f}) "
        f"| {_speed(verdict.over.get('eager'), target.over_eager if is_float32 else None)} "
        f"| {_speed(verdict.over.get('compile'), target.over_compile if is_float32 else None)} "
        f"| {'met' if verdict.met else '**missed**'} |"
    )


def _speed(found: float | None, least: float | None) -> str:
    if found is None:
        return "–"
    return f"{found:.1f}×" + (f" ({least:g}×)" if least is not None else "")


def _correctness(sections: Mapping[str, Any]) -> Iterator[str]:
    for tests in sections.get("tests", []):
        counts = f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        yield f"Tests: {counts}; {tests['ended']}."
        for failure in tests["failures"][:10]:
            yield f"- FAILED `{failure['test']}`"
    for tool in sections.get("sanitizer", []):
        yield f"compute-sanitizer {tool['tool']}: {tool['ended']}. {tool.get('summary', '')}".rstrip()


def _small(report: Mapping[str, Any]) -> Iterator[str]:
    rows = report["sections"].get("small", [])
    if not rows:
        return
    names = [*report["backends"], "eager"]
    how = "replays of a CUDA graph" if rows[0].get("replayed") else "plain calls"
    yield f"Small shapes, forward, {how}, µs:"
    yield ""
    yield f"| operator | {' | '.join(names)} |\n|---|{'--:|' * len(names)}"
    for row in rows:
        samples = row.get("samples", {})
        medians = [sorted(samples[name])[len(samples[name]) // 2] if samples.get(name) else None for name in names]
        cells = " | ".join("–" if value is None else f"{1e6 * value:.1f}" for value in medians)
        yield f"| `{row['operator']}` {row['shape']} | {cells} |"
    yield ""


def _whole(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield "Whole models, the same weights on every backend:"
        yield ""
        yield from wholes.lines(rows)
        yield ""


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
    """What there was no time for, and what failed."""
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
