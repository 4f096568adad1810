"""Mutation testing of the CUDA kernels: breaks one place at a time, and reports which breaks no test notices.

`python -m tests.emulated.mutate`. Half an hour, and so not part of CI. Every break is compiled into one library,
as an alternative to what it breaks (breaks.py), and tried in a fork of one process, by the tests that reach it
(trials.py).

`--most N` compiles at most N breaks of a file, chosen at random with `--seed`; `--only confidence_warp tile.h:46:`
tries those alone whose row has one of the words. A break that is not noticed has no effect or reveals a gap in the
tests. Those known to have no effect, and why, are in equivalent.py: they are not tried.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests import emulated
from tests.emulated.breaks import ROOT, Break, Switch, breaks, chosen, compiled, sources
from tests.support.guarded_memory import guard

VALUES = ("tests/ops/test_values.py", "tests/ops/test_gradients.py")
FILES = (*VALUES, "tests/ops/test_cuda.py", "tests/emulated/test_fuzz.py")
TESTS = f"(random or cuda) and {emulated.ONCE}"
"""What CI runs on the emulation."""


def serve(work: Path) -> None:
    """Try all breaks, in a process whose memory is guarded, and print a row for each."""
    import pytest

    from tests.emulated.trials import NOTHING, Trials

    found = json.loads((work / "breaks.json").read_text(encoding="utf-8"))
    todo = {one["number"]: Break(**one | {"path": Path(one["path"])}) for one in found}
    order = random.Random(0).sample(sorted(todo), len(todo))  # so that half of the time tells of every file
    tally: Counter[bool] = Counter()

    def report(number: int, noticed: str) -> None:
        if number < 0:
            print(f"fails without a break: {noticed}", flush=True)
            return
        tally[noticed.startswith(NOTHING)] += 1
        print(f"| {todo[number]} | {noticed} |", flush=True)

    trials = Trials(lambda: Switch(os.environ[emulated.LIBRARY_VARIABLE]), order, report, work / "log")
    options = ["-qq", "-rN", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    pytest.main([*options, *FILES, "-k", TESTS], plugins=[trials])
    print(f"\n{tally.total()} of {len(todo)} breaks tried, {tally[True]} not noticed")
    sys.exit(tally[True] > 0 or tally.total() < len(todo))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; its exit status is 1 if a break was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulated.mutate", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="try only breaks whose row has one of these"
    )
    parser.add_argument("--most", type=int, default=20, help="breaks of a file (20)")
    parser.add_argument("--seed", type=int, default=0, help="which they are (0)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        serve(args.serve)
    work = ROOT / "build/mutated"  # what is not broken is compiled once
    work.mkdir(parents=True, exist_ok=True)
    texts = sources()
    found, library = compiled(texts, chosen(list(breaks(texts)), args.most, args.seed), work)
    todo = [one for one in found if not args.only or any(word in str(one) for word in args.only)]
    (work / "breaks.json").write_text(json.dumps([one.__dict__ for one in todo], default=str), encoding="utf-8")
    changes = {emulated.VARIABLE: "900", emulated.LIBRARY_VARIABLE: str(library), "INTERNET_BACKEND": ""}
    environment = {"INTERNET_EMULATED_SEED": "0", **os.environ, **changes, **guard(work, "after", alignment=32)}
    command = [sys.executable, "-m", "tests.emulated.mutate", "--serve", str(work)]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
