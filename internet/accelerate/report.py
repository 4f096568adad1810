"""The report on what `accelerate` did to each module of a model."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDEST_COLUMN = 60


@dataclass(frozen=True)
class Row:
    """One module.

    Args:
        path: where it is in the model; "" is the model itself.
        class_name: of the module before the replacement.
        model: the model of which it was recognised as a part; "" if none.
        replaced: what computes it now; "" if it was left as it was.
        left: what of it was left as it was, and why; "" if nothing.
    """

    path: str
    class_name: str
    model: str
    replaced: str
    left: str = ""


@dataclass(frozen=True)
class Report:
    """Rows in the order of the modules; `str` of it is a table."""

    rows: tuple[Row, ...]

    @property
    def replaced(self) -> tuple[Row, ...]:
        """The modules with replaced code."""
        return tuple(row for row in self.rows if row.replaced)

    @property
    def left(self) -> tuple[Row, ...]:
        """The modules that were left as they were, partly or entirely; `left` says why."""
        return tuple(row for row in self.rows if row.left)

    def __str__(self) -> str:
        headings = ("module", "class", "model", "computed by", "left as it was")
        lines: list[tuple[str, ...]] = [headings, *self._grouped()]
        widths = [min(WIDEST_COLUMN, max(len(line[i]) for line in lines)) for i in range(len(headings))]
        return "\n".join(text for line in lines for text in _wrapped(line, widths))

    def _grouped(self) -> Iterator[tuple[str, ...]]:
        """One line for all modules with the same entries."""
        groups: dict[tuple[str, str, str, str], list[str]] = {}
        for row in self.rows:
            groups.setdefault((row.class_name, row.model, row.replaced, row.left), []).append(row.path)
        for (class_name, *cells), paths in groups.items():
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            yield (paths[0] or "(the model)") + more, class_name, *cells


def _wrapped(cells: Sequence[str], widths: list[int]) -> Iterator[str]:
    """A row of the table, wrapped over as many lines as its longest cell needs."""
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    for i in range(max(map(len, columns))):
        parts = (
            (column[i] if i < len(column) else "").ljust(width) for column, width in zip(columns, widths, strict=True)
        )
        yield "  ".join(parts).rstrip()
