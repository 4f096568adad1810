"""The report, written to disk after every entry, so that a run that is stopped keeps its measurements."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Report = dict[str, Any]


class Store:
    """`report.json` in a folder.

    `sections`: lists of entries, by name. `pending`: the parts still to be done, beginning with the running one.
    `left_out`: what was not done, with reasons.
    """

    def __init__(self, folder: Path, **header: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.report: Report = {**header, "sections": {}, "pending": [], "left_out": [], "seconds": 0.0}
        self.report["finished"] = False
        self._start = time.perf_counter()
        self.write()

    def plan(self, parts: Iterable[str]) -> None:
        """Set the parts to be done, by name."""
        self.report["pending"] = list(parts)
        self.write()

    def add(self, section: str, entry: Any) -> None:
        """Append an entry to its section, and write the file."""
        self.report["sections"].setdefault(section, []).append(entry)
        self.write()

    def leave_out(self, what: str, why: str) -> None:
        """Record what was not done, and why."""
        self.report["left_out"].append({"what": what, "why": why})
        self.write()

    def done(self, part: str) -> None:
        """Record that a part is done."""
        self.report["pending"].remove(part)
        self.write()

    def finish(self) -> None:
        """Record that the report is complete."""
        self.report["finished"] = True
        self.write()

    def write(self) -> None:
        """Write the file."""
        self.report["seconds"] = round(time.perf_counter() - self._start, 1)
        write(self.folder, self.report)


def write(folder: Path, report: Report) -> None:
    """Replace the file at once: a reader never sees half of it."""
    path = folder / "report.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
