"""Put the newest GPU report into the docs and the library: `python -m benchmarks publish`.

Reports are in `benchmarks/results/<gpu>/`. The newest one determines the GPU tables of all pages that have a place for
them, and internet/ops/preference.json, from which the library chooses between its CUDA and its Triton kernels. Without
a report the pages say so, and CUDA is chosen.
"""

import argparse
import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import page
from benchmarks.lib import markdown
from benchmarks.lib.targets import ratio

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("benchmarks/results")
PAGES = ("README.md", "docs/*.md")
PREFERENCE = Path("internet/ops/preference.json")
NOT_MEASURED = "Not measured yet. `python -m benchmarks gpu-report --out DIR` measures it on yours."
CLEARLY = 1.05
"""Triton is chosen only if it is faster by this factor: less is noise."""


def folder_of(device: str) -> str:
    """The name of the folder for a GPU."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def newest(results: Path) -> Mapping[str, Any] | None:
    """The newest report that was measured on a GPU."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*/report.json")]
    measured = [report for report in found if report["measurement"]]
    return max(measured, key=lambda report: report["date"], default=None)


def prefers_triton(report: Mapping[str, Any]) -> list[str]:
    """The operators for which Triton is faster than CUDA, in the median over all passes and rows."""
    ratios: dict[str, list[float]] = {}
    for row in report["sections"].get("speed", []):
        for measured in row["passes"].values():
            samples = measured["samples"]
            if "cuda" in samples and "triton" in samples:
                ratios.setdefault(row["operator"], []).append(ratio(samples["cuda"], samples["triton"]))
    return sorted(name for name, found in ratios.items() if statistics.median(found) > CLEARLY)


def _places(root: Path) -> Iterator[tuple[Path, str]]:
    """Every page with a place for a GPU table, and the table's name."""
    for path in (path for pattern in PAGES for path in sorted(root.glob(pattern))):
        yield from ((path, name) for name in (markdown.GPU, markdown.GPU_EXCERPT) if markdown.has_place(path, name))


def publish(root: Path) -> str:
    """Update the pages and the preference; returns their source, in words."""
    report = newest(root / RESULTS)
    source = "no report" if report is None else f"the report of {report['date']} on {report['device']}"
    texts = dict.fromkeys((markdown.GPU, markdown.GPU_EXCERPT), NOT_MEASURED)
    operators: Sequence[str] = []
    if report is not None:
        texts = {markdown.GPU: page.table(report), markdown.GPU_EXCERPT: page.excerpt(report)}
        texts = {name: f"From {source}:\n\n{text}" for name, text in texts.items()}
        operators = prefers_triton(report)
    for path, name in _places(root):
        markdown.update(path, name, texts[name])
    preference = {"measured": source, "triton_before_cuda": operators}
    (root / PREFERENCE).write_text(json.dumps(preference, indent=1) + "\n", encoding="utf-8")
    return source


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m benchmarks publish", description=__doc__).parse_args(argv)
    print(f"the GPU tables and the choice of backends are those of {publish(ROOT)}")


if __name__ == "__main__":
    main()
