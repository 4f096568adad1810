"""Three hundred damaged files, the same ones every time: readers succeed, or raise one of their own errors."""

import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from internet.data.audio import open_audio
from internet.data.clip import VideoClip
from internet.data.clip_search import find_clips
from internet.data.dataset import ClipDataset
from internet.data.image import MediaError, read_image
from internet.data.streaming import stream_frames
from internet.data.video import iter_frames, probe, read_frames
from internet.inference import read_source
from internet.utils.files import OutputError
from internet.utils.optional import MissingExtraError
from tests.support.media import encode, pictures

SEED, FILES = 20, 300
EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
"""Values for lengths and counts in a damaged file."""

VIDEOS = {
    "a.mp4": ("libx264", {}), "b.mp4": ("libx265", {"x265-params": "log-level=none"}), "c.mkv": ("libx264", {}),
    "d.webm": ("libvpx-vp9", {"deadline": "realtime"}), "e.avi": ("mpeg4", {}), "f.ts": ("libx264", {}),
    "g.mpg": ("mpeg2video", {}), "h.gif": ("gif", {}), "i.mov": ("prores", {}), "j.flv": ("flv", {}),
    "k.mkv": ("ffv1", {}), "l.apng": ("apng", {}), "m.mp4": ("libsvtav1", {"preset": "12"}),
}  # fmt: skip
PIXELS = {"gif": "rgb8", "prores": "yuv422p10le", "apng": "rgb24"}
PICTURES = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".jp2", ".gif", ".ppm", ".avif", ".hdr")
LIST = "# clips\na.mp4\n\nfolder/b.mp4  # late\nsome/frames\n" * 3


def originals(folder: Path) -> dict[str, bytes]:
    """A small intact file of each kind; x265 corrupts the heap for sides below 64."""
    files = {}
    for name, (codec, options) in VIDEOS.items():
        path = encode(folder / name, pictures(10), codec, options=options, pixels=PIXELS.get(codec, "yuv420p"))
        files[name] = path.read_bytes()
    colours, opacity = next(pictures(1, 48)), np.full((48, 48), 128, np.uint8)
    for suffix in PICTURES:
        image = np.dstack([colours, opacity]) if suffix in (".png", ".webp") else colours
        files[f"picture{suffix}"] = cv2.imencode(suffix, image)[1].tobytes()
    lists = {"utf-8": LIST.encode(), "utf-16": LIST.encode("utf-16"), "marked": LIST.encode("utf-8-sig")}
    return files | {f"{name}.txt": data for name, data in lists.items()}


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Some bytes changed, removed, repeated or inserted, or the end missing."""
    content = bytearray(data)
    for _ in range(int(random.integers(1, 6))):
        start = int(random.integers(len(content) // (1 if random.random() < 0.5 else 8) + 1))
        stop = start + int(random.integers(1, 64))
        change = int(random.integers(6))
        if change == 0:
            content[start:stop] = random.bytes(stop - start)
        elif change == 1:
            del content[start:stop]
        elif change == 2:
            content[start:start] = content[start:stop]
        elif change == 3:
            content[start : start + 4] = EXTREMES[int(random.integers(len(EXTREMES)))]
        elif change == 4:
            del content[max(start, len(content) // 10) :]
        else:
            content[start : start + 1] = random.bytes(1)
    return bytes(content)


def read_video(path: Path) -> None:
    for read in (probe, lambda path: read_frames(path, [0, -1]), lambda path: list(iter_frames(path)), read_source):
        quietly(read, path)
    quietly(lambda path: VideoClip(path).read([0, 3, 7]), path)
    quietly(stream, path)


def stream(path: Path) -> None:
    with stream_frames(path, 1) as frames:
        stamps = [stamp for stamp, _ in frames]
    assert stamps == sorted(set(stamps))
    with open_audio(path):
        pass


def read_list(path: Path) -> None:
    quietly(find_clips, path.parent)
    assert path.name == "train.txt"


def quietly(read: Callable[[Path], object], path: Path) -> None:
    """Allow an error that commands turn into one line, and that names the file; any other fails the test."""
    try:
        read(path)
    except MediaError as error:
        told = str(error)
    else:
        return
    assert path.name in told or str(path.parent) in told
    assert "\n" not in told


def test_damaged_files(tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    kinds = originals(tmp_path)
    count = 0
    (tmp_path / "damaged").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while count < FILES:
            for name, data in kinds.items():
                path = tmp_path / "damaged" / ("train.txt" if name.endswith(".txt") else name)
                path.write_bytes(damaged(data, random))
                if name in VIDEOS:
                    read_video(path)
                elif name.startswith("picture"):
                    quietly(read_image, path)
                    quietly(read_source, path)
                else:
                    read_list(path)
                path.unlink()
                count += 1


class Unreadable:
    name, times = "unreadable", [number / 10 for number in range(40)]

    def read(self, numbers: list[int]) -> list[np.ndarray]:
        raise MediaError(f"the clip '{self.name}' is damaged")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_leaves_the_process_that_reads(workers: int) -> None:
    """With its own type: DataLoader reconstructs it only from its message."""
    samples = DataLoader(ClipDataset([Unreadable()], 32), num_workers=workers, timeout=300 if workers else 0)
    with pytest.raises(MediaError, match="none of 8 draws of frames for sample 0 can be used"):
        next(iter(samples))
    for kind in (MediaError, OutputError, MissingExtraError):
        assert str(kind("what went wrong")) == "what went wrong"
