"""Markdown tables: formatting their cells, and replacing them in a page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

CPU, CPU_NARROWER, CPU_EXCERPT = "benchmark table", "narrower benchmark table", "benchmark excerpt"
SMALL = "small shapes table"
GPU, GPU_EXCERPT = "gpu table", "gpu excerpt"
"""Names of tables in pages, between the markers `<!-- NAME: start -->` and `<!-- NAME: end -->`."""
UNKNOWN = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first `words` columns are aligned to the left, the others to the right."""
    rule = ["---"] * words + ["--:"] * (len(header) - words)
    lines = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    first, *others = lines
    return "\n".join([first, f"|{'|'.join(rule)}|", *others])


def seconds(value: float) -> str:
    """Three digits, in milliseconds or microseconds."""
    number, unit = (1e3 * value, "ms") if value >= 1e-3 else (1e6 * value, "µs")
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {unit}"


def times(ratio: float | None) -> str:
    """A ratio; None means not measured."""
    if ratio is None:
        return UNKNOWN
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2f}×"


def mebibytes(count: float | None, digits: int = 1) -> str:
    """A number of bytes; None means not measured."""
    return UNKNOWN if count is None else f"{count / 2**20:.{digits}f} MiB"


def has_place(page: Path, name: str) -> bool:
    """Whether a page has a marker of this name."""
    return f"<!-- {name}: start -->" in page.read_text(encoding="utf-8")


def update(page: Path, name: str, text: str) -> None:
    """Replace the text between the two markers of `name`.

    Raises:
        ValueError: the file does not have each marker once, in order; it is not changed.
    """
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(start) != 1 or whole.count(end) != 1 or whole.index(start) > whole.index(end):
        raise ValueError(f"{page}: expected one line {start} and after it one line {end}")
    before, after = whole[: whole.index(start)], whole[whole.index(end) :]
    page.write_text(f"{before}{start}\n\n{text}\n\n{after}", encoding="utf-8")


def cells(text: str) -> Sequence[Sequence[str]]:
    """The cells of every data row of the tables in a text."""
    found = []
    lines = text.splitlines()
    for line, above in zip(lines, ["", *lines], strict=False):
        is_row = line.startswith("|") and above.startswith("|") and not line.startswith("|---")
        if is_row:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found
