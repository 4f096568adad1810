"""Lists of clips: text files with a path in each line."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from internet.data.image import MediaError, is_there

#: UTF-16 and UTF-8 as Windows editors mark them.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def listed_paths(listed: Path, root: Path) -> Iterator[tuple[int, Path]]:
    """The lines of a list, counted from 1, and the places relative to `root` that they name.

    A line may end in a comment, which # begins, but the whole line is tried first: # is a character that names can
    have. Raises :class:`MediaError` for a line that names nothing, and for what is not text.
    """
    for number, line in enumerate(_text(listed).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        spellings = [line, line.strip(), line.split("#", 1)[0].strip()]
        spellings += [spelling.replace("\\", "/") for spelling in spellings]  # written on Windows
        places = [root / spelling for spelling in spellings if is_there(root / spelling)]
        if not places:
            raise MediaError(f"'{listed}', line {number}: '{spellings[2]}' does not exist")
        yield number, places[0]


def _text(listed: Path) -> str:
    try:
        data = listed.read_bytes()
    except OSError as error:
        raise MediaError(f"the list '{listed}' cannot be read: {error.strerror}") from error
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MediaError(f"the list '{listed}' is not UTF-8 text (line {line}): save it as UTF-8") from error
