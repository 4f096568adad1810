"""The report as it grows: on disk after every entry, so that whoever stops the run keeps what was measured."""

import json
import os
import time
from pathlib import Path
from typing import Any

Report = dict[str, Any]


class Store:
    """`report.json` in a folder; sections by name, each a list of entries."""

    def __init__(self, folder: Path, **header: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.report: Report = {**header, "sections": {}, "seconds": 0.0, "finished": False}
        self._start = time.perf_counter()
        self.write()

    def add(self, section: str, entry: Any) -> None:
        """Append an entry to its section, and write."""
        self.report["sections"].setdefault(section, []).append(entry)
        self.write()

    def finish(self) -> None:
        """Nothing more will come."""
        self.report["finished"] = True
        self.write()

    def write(self) -> None:
        """Replace the file by a whole new one: a reader never sees half of it."""
        self.report["seconds"] = round(time.perf_counter() - self._start, 1)
        path = self.folder / "report.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)


class Budget:
    """Seconds that a run may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    def left(self) -> float:
        """Seconds until the end; zero past it."""
        return max(0.0, self._end - time.perf_counter())
