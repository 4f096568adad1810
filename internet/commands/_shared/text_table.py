"""A table of text: columns as wide as their widest cell."""

from collections.abc import Sequence


def text_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(f"   {cell.rjust(width)}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
