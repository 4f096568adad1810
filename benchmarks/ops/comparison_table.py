"""The comparison of `benchmarks.ops.compare` as Markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.lib import markdown
from benchmarks.lib.markdown import UNKNOWN, mebibytes, seconds, times

HEADER = (
    "operator", "shape, layout", "pass", "fused", "over eager", "over torch.compile", "over memcpy, over memory",
    "extra memory: fused, eager",
)  # fmt: skip
OTHER = "over the other build"
"""The column of `--against`: how many times longer that build takes, both in processes of their own."""
LEGEND = (
    "Eager is what the field writes (`internet/comparison/eager.py`), torch.compile is that, compiled. All run in\n"
    "turn in one process; medians. *Over eager* and *over torch.compile*: how many times faster the fused operator\n"
    "is. *Over memcpy*: how many times longer it takes than a copy that moves the fewest bytes the operator must,\n"
    "which may stay in a cache; *over memory*: than these bytes take at the speed of a copy too large for any.\n"
    "*Extra memory*: at the peak, beyond inputs, outputs and gradients. –: not measured."
)


def render(report: Mapping[str, Any]) -> str:
    """The report of `benchmarks.ops.compare` in Markdown: the machine, then one table for each number of threads."""
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
        both = any("other" in passed["over"] for row in run["rows"] for passed in row["passes"].values())
        header = (*HEADER, *[OTHER] * both)
        rows = [cells[: len(header)] for row in run["rows"] for cells in _cells(row, run["copy_bandwidth"])]
        lines += ["", f"**{_threads(run['threads'])}** ({copied}):", "", markdown.table(header, rows, words=3)]
    lines += ["", f"Written by `{report['command']}`."]
    return "\n".join(lines)


#: The rows in the README's excerpt, from the first number of threads: operator and layout.
EXCERPT = (
    ("affine_mixture", "contiguous"),
    ("pyramid_warp", "contiguous"),
    ("pyramid_warp", "channels_last"),
    ("masked_backwarp_loss", "contiguous"),
    ("anchor_features", "contiguous"),
    ("soft_argmax", "contiguous"),
)


def excerpt(report: Mapping[str, Any]) -> str:
    """The ratios of six rows, and the machine."""
    run, machine = report["runs"][0], report["machine"]
    header = (f"float32, {_threads(run['threads'])}", *(f"{name}: over eager, compiled" for name in PASSES.values()))
    found: dict[tuple[str, str], list[str]] = {}
    for row in run["rows"]:
        key = (row["operator"], row["layout"])
        if key in EXCERPT and key not in found and not row["note"]:  # the first one has the paper's size
            found[key] = [f"`{row['operator']}`, {row['shape']}, {row['layout']}", *_ratios(row["passes"])]
    rows = [found[key] for key in EXCERPT if key in found]
    on = f"{machine['processor']}, kernels for {machine['instruction set']}, torch {machine['torch']}"
    return f"{markdown.table(header, rows)}\n\nMeasured on {on}, by `{report['command']}`."


#: The passes, and their names in the README.
PASSES = {"forward": "forward", "forward+backward": "forward + backward"}


def _ratios(passes: Mapping[str, Any]) -> Iterator[str]:
    for name in PASSES:
        over = passes[name]["over"] if name in passes else {}
        yield f"{times(over.get('eager'))}, {times(over.get('compile'))}"


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _cells(row: Mapping[str, Any], bandwidth: float) -> Iterator[list[str]]:
    name = f"`{row['operator']}`" + (f" {row['note']}" if row["note"] else "")
    name += "" if row["fused"] else " (fallback)"
    what = f"{row['shape']}, {row['layout']}" + ("" if row["dtype"] == "float32" else f", {row['dtype']}")
    for passed, result in row["passes"].items():
        fused, over = result["seconds"]["fused"], result["over"]
        yield [
            name,
            what,
            passed,
            seconds(fused),
            times(over.get("eager")),
            times(over.get("compile")),
            f"{times(1 / over['copy'])}, {times(fused * bandwidth / result['bytes'])}",
            ", ".join(mebibytes(count) for count in result["extra_memory"].values()),
            f"{over['other']:.2f}×" if "other" in over else UNKNOWN,
        ]
