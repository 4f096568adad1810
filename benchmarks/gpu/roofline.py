"""The picture of a report: how close each operator comes to the speed of a plain copy.

`python -m benchmarks.gpu.roofline DIR`, where DIR has the report.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.lib.targets import ratio

COLOURS = {"cuda": "#2a6f97", "cpu": "#2a6f97", "triton": "#61a5c2", "compile": "#bc6c25", "eager": "#9a9a9a"}


def bars(report: Mapping[str, Any], dtype: str = "float32") -> dict[str, dict[str, float]]:
    """For every row of `dtype` and the first batch, by label: the time of the copy over that of each candidate."""
    rows = [row for row in report["sections"].get("speed", []) if row["dtype"] == dtype and "passes" in row]
    first = rows[0]["batch"] if rows else ""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["batch"] != first:
            continue
        for passed, measured in row["passes"].items():
            label = f"{row['operator']}\n{row['layout']}, {passed}"
            found[label] = {
                name: ratio(measured["samples"]["copy"], samples)
                for name, samples in measured["samples"].items()
                if name != "copy"
            }
    return found


def draw(report: Mapping[str, Any], path: Path) -> str:
    """Write the picture; returns a line about it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "roofline.png was not drawn: matplotlib is not installed"
    found = bars(report)
    if not found:
        return "roofline.png was not drawn: nothing was timed"
    names = [name for name in COLOURS if any(name in row for row in found.values())]
    figure = Figure(figsize=(9, 0.42 * len(found) + 1.4), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(names)
    for place, name in enumerate(names):
        heights = [row + place * thickness for row in range(len(found))]
        values = [row.get(name, 0.0) for row in found.values()]
        axes.barh(heights, values, thickness, align="edge", color=COLOURS[name], label=name)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks([row + 0.4 for row in range(len(found))], list(found), fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time of a copy of the fewest bytes, over the operator's")
    axes.set_title(f"{report['device']}, float32")
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    figure.savefig(path, dpi=130)
    return f"wrote {path.name}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(draw(json.loads((folder / "report.json").read_text(encoding="utf-8")), folder / "roofline.png"))
