"""Find the clips of a data set on disk, and drop those that cannot be used."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from internet.data.clip import Clip, FrameFolder, VideoClip
from internet.data.folders import entries, kind
from internet.data.frame_sampler import FrameSampler
from internet.data.image import MediaError
from internet.data.split_list import listed_paths

SPLITS = ("train", "test")

NAMED = 5
"""A warning names this many of the files left out, and counts the others."""


@dataclass
class _Found:
    """Clips, and the files beside them that were left out."""

    clips: list[Clip] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __iadd__(self, other: "_Found") -> "_Found":
        self.clips += other.clips
        self.left_out += other.left_out
        return self


def find_clips(root: str | os.PathLike[str], split: str = "train") -> list[Clip]:
    """The clips of a data set on disk.

    ``root`` is a video, a folder of frames, or a folder of these, nested to any depth. A folder's split is what
    the list ``root/<split>.txt`` names (one path per line, relative to the root; # begins a comment); without a list,
    what the folder ``root/<split>`` holds, as in DanceFashion; if no split has either, everything is for training.

    A folder that holds clips is not a folder of frames: pictures beside them are left out. One warning names what was
    left out. Hidden files and the operating system's own files (Thumbs.db, @eaDir) are ignored.

    Raises:
        MediaError: the path does not exist, a list names a path that does not exist, or no clip was found.
        ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected {' or '.join(map(repr, SPLITS))}")
    root = Path(root)
    if not root.exists():
        raise MediaError(f"'{root}' does not exist: expected a video, a folder of frames or a folder of clips")
    if not root.is_dir() and kind(root) != "video":
        raise MediaError(f"'{root}' is not a video, nor a folder of frames or of clips")
    found = _of_split(root, split)
    if found.left_out:
        warnings.warn(_report(root, found.left_out), stacklevel=2)
    if not found.clips:
        raise MediaError(f"'{root}' holds no clip for the split '{split}': no video and no folder of pictures")
    return found.clips


def usable_clips(clips: Sequence[Clip], sampler: FrameSampler) -> list[Clip]:
    """The clips that have enough frames for a sample.

    Each other clip, too short or unreadable, is reported in one warning.

    Raises:
        MediaError: no clip can be used.
    """
    good = []
    for clip in clips:
        try:
            times = clip.times
        except MediaError as error:
            warnings.warn(f"skipped: {error}", stacklevel=2)
            continue
        if sampler.driving(times):
            good.append(clip)
        else:
            length = times[-1] if times else 0.0
            warnings.warn(
                f"skipped: the clip '{clip.name}' has {len(times)} frames in {length:.2f} s; {sampler.need}",
                stacklevel=2,
            )
    if not good:
        raise MediaError(f"none of the {len(clips)} clips can be used; the warnings say why")
    return good


def _of_split(root: Path, split: str) -> _Found:
    if root.is_file():
        return _Found([VideoClip(root)] if split == "train" else [])
    inside = entries(root)  # "Train" counts as "train", as on some file systems, unless both exist
    names = {entry.name.lower(): entry for entry in inside} | {entry.name: entry for entry in inside}
    lists = {name: names[f"{name}.txt"] for name in SPLITS if f"{name}.txt" in names}
    folders = {name: names[name] for name in SPLITS if name in names and names[name].is_dir()}
    if split in lists:
        return _listed(root, lists[split])
    if split in folders:
        return _search(folders[split])
    return _search(root) if split == "train" and not lists and not folders else _Found()


def _listed(root: Path, listed: Path) -> _Found:
    found = _Found()
    for number, path in listed_paths(listed, root):
        inside = _search(path) if path.is_dir() else _Found([VideoClip(path)] if kind(path) == "video" else [])
        if not inside.clips:
            raise MediaError(f"'{listed}', line {number}: '{path}' is not a video, nor a folder that holds any")
        found += inside
    return found


def _search(folder: Path, name: str = "", above: frozenset[Path] = frozenset()) -> _Found:
    """The clips in a folder and in those inside; `name` is the folder's, relative to the start of the search."""
    above |= {folder.resolve()}  # a link back to one of these would never end
    found, pictures = _Found(), []
    for entry in entries(folder):
        inner = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir():
            found += _inside(entry, inner, above)
        elif (what := kind(entry)) == "video":
            found.clips.append(VideoClip(entry, inner[: len(inner) - len(entry.suffix)]))
        elif what == "picture":
            pictures.append(inner)
        else:
            found.left_out.append(inner)
    if pictures and found.clips:
        found.left_out += pictures
    elif pictures:
        found.clips.append(FrameFolder(folder, name or None))
    return found


def _inside(folder: Path, name: str, above: frozenset[Path]) -> _Found:
    if folder.resolve() in above:
        return _Found()
    try:
        return _search(folder, name, above)
    except MediaError as error:  # a folder without read permission
        return _Found(left_out=[f"{name} ({error})"])


def _report(root: Path, left_out: Sequence[str]) -> str:
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    return f"in '{root}', {len(left_out)} that are not clips were left out: {', '.join(left_out[:NAMED])}{more}"
