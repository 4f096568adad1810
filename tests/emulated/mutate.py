"""Breaks the CUDA kernels in one place at a time, and tells which breaks no test notices.

`python -m tests.emulated.mutate`. Not part of CI: each break is compiled (only what includes its file) and tested.
`--only confidence_warp` takes the files whose path has these words, `--most N` no more than N breaks of a file, drawn
at random with `--seed`. What is not noticed is either without effect or a hole in the tests; both are worth a look.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from internet.ops import OPERATORS
from tests import emulated
from tests.emulated.build import ROOT, build
from tests.support.guarded_memory import guard

BREAKS = (
    ("drops a barrier", r"__syncthreads\(\);", ";"),
    ("drops a warp's barrier", r"__syncwarp\(\);", ";"),
    ("a bound off by one", r"(?<=[\w\])]) < (?=[\w.(]+[;)\s&|])", " <= "),
    ("a bound off by one, below", r"(?<=[\w\])]) >= (?=\w)", " > "),
    ("a loop that starts late", r"\bint (\w) = 0;", r"int \1 = 1;"),
    ("the neighbour's lane", r"(__shfl_(?:up|down)_sync\([^;]*), 1\)", r"\1, 2)"),
    ("half of the lanes' sum", r"warp_size / 2; offset > 0", "warp_size / 2; offset > 1"),
    ("no lane is the first", r"lane == 0", "lane == 1"),
    ("ignores the fixed-point scale", r"\* p?\.?scale_?(?:\[1\])?\b", "* 1"),
    ("stores in place of adding", r"\+= ", "= "),
    ("east for west", r"weights\.ne\b", "weights.nw"),
    ("south for north", r"weights\.sw\b", "weights.nw"),
    ("the other corner", r"at\.se\b", "at.sw"),
    ("rows for columns", r"stride\[3\]", "stride[2]"),
    ("channels for images", r"stride\[1\]", "stride[0]"),
    ("forgets the first image of the pass", r"p\.first_image \+ ", ""),
    ("reads what is outside", r"\bs\.reads && ", ""),
    ("forgets to return", r"\breturn;", ";"),
    ("the sum of the east only", r"\? part\.nw \+ north", "? north"),
)
"""What is broken, where, and how."""

TESTS = (
    (("tests/ops/test_values.py", "tests/ops/test_gradients.py", "tests/emulated/test_fuzz.py"), "cuda or random"),
    (("tests/ops/test_cuda.py",), "(gradients_are or same_bits or in_chunks) and (float32 or bfloat16)"),
)
"""Files, and which of their tests. The quick ones first: the others run where these notice nothing."""

SERVES = {"confidence_warp": "(confidence_warp or pyramid_warp)"}
"""By folder, whose tests reach it where that is not the operator of its name alone."""


@dataclass(frozen=True)
class Break:
    """One line of a source, changed."""

    path: Path
    what: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def breaks(root: Path, words: Sequence[str]) -> Iterator[Break]:
    """Every break of every file whose path has one of the words; all files without words."""
    for path in sorted(root.glob("csrc/cuda/**/*")):
        name = path.relative_to(root)
        if path.suffix not in (".cu", ".h", ".cuh") or (words and not any(word in str(name) for word in words)):
            continue
        text = path.read_text(encoding="utf-8")
        for what, pattern, replacement in BREAKS:
            for match in re.finditer(pattern, text):
                line_start = text.rfind("\n", 0, match.start()) + 1
                if "//" not in text[line_start : match.start()]:
                    broken = text[: match.start()] + match.expand(replacement) + text[match.end() :]
                    yield Break(name, what, text.count("\n", 0, match.start()) + 1, broken)


def chosen(found: Sequence[Break], most: int, seed: int) -> list[Break]:
    """No more than `most` of a file."""
    by_file: dict[Path, list[Break]] = {}
    for one in found:
        by_file.setdefault(one.path, []).append(one)
    chance = random.Random(seed)
    return [one for of_file in by_file.values() for one in chance.sample(of_file, min(most, len(of_file)))]


def tests_of(path: Path) -> Iterator[list[str]]:
    """What reaches a source, for pytest: the tests of its operator, or all for what several operators share."""
    folder = path.parts[2]
    for files, words in TESTS:
        wanted = f"({words}) and {SERVES.get(folder, folder)}" if folder in OPERATORS else words
        yield [*files, "-k", wanted]


def notices(path: Path, library: Path, work: Path) -> str:
    """The first test that fails with a library in which a source is broken; nothing if all pass.

    The tests' memory is guarded, as in test_emulated.py.
    """
    changes = {emulated.VARIABLE: "900", emulated.LIBRARY_VARIABLE: str(library), **guard(work, "after", alignment=32)}
    environment = {**os.environ, **changes}
    for selection in tests_of(path):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", *selection]
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            return "they do not end"
        if done.returncode:
            failed = re.search(r"^FAILED (\S+)", done.stdout, re.M)
            return failed[1] if failed else f"exit status {done.returncode}"
    return ""


def try_all(todo: Sequence[Break], work: Path) -> Iterator[tuple[Break, str]]:
    """Each break and what noticed it: the compiler, a test, or nothing."""
    shutil.copytree(ROOT / "csrc", work / "csrc")
    for one in todo:
        path = work / one.path
        whole = path.read_text(encoding="utf-8")
        path.write_text(one.text, encoding="utf-8")
        try:
            yield one, notices(one.path, build(900, root=work, out=work / "build"), work)
        except RuntimeError:
            yield one, "does not compile"
        finally:
            path.write_text(whole, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; its exit status is 1 if a break was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulated.mutate", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="files whose path has one of these")
    parser.add_argument("--most", type=int, default=20, help="breaks of a file (20)")
    parser.add_argument("--seed", type=int, default=0, help="which they are (0)")
    args = parser.parse_args(argv)
    todo = chosen(list(breaks(ROOT, args.only)), args.most, args.seed)
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        for one, noticed in try_all(todo, Path(folder)):
            unnoticed += not noticed
            print(f"| {one} | {noticed or '**nothing**'} |", flush=True)
    print(f"\n{len(todo)} breaks, {unnoticed} not noticed")
    sys.exit(unnoticed > 0)


if __name__ == "__main__":
    main()
