"""Ways to break the CUDA sources, and a library that contains many breaks, of which at most one is active."""

import ctypes
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.emulated.build import ROOT, build
from tests.emulated.equivalent import is_equivalent

BREAKS = (
    ("drops a barrier", r"__syncthreads\(\);", "(BROKEN ? void() : __syncthreads());"),
    ("drops a warp's barrier", r"__syncwarp\(\);", "(BROKEN ? void() : __syncwarp());"),
    (
        "a bound off by one",  # but not the smaller of two numbers, which are equal there
        r"(?<=[\w\])]) < (?!([\w.()]+) \? [^;?:]+ : \1(?!\w))(?=[\w.(]+[;)\s&|])",
        " < BROKEN + ",
    ),
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

MOST = 4096
"""More than there are breaks in all files."""

HEADER = f"""#pragma once
#define SHOWN __attribute__((visibility("default")))
extern "C" {{
inline SHOWN int emulated_break = -1;
inline SHOWN unsigned char emulated_reached[{MOST}] = {{}};
}}
namespace emulated {{
inline int broken(int number) {{
  emulated_reached[number] = 1;
  return number == emulated_break;
}}
}}  // namespace emulated
#undef SHOWN
"""


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
    source: str
    """The line, from the piece on."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: `{self.source.strip()}`"


def sources(root: Path = ROOT) -> dict[Path, str]:
    """All of csrc as it is now, so that what is edited later does not matter."""
    files = sorted(path for path in (root / "csrc").rglob("*") if path.is_file())
    return {path.relative_to(root): path.read_text(encoding="utf-8") for path in files}


def breaks(texts: Mapping[Path, str]) -> Iterator[Break]:
    """Every break in every CUDA file, but those that are known to have no effect."""
    number = 0
    for path, text in texts.items():
        if path.parts[1] != "cuda" or path.suffix not in (".cu", ".h", ".cuh"):
            continue
        for what, pattern, replacement in BREAKS:
            for match in re.finditer(pattern, text):
                number += 1
                line_start = text.rfind("\n", 0, match.start()) + 1
                fixed = re.search(r"//|#|static_assert|constexpr", text[line_start : match.start()])
                if not fixed and not is_equivalent(str(path), text[match.start() :]):
                    line = text.count("\n", 0, match.start()) + 1
                    source = text[match.start() :].partition("\n")[0]
                    yield Break(path, what, line, *match.span(), match.expand(replacement), number, source)


def chosen(found: Sequence[Break], most: int, seed: int) -> list[Break]:
    """No more than `most` of a file, no two of them in the same place."""
    left = []
    for path in sorted({one.path for one in found}):
        of_file = [one for one in found if one.path == path]
        taken: list[Break] = []
        for one in random.Random(f"{seed} {path}").sample(of_file, len(of_file)):
            if len(taken) < most and all(one.end <= other.start or other.end <= one.start for other in taken):
                taken.append(one)
        left += sorted(taken, key=lambda one: one.start)
    return left


def write(texts: Mapping[Path, str], todo: Sequence[Break], work: Path) -> None:
    """The sources with every break as an alternative, and no others. What is there already is left as old as it is."""
    header = Path("csrc/cuda/broken.h")
    for path in (work / "csrc").rglob("*"):
        if path.is_file() and path.relative_to(work) not in {*texts, header}:
            path.unlink()
    _write(work / header, HEADER)
    for name, text in texts.items():
        of_file = [one for one in todo if one.path == name]
        for one in sorted(of_file, key=lambda one: -one.start):
            text = text[: one.start] + one.text.replace("BROKEN", f"emulated::broken({one.number})") + text[one.end :]
        _write(work / name, f'#include "cuda/broken.h"\n#line 1\n{text}' if of_file else text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def compiled(texts: Mapping[Path, str], todo: Sequence[Break], work: Path) -> tuple[list[Break], Path]:
    """The breaks that compile, and the library that contains them."""
    left = list(todo)
    while True:
        write(texts, left, work)
        try:
            return left, build(root=work, out=work / "build")
        except RuntimeError as error:
            wrong = guilty(str(error), left)
            if not wrong:
                raise
            left = [one for one in left if one not in wrong]


def guilty(errors: str, todo: Sequence[Break]) -> set[Break]:
    """For each of the compiler's errors, the breaks in its line, or in the nearest line above that has some."""
    found = set()
    for path, line in re.findall(r"(csrc/cuda/\S+?):(\d+):\d+: error", errors):
        above = [one for one in todo if str(one.path) == path and one.line <= int(line)]
        found |= {one for one in above if one.line == above[-1].line}
    return found


class Switch:
    """Of a loaded library, which break is active and which ones were reached."""

    def __init__(self, library: str | Path) -> None:
        loaded = ctypes.CDLL(str(library))
        self._active = ctypes.c_int.in_dll(loaded, "emulated_break")
        self._reached = (ctypes.c_ubyte * MOST).in_dll(loaded, "emulated_reached")

    def activate(self, number: int) -> None:
        """Make this the break that is active; -1 for none."""
        self._active.value = number

    def reached(self) -> set[int]:
        """The breaks whose place was executed since the last call, active or not."""
        found = {number for number, reached in enumerate(bytes(self._reached)) if reached}
        ctypes.memset(self._reached, 0, MOST)
        return found
