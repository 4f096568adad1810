"""Files are written on file systems that lack features of ext4: links, fsync, permissions, renaming over a file."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from internet.model.checkpoint import find_checkpoint
from internet.training.checkpoint import Checkpoints
from internet.utils.files import OutputError, atomic_write, fsync_directory

REFUSALS = [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]


def refusing(number: int) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return call


def save_and_find(folder: Path) -> None:
    """Two checkpoints of a run, the second of which must be found, and no incomplete files next to them."""
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    assert torch.load(find_checkpoint(folder), weights_only=True) == {"step": 2}
    assert sorted(os.listdir(folder / "checkpoints")) == ["latest.txt", "step-00000002.pt"]


def test_without_links_of_either_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "symlink", refusing(errno.EOPNOTSUPP))
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    save_and_find(tmp_path)


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("what", ["files", "folders"])
def test_without_fsync(what, number, tmp_path, monkeypatch):
    fsync = os.fsync

    def some(handle: int) -> None:
        if (what == "folders") == os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", some)
    save_and_find(tmp_path)


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    """An error of fsync is treated as a missing call only if it is one."""
    for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        monkeypatch.setattr(os, "fsync", refusing(number))
        with pytest.raises(OutputError, match=os.strerror(number)):
            atomic_write(tmp_path / "a", b"content")
        with pytest.raises(OutputError, match=os.strerror(number)):
            fsync_directory(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EPERM, *REFUSALS])
def test_without_permissions(number, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "chmod", refusing(number))
    save_and_find(tmp_path)


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EPERM, errno.EACCES, errno.ENOTSUP])
def test_without_renaming_over_a_file(number, tmp_path, monkeypatch):
    replace = os.replace

    def onto_nothing(old: Path, new: Path) -> None:
        if os.path.exists(new):
            raise OSError(number, os.strerror(number))
        replace(old, new)

    monkeypatch.setattr(os, "replace", onto_nothing)
    save_and_find(tmp_path)


def test_a_failure_between_the_two_renamings_brings_the_old_file_back(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    rename, done = os.rename, []

    def failing(old: Path, new: Path) -> None:
        done.append(old)
        if len(done) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "replace", refusing(errno.EEXIST))
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OutputError, match="Input/output error"):
        atomic_write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    fsync_directory(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "n" * 255,
        "n" * 251 + ".mp4",
        "é" * 127,
        "字" * 85,
        "🙂" * 62 + ".mp4",
        "a." + "b" * 253,
        ".hidden",
        "-",
        "a b#1:*?",
    ],
)
def test_any_name_that_the_file_system_takes(name, tmp_path):
    """The name of its temporary file is not longer, in bytes."""
    for content in (b"old", b"new"):
        atomic_write(tmp_path / name, content)
        assert (tmp_path / name).read_bytes() == content
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_is_too_long_is_told(tmp_path):
    with pytest.raises(OutputError, match="File name too long"):
        atomic_write(tmp_path / ("n" * 256), b"content")
    assert os.listdir(tmp_path) == []


def test_a_run_in_a_folder_of_a_long_name(tmp_path):
    save_and_find(tmp_path / ("n" * 255))
