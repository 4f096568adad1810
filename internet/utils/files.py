"""Write files so that a crash loses nothing and nothing existing is lost by accident."""

import errno
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

#: Errors of file systems that do not support a call, such as exFAT, SMB shares and mounted cloud drives.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
#: Errors of file systems that cannot rename a file over an existing one.
_OCCUPIED = {errno.EEXIST, errno.EPERM, errno.EACCES, errno.ENOTSUP}
#: How many characters of a file's name its temporary file repeats: with all of them its name could be too long.
_NAME, _SUFFIX = 40, 10


class OutputError(OSError):
    """An output cannot be written, or would overwrite something without permission."""


@contextmanager
def replacement(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A temporary file in the folder of ``path``, which is renamed to it in one step when the block ends successfully.

    A reader of ``path`` sees the old file or the new one, never a part; a block that raises leaves the old one. With
    ``durable``, which waits for the disk, so does a crash of the machine.
    Raises :class:`OutputError` if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix if len(path.suffix) <= _SUFFIX else ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:_NAME]}.", suffix=suffix)
    except OSError as error:
        raise OutputError(f"cannot write in the folder '{path.parent}': {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        _set_usual_permissions(temporary)
        _replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path``, all of it or nothing: see :func:`replacement`."""
    with replacement(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def save_tensors(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """``torch.save`` through :func:`atomic_write`; only tensors and numbers, so that ``weights_only=True`` loads it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    atomic_write(path, buffer.getvalue())


def fsync_directory(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, if the file system supports that.

    Raises :class:`OutputError` if the disk fails.
    """
    try:
        _sync(folder)
    except PermissionError:  # the folder may be written but not listed; its files are synced anyway
        pass
    except OSError as error:
        raise OutputError(f"cannot write the folder '{folder}': {error.strerror}") from error


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise an OSError if something exists that is not a regular file: reading a pipe or a device may never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise OSError(f"'{path}' is {'a folder' if Path(path).is_dir() else 'a pipe or a device'}, not a file")


def output_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Check in advance that the file ``path`` may be written.

    Raises :class:`OutputError` if it is a folder, its folder does not exist, or it exists and ``overwrite`` is False.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder, not a file")
    if path.exists() and not overwrite:
        raise OutputError(f"'{path}' exists; choose another name or pass --overwrite")
    if not path.parent.is_dir():
        raise OutputError(f"the folder '{path.parent}' does not exist")
    return path


def output_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Create ``path`` (and its parents) and check that files can be written there.

    Raises :class:`OutputError` if it is a file, cannot be written, or is not empty and ``overwrite`` is False.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"'{folder}' is a file, not a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"cannot write in the folder '{folder}': {error.strerror}") from error
    if occupied and not overwrite:
        raise OutputError(f"the folder '{folder}' is not empty; choose another or pass --overwrite")
    return folder


def numbered_folder(root: str | os.PathLike[str], prefix: str) -> Path:
    """Create and return the next of ``root/prefix-001``, ``root/prefix-002``, ... : every run keeps its own."""
    root = Path(root)
    output_folder(root, overwrite=True)
    pattern = re.compile(re.escape(prefix) + r"-(\d+)$")
    taken = [int(match[1]) for entry in root.iterdir() if (match := pattern.match(entry.name))]
    number = max(taken, default=0) + 1
    while True:  # another run may take the same number between the check and the mkdir
        folder = root / f"{prefix}-{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _sync(path: Path) -> None:
    """fsync a file or a folder, unless the file system does not support it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def _set_usual_permissions(path: Path) -> None:
    """The permissions of a file not made by mkstemp; a file system without permissions may reject or ignore them."""
    try:
        path.chmod(0o666 & ~_umask())
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.EPERM}:
            raise


def _replace(temporary: Path, path: Path) -> None:
    """Rename over an existing file; in two steps if the file system cannot do it in one."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in _OCCUPIED or not path.is_file():
            raise
        aside = temporary.with_name(f"{temporary.name}~")
        os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except OSError:
            os.rename(aside, path)
            raise
        aside.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
