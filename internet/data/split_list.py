"""Lists of clips: text files with one path per line."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from internet.data.image import MediaError, is_there

#: Byte order marks that Windows editors write, and their encodings.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def listed_paths(listed: Path, root: Path) -> Iterator[tuple[int, Path]]:
    """The line numbers of a list, from 1, and the paths (relative to `root`) in these lines.

    A line may end in a comment, which begins with #; the whole line is tried as a path first, as names can contain #.
    Raises :class:`MediaError` if a line's path does not exist, or if the file is not text.
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
