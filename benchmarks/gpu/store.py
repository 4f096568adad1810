"""The report as it grows: on disk after every entry, so that whoever stops the run keeps what was measured."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Report = dict[str, Any]


class Store:
    """`report.json` in a folder.

    `sections`: by name, lists of entries. `pending`: what is still to be done, the part that runs now first.
    `left_out`: what was not done, and why not.
    """

    def __init__(self, folder: Path, **header: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.report: Report = {**header, "sections": {}, "pending": [], "left_out": [], "seconds": 0.0}
        self.report["finished"] = False
        self._start = time.perf_counter()
        self.write()

    def plan(self, parts: Iterable[str]) -> None:
        """Everything that is to be done, by name."""
        self.report["pending"] = list(parts)
        self.write()

    def add(self, section: str, entry: Any) -> None:
        """Append an entry to its section, and write."""
        self.report["sections"].setdefault(section, []).append(entry)
        self.write()

    def leave_out(self, what: str, why: str) -> None:
        """Note what was not done."""
        self.report["left_out"].append({"what": what, "why": why})
        self.write()

    def done(self, part: str) -> None:
        """Nothing is to be done about a part any more."""
        self.report["pending"].remove(part)
        self.write()

    def finish(self) -> None:
        """Nothing more will come."""
        self.report["finished"] = True
        self.write()

    def write(self) -> None:
        """Bring the file up to date."""
        self.report["seconds"] = round(time.perf_counter() - self._start, 1)
        write(self.folder, self.report)


def write(folder: Path, report: Report) -> None:
    """Replace the file by a whole new one: a reader never sees half of it."""
    path = folder / "report.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
