"""Numbers in columns, as text."""

from collections.abc import Mapping, Sequence

LABEL, COLUMN = 30, 13


def table(headings: Sequence[str], rows: Mapping[str, Sequence[float]], *, digits: int = 2) -> str:
    """A heading over each column, a label before each row."""
    lines = [" " * LABEL + "".join(f"{heading:>{COLUMN}}" for heading in headings)]
    for label, values in rows.items():
        lines.append(f"{label:{LABEL}}" + "".join(f"{value:{COLUMN}.{digits}f}" for value in values))
    return "\n".join(lines)
