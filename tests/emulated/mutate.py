"""Mutation testing of the CUDA kernels: breaks one place at a time, and reports which breaks no test notices.

`python -m tests.emulated.mutate`. Not part of CI: half a day for all. Every break is compiled into one library, as an
alternative to what it breaks, and the environment variable INTERNET_EMULATED_BREAK has the number of the active
one. A process that has imported torch forks for each break and runs the tests that reach its file until one fails.

`--only confidence_warp` selects files whose path contains the word, `--most N` at most N breaks in a file, chosen at
random with `--seed`. A break that is not noticed has no effect or reveals a gap in the tests; both are worth a look.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from internet.ops import OPERATORS
from tests import emulated
from tests.emulated.build import ROOT, build
from tests.support.guarded_memory import guard

VARIABLE = "INTERNET_EMULATED_BREAK"
SECONDS = 900
"""The time limit for the tests of one break: some never end."""

BREAKS = (
    ("drops a barrier", r"__syncthreads\(\);", "(BROKEN ? void() : __syncthreads());"),
    ("drops a warp's barrier", r"__syncwarp\(\);", "(BROKEN ? void() : __syncwarp());"),
    ("a bound off by one", r"(?<=[\w\])]) < (?=[\w.(]+[;)\s&|])", " < BROKEN + "),
    ("a bound off by one, below", r"(?<=[\w\])]) >= (?=\w)", " >= BROKEN + "),
    ("a loop that starts late", r"\bint (\w+) = 0;", r"int \1 = BROKEN;"),
    ("the neighbour's lane", r"(__shfl_(?:up|down)_sync\([^;]*), 1\)", r"\1, 1 + BROKEN)"),
    ("half of the lanes' sum", r"warp_size / 2; offset > 0", "warp_size / 2; offset > 0 + BROKEN"),
    ("another lane is the first", r"lane == 0", "lane == 0 + BROKEN"),
    ("ignores the fixed-point scale", r"\* (p?\.?scale_?(?:\[1\])?)(?![\w(])", r"* (BROKEN ? 1 : \1)"),
    ("stores in place of adding", r"(?<=[ ;(])([\w.\[\]]+) \+= ", r"(BROKEN ? void(\1 = {}) : void()), \1 += "),
    ("east for west", r"weights\.ne\b", "(BROKEN ? weights.nw : weights.ne)"),
    ("south for north", r"weights\.sw\b", "(BROKEN ? weights.nw : weights.sw)"),
    ("the other corner", r"at\.se\b", "(BROKEN ? at.sw : at.se)"),
    ("rows for columns", r"stride\[3\]", "stride[3 - BROKEN]"),
    ("channels for images", r"stride\[1\]", "stride[1 - BROKEN]"),
    ("forgets the first image of the pass", r"p\.first_image \+ ", "p.first_image * !BROKEN + "),
    ("reads what is outside", r"\bs\.reads && ", "(BROKEN || s.reads) && "),
    ("forgets to return", r"\breturn;", "{ if (!BROKEN) return; }"),
    ("the sum of the east only", r"\? part\.nw \+ north", "? part.nw * !BROKEN + north"),
    ("the neighbour above", r" \+ 1(?=[;)\],])", " + 1 - BROKEN"),
    ("one condition of two", r" && (?=[!\w(])", " && BROKEN | "),
    ("the other sign", r"(?<=[\w\])]) - (?=[a-z]\w*\b(?!\())", " - (1 - 2 * BROKEN) * "),
)
"""Breaks: a name, what is replaced, and by what. BROKEN is 1 if this break is active, otherwise 0."""

HEADER = f"""#pragma once
#include <cstdlib>
namespace emulated {{
inline const int taken = std::getenv("{VARIABLE}") ? std::atoi(std::getenv("{VARIABLE}")) : -1;
inline int broken(int number) {{ return number == taken; }}
}}
"""

VALUES = ("tests/ops/test_values.py", "tests/ops/test_gradients.py")
CUDA = "gradients_are or same_bits or in_chunks or many_anchors"
TESTS = (
    (VALUES, "cuda and float32"),
    (("tests/emulated/test_fuzz.py",), "random"),
    (("tests/ops/test_cuda.py",), f"({CUDA}) and (torch.float32 or bfloat16)"),
    (VALUES, "cuda and not float32"),
)
"""Files, and which of their tests. The quick ones first: the others only run if these notice nothing."""

SERVES = {"confidence_warp": "(confidence_warp or pyramid_warp)"}
"""For folders that are not named like an operator, or serve several: the operators whose tests reach them."""


@dataclass(frozen=True)
class Break:
    """A piece of a source, and what it becomes."""

    path: Path
    what: str
    line: int
    start: int
    end: int
    text: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def breaks(root: Path, words: Sequence[str]) -> Iterator[Break]:
    """Every break in every file whose path contains one of the words, or in all files without words."""
    number = 0
    for path in sorted(root.glob("csrc/cuda/**/*")):
        name = path.relative_to(root)
        if path.suffix not in (".cu", ".h", ".cuh") or (words and not any(word in str(name) for word in words)):
            continue
        text = path.read_text(encoding="utf-8")
        for what, pattern, replacement in BREAKS:
            for match in re.finditer(pattern, text):
                number += 1
                line_start = text.rfind("\n", 0, match.start()) + 1
                if not re.search(r"//|#|static_assert|constexpr", text[line_start : match.start()]):
                    line = text.count("\n", 0, match.start()) + 1
                    yield Break(name, what, line, *match.span(), match.expand(replacement), number)


def chosen(found: Sequence[Break], most: int, seed: int) -> list[Break]:
    """No more than `most` of a file, no two of them in the same place."""
    by_file: dict[Path, list[Break]] = {}
    for one in random.Random(seed).sample(found, len(found)):
        others = by_file.setdefault(one.path, [])
        if len(others) < most and all(one.end <= other.start or other.end <= one.start for other in others):
            others.append(one)
    return sorted((one for of_file in by_file.values() for one in of_file), key=lambda one: (one.path, one.start))


def write(todo: Sequence[Break], work: Path) -> None:
    """The sources with every break as an alternative. What is there already is left as old as it is."""
    for path in (path for path in (ROOT / "csrc").rglob("*") if path.is_file()):
        name = path.relative_to(ROOT)
        text = path.read_text(encoding="utf-8")
        of_file = [one for one in todo if one.path == name]
        for one in sorted(of_file, key=lambda one: -one.start):
            text = text[: one.start] + one.text.replace("BROKEN", f"emulated::broken({one.number})") + text[one.end :]
        _write(work / name, f'#include "cuda/broken.h"\n#line 1\n{text}' if of_file else text)
    _write(work / "csrc/cuda/broken.h", HEADER)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def compiled(todo: Sequence[Break], work: Path) -> tuple[list[Break], Path]:
    """The library, and the breaks that are in it: not those that do not compile."""
    left = list(todo)
    while True:
        write(left, work)
        try:
            return left, build(root=work, out=work / "build")
        except RuntimeError as error:
            places = set(re.findall(r"(csrc/cuda/\S+?):(\d+):\d+: error", str(error)))
            sound = [one for one in left if (str(one.path), str(one.line)) not in places]
            if len(sound) == len(left):
                raise
            left = sound


def tests_of(path: Path) -> Iterator[list[str]]:
    """The tests that reach a source, for pytest: those of its operator, or all if several operators share it."""
    folder = path.parts[2]
    for files, words in TESTS:
        wanted = f"({words}) and {SERVES.get(folder, folder)}" if folder in OPERATORS else words
        yield [*files, "-k", wanted]


def _run(selection: Sequence[str], number: int, log: Path) -> int | None:
    """The exit status of pytest in a fork of this process that takes a break; None if it does not end."""
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = str(number)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        import pytest

        os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--tb=no", *selection])))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def notices(one: Break, log: Path) -> str:
    """The first test that fails with a break; nothing if all pass."""
    for selection in tests_of(one.path):
        status = _run(selection, one.number, log)
        if status is None:
            return "they do not end"
        if status not in (0, 5):  # 5: pytest has no such test
            failed = re.search(r"^FAILED (\S+)", log.read_text(encoding="utf-8", errors="replace"), re.M)
            return failed[1] if failed else f"exit status {status}"
    return ""


def serve(work: Path) -> None:
    """Try all breaks, in a process whose memory is guarded, and print a row for each."""
    import hypothesis  # noqa: F401  what the tests import, once
    import torch  # noqa: F401

    found = json.loads((work / "breaks.json").read_text(encoding="utf-8"))
    todo = [Break(**one | {"path": Path(one["path"])}) for one in found]
    unnoticed = 0
    for one in random.Random(0).sample(todo, len(todo)):  # so that half of the time tells of every file
        noticed = notices(one, work / "log")
        unnoticed += not noticed
        print(f"| {one} | {noticed or '**nothing**'} |", flush=True)
    print(f"\n{len(todo)} breaks, {unnoticed} not noticed")
    sys.exit(unnoticed > 0)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; its exit status is 1 if a break was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulated.mutate", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="files whose path has one of these")
    parser.add_argument("--most", type=int, default=20, help="breaks of a file (20)")
    parser.add_argument("--seed", type=int, default=0, help="which they are (0)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        serve(args.serve)
    work = ROOT / "build/mutated"  # what is not broken is compiled once
    work.mkdir(parents=True, exist_ok=True)
    todo, library = compiled(chosen(list(breaks(ROOT, args.only)), args.most, args.seed), work)
    (work / "breaks.json").write_text(json.dumps([one.__dict__ for one in todo], default=str), encoding="utf-8")
    changes = {emulated.VARIABLE: "900", emulated.LIBRARY_VARIABLE: str(library)}
    changes["PYTHONDONTWRITEBYTECODE"] = ""  # every fork imports the tests
    environment = {**os.environ, "INTERNET_BACKEND": "", **changes, **guard(work, "after", alignment=32)}
    command = [sys.executable, "-m", "tests.emulated.mutate", "--serve", str(work)]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
