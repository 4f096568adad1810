"""The comparison as Markdown, and its place in the README."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CPU, GPU = "benchmark table", "gpu table"
"""What stands between the markers `<!-- ...: start -->` and `<!-- ...: end -->` of a page."""

HEADER = (
    "| operator | shape, layout | pass | fused | over eager | over torch.compile | over memcpy, over memory "
    "| extra memory: fused, eager |\n"
    "|---|---|---|--:|--:|--:|--:|--:|"
)
LEGEND = (
    "Eager is what the field writes (`internet/comparison/eager.py`), torch.compile is that, compiled. All run in\n"
    "turn in one process; medians. *Over eager* and *over torch.compile*: how many times faster the fused operator\n"
    "is. *Over memcpy*: how many times longer it takes than a copy that moves the fewest bytes the operator must,\n"
    "which may stay in a cache; *over memory*: than these bytes take at the speed of a copy too large for any.\n"
    "*Extra memory*: at the peak, beyond inputs, outputs and gradients. –: not measured."
)


def render(report: Mapping[str, Any]) -> str:
    """The report of `benchmarks.compare` in Markdown: the machine, then one table for each number of threads."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; "
        f"kernels for {machine['instruction set']}; internet {machine['internet']}, torch {machine['torch']}.",
        f"Backend {machine['backend']}; INTERNET_OUTPUT_POOL_MB: {machine['output pool']}.",
        f"Processes that ran when it started: {machine['load']:.1f} on average.",
        "",
        LEGEND,
    ]
    for run in report["runs"]:
        copied = f"a large copy moves {run['copy_bandwidth'] / 1e9:.0f} GB/s"
        lines += ["", f"**{_threads(run['threads'])}** ({copied}):", "", HEADER]
        lines += [line for row in run["rows"] for line in _lines(row, run["copy_bandwidth"])]
    lines += ["", f"Written by `{report['command']}`."]
    return "\n".join(lines)


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _lines(row: Mapping[str, Any], bandwidth: float) -> list[str]:
    name = f"`{row['operator']}`" + (f" {row['note']}" if row["note"] else "")
    name += "" if row["fused"] else " (fallback)"
    what = f"{row['shape']}, {row['layout']}" + ("" if row["dtype"] == "float32" else f", {row['dtype']}")
    return [
        f"| {name} | {what} | {passed} | {_time(result['seconds']['fused'])} "
        f"| {_times(result['over'].get('eager'))} | {_times(result['over'].get('compile'))} "
        f"| {_times(1 / result['over']['copy'])}, {_times(result['seconds']['fused'] * bandwidth / result['bytes'])} "
        f"| {_memory(result['extra_memory'])} |"
        for passed, result in row["passes"].items()
    ]


def _time(seconds: float) -> str:
    value, unit = (1e3 * seconds, "ms") if seconds >= 1e-3 else (1e6 * seconds, "µs")
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "–"
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2f}×"


def _memory(extra: Mapping[str, int | None]) -> str:
    return ", ".join("–" if count is None else f"{count / 2**20:.1f} MiB" for count in extra.values())


def update(page: Path, name: str, table: str) -> None:
    """Replace what stands between the two markers of `name`.

    Raises:
        ValueError: the file does not hold each marker once, in order; it is left as it is.
    """
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{page}: expected one line {start} and after it one line {end}")
    before, after = text[: text.index(start)], text[text.index(end) :]
    page.write_text(f"{before}{start}\n\n{table}\n\n{after}", encoding="utf-8")


def cells(table: str) -> Sequence[Sequence[str]]:
    """The cells of every data row of the Markdown tables in a text."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[0] != "operator" and not row[0].startswith("---")]
