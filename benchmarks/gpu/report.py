"""Check this library's claims on a GPU: `python -m benchmarks gpu-report --out DIR`.

Takes less than nine minutes. First correctness (the tests of the GPU backends, compute-sanitizer over small
shapes), then speed (every operator at the paper's sizes against eager and torch.compile, whole models, small
shapes as CUDA graphs, energy). Writes `report.json` with every sample, `report.md` with the verdicts, `roofline.png`;
results are on disk at once, so a run that is killed keeps them. Without a GPU the same steps run on the CPU with
tiny shapes, which tests the steps and measures nothing.

The time limit holds on any machine: all measuring is done by another process, which this one kills at the limit; the
report lists what was left out.

Needs the installed library, pytest and numpy; nvidia-ml-py for energy, matplotlib for the picture. In a checkout
that is not built in place, run it where only `benchmarks` and `tests` are, so that the installed library is found.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import limits, page, worker
from benchmarks.gpu.limits import Budget
from benchmarks.gpu.store import write

SECONDS, QUICK_SECONDS = 500.0, 150.0
"""Seconds for everything after torch's import, which can take half a minute the first time on a machine."""
PAGES = 10.0
"""Of these, seconds for the pages and the picture, after measuring."""
SPARE = 5.0
"""Seconds between the time by which the measuring process should finish and its kill."""


def supervise(command: Sequence[str], budget: Budget, spare: float = SPARE) -> str:
    """Run the measuring process, which is given its deadline, within the budget; returns how it ended."""
    until = time.time() + budget.left() - spare
    with limits.process([*command, "--until", str(until)], grace=1.0) as started:
        try:
            status = started.wait(budget.left())
        except subprocess.TimeoutExpired:
            return "ended at its time limit"
    return "finished" if status == 0 else f"exit status {status}"


def write_pages(folder: Path, ended: str, began: float) -> str:
    """Write the page from the measuring process's file; returns its text."""
    path = folder / "report.json"
    if path.exists():
        report = json.loads(path.read_text(encoding="utf-8"))
        report |= {"ended": ended, "seconds": round(time.monotonic() - began, 1)}
        write(folder, report)
        text = page.render(report)
    else:
        text = f"# No report\n\nThe measuring process wrote nothing: {ended}.\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def _draw(folder: Path) -> str:
    """Draw the picture, also in its own process: matplotlib's first run on a machine can take long."""
    log = folder / "roofline.log"
    ended = limits.run([sys.executable, "-m", "benchmarks.gpu.roofline", str(folder)], log, PAGES - 2)
    return log.read_text(encoding="utf-8").strip() if ended == "finished" else f"roofline.png was not drawn: {ended}"


@limits.leaving_when_asked()
def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    began = time.monotonic()
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        parents=[worker.parser()],
        prog="python -m benchmarks gpu-report",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    options = parser.parse_args(arguments)
    if (options.out / "report.json").exists():
        sys.exit(f"{options.out} has a report already: choose another folder")
    if options.device == "cpu":
        print("no CUDA device: tiny shapes on the CPU, to see that every step runs; nothing here is a measurement")
    budget = Budget((options.seconds or (QUICK_SECONDS if options.quick else SECONDS)) - PAGES)
    ended = "interrupted"
    try:
        ended = supervise([sys.executable, "-m", "benchmarks.gpu.worker", *arguments], budget)
    finally:
        print(write_pages(options.out, ended, began))
    print(_draw(options.out))
    if ended != "finished":
        sys.exit(f"the report is not whole: the measuring process {ended}")


if __name__ == "__main__":
    main()
