"""Put the newest GPU report where readers and the library look: `python -m benchmarks.publish`.

Reports live in `benchmarks/results/<gpu>/`. From the newest come the GPU tables of the README and of
docs/kernels.md, and internet/ops/_preference.py, by which the library chooses between its CUDA and its Triton
kernels. Where there is no report the pages say so and CUDA is chosen.
"""

import argparse
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import page
from benchmarks.gpu.targets import ratio

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
PAGES = (Path("README.md"), Path("docs/kernels.md"))
PREFERENCE = Path("internet/ops/_preference.py")
NOT_MEASURED = "Not measured yet. `python -m benchmarks.gpu_report --out DIR` measures it on yours."
CLEARLY = 1.05
"""Triton must be this much faster to be chosen: less is noise."""


def folder_of(device: str) -> str:
    """The name of a GPU as the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def newest(results: Path) -> Mapping[str, Any] | None:
    """The report, of those measured on a GPU, that was written last."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*/report.json")]
    measured = [report for report in found if report["measurement"]]
    return max(measured, key=lambda report: report["date"], default=None)


def prefers_triton(report: Mapping[str, Any]) -> list[str]:
    """The operators that Triton serves faster than CUDA, by the median over the passes of all their rows."""
    ratios: dict[str, list[float]] = {}
    for row in report["sections"].get("speed", []):
        for measured in row["passes"].values():
            samples = measured["samples"]
            if "cuda" in samples and "triton" in samples:
                ratios.setdefault(row["operator"], []).append(ratio(samples["cuda"], samples["triton"]))
    return sorted(name for name, found in ratios.items() if statistics.median(found) > CLEARLY)


def preference(operators: Sequence[str], source: str) -> str:
    """The text of internet/ops/_preference.py."""
    names = ", ".join(f'"{name}"' for name in operators)
    chosen = f"frozenset({{{names}}})" if operators else "frozenset()"
    return (
        f'"""Written by `python -m benchmarks.publish` from {source}."""\n\n'
        f"TRITON_BEFORE_CUDA: frozenset[str] = {chosen}\n"
        '"""The operators that Triton was measured to serve faster than CUDA; all others take CUDA."""\n'
    )


def publish(root: Path) -> str:
    """Bring the pages and the preference up to date; returns what they are from."""
    report = newest(root / RESULTS)
    if report is None:
        source, text, operators = "no report", NOT_MEASURED, []
    else:
        source = f"the report of {report['date']} on {report['device']}"
        text = "\n".join([f"From {source}:", "", *page.table(report)])
        operators = prefers_triton(report)
    for path in PAGES:
        table.update(root / path, table.GPU, text)
    (root / PREFERENCE).write_text(preference(operators, source), encoding="utf-8")
    return source


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__).parse_args(argv)
    print(f"README.md, docs/kernels.md and the choice of backends are those of {publish(ROOT)}")


if __name__ == "__main__":
    main()
