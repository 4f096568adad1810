"""Cross-imitation: every source moves as every driving video, in one grid."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from internet.data.clip import Clip
from internet.data.folders import entries, kind
from internet.data.image import MediaError, square, to_array, to_channels, to_tensor
from internet.data.video_writer import video_writer
from internet.evaluation.pairs import clip_frames, frame_rate
from internet.inference import read_source
from internet.model import MotionTransfer
from internet.utils.optional import require
from internet.visualization import draw, report

VIDEO = "cross.mp4"
#: The largest number of pixels on the grid's longer side that video players support.
LARGEST = 2048


def read_sources(place: str | Path, size: int) -> dict[str, Tensor]:
    """The source pictures by name, (1, 3, size, size): a picture, a video's first frame, or a folder's of these.

    Raises:
        MediaError: there are none.
    """
    path = Path(place)
    paths = [path]
    if path.is_dir():
        paths = [entry for entry in entries(path) if entry.is_file() and kind(entry)]
    if not paths:
        raise MediaError(f"'{path}' holds no picture and no video")
    stems = [entry.stem for entry in paths]
    names = [entry.name if stems.count(entry.stem) > 1 else entry.stem for entry in paths]
    return {name: square(to_tensor(read_source(entry)), size) for name, entry in zip(names, paths, strict=True)}


@torch.no_grad()
def write_grid(
    model: MotionTransfer, sources: dict[str, Tensor], clips: Sequence[Clip], size: int, video: Path, *, relative: bool
) -> int:
    """Write the video: driving videos in the first row, sources in the first column; its number of frames.

    It is as long as the longest driving video; the columns of shorter ones stand still at their ends. Driving videos
    with different frame rates are shown at their own times.

    Args:
        model: in evaluation mode.
        sources: from :func:`read_sources`.
        clips: the driving videos.
        size: side of the frames.
        video: the file.
        relative: see :meth:`MotionTransfer.animate`.
    """
    device = next(model.parameters()).device
    pictures = to_channels(torch.cat(list(sources.values())), model.frame_channels).to(device)
    side = min(size, LARGEST // (max(len(sources), len(clips)) + 1))
    columns = [_Column(model, pictures, clip, size, side, relative) for clip in clips]
    first = [np.full((side, side, 3), 255, np.uint8), *(_small(picture, side) for picture in pictures)]
    fps = max(column.fps for column in columns)
    total = round(max(column.length / column.fps for column in columns) * fps)
    tqdm = require("tqdm", "the progress bar").tqdm
    with video_writer(video, fps=fps) as writer:
        for number in tqdm(range(total), desc="animating", unit="frame", disable=None):
            shown = [column.at(number / fps) for column in columns]
            rows = [[first[row], *(cells[row] for cells in shown)] for row in range(len(first))]
            sheet = draw.tile(rows)
            writer.write(sheet[: sheet.shape[0] // 2 * 2, : sheet.shape[1] // 2 * 2])
    return total


class _Column:
    """The column of a driving clip: its own frame at a given time, then every source with its motion."""

    def __init__(
        self, model: MotionTransfer, pictures: Tensor, clip: Clip, size: int, side: int, relative: bool
    ) -> None:
        self.fps, self.length, self.side = frame_rate(clip), len(clip.times), side
        self._number, self._cells = -1, list[np.ndarray]()
        self._frames = self._animated(model, pictures, clip, size, relative)

    def at(self, seconds: float) -> list[np.ndarray]:
        """The column's pictures at this time, which must increase from call to call."""
        wanted = min(int(seconds * self.fps + 1e-6), self.length - 1)
        while self._number < wanted:
            self._cells = next(self._frames)
            self._number += 1
        return self._cells

    def _animated(
        self, model: MotionTransfer, pictures: Tensor, clip: Clip, size: int, relative: bool
    ) -> Iterator[list[np.ndarray]]:
        kept: list[Tensor] = []

        def driving() -> Iterator[Tensor]:
            for frame in clip_frames(clip, size):
                kept.append(frame)
                yield to_channels(frame, model.frame_channels).to(pictures.device).expand_as(pictures)

        for generated in model.animate(pictures, driving(), relative=relative):
            yield [_small(kept.pop(), self.side), *(_small(frame, self.side) for frame in generated)]


def _small(frame: Tensor, side: int) -> np.ndarray:
    """The frame as an array of this side."""
    image = frame.reshape(1, *frame.shape[-3:])
    return to_array(image if image.shape[-1] == side else square(image.float(), side))


def render(
    folder: Path, title: str, sources: Sequence[str], driving: Sequence[str], facts: dict[str, str], command: str
) -> bytes:
    """report.html."""
    content = (folder / VIDEO).read_bytes()
    said = f"Sources from top to bottom: {', '.join(sources)}. Driving videos from left to right: {', '.join(driving)}."
    sections = [
        report.section(
            "All pairs",
            report.video(content, said, (("", *driving),)),
            report.paragraph(
                "The first row has the driving videos, the first column the sources. There are no real videos of these "
                "pairs, so nothing is measured: `internet study` asks people instead."
            ),
        ),
        report.section("How it was made", report.facts(facts), report.command(command)),
    ]
    return report.page(title, f"{len(sources)} sources, {len(driving)} driving videos.", sections)
