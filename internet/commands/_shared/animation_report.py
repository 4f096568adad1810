"""The page of an animation: the video, and how it was made, frame by frame."""

from pathlib import Path

import numpy as np
from torch import Tensor

from internet.commands._shared.arguments import argument_errors
from internet.model import Result
from internet.utils.files import atomic_write, output_file
from internet.visualization import draw, report
from internet.visualization.figures import TITLES, transfer_panels

#: Pictures on the slider, and the most pixels of a frame's side in them.
PICTURES, SIDE = 16, 192
#: A larger video, or one in another format, is not embedded in the page.
VIDEO_BYTES, SUFFIXES = 32_000_000, (".mp4", ".m4v", ".mov")
#: What a picture shows, from left to right.
CAPTION = "Dots are motion anchors. Confidence is white where the warped source is reliable."
SHOWN = tuple(title for title in TITLES if not title.startswith("error"))


class AnimationReport:
    """Collects pictures of some frames while a video is made, then writes the page.

    Args:
        video: the video that is made.
        page: the HTML file to write.
        frames: how many the video will have.
        side_by_side: the video shows source and driving frame next to the output.
    """

    def __init__(self, video: Path, page: Path, frames: int, *, side_by_side: bool) -> None:
        self.video, self.page = video, page
        self._labels = (SHOWN[:3],) if side_by_side else ()
        self._chosen = {round(place) for place in np.linspace(0, frames - 1, min(PICTURES, frames))}
        self._pictures: dict[str, bytes] = {}

    @classmethod
    def beside(cls, video: Path, frames: int, *, side_by_side: bool, overwrite: bool) -> "AnimationReport":
        """A report with the video's name. Raises an error that names --report if it cannot be written."""
        with argument_errors("--report"):
            page = output_file(video.with_suffix(".html"), overwrite=overwrite)
        return cls(video, page, frames, side_by_side=side_by_side)

    def add(self, number: int, source: Tensor, driving: Tensor, result: Result) -> None:
        """Receive the frame with this number: source and driving frame (1, 3, H, W), and the model's result."""
        if number in self._chosen:
            panels = dict(transfer_panels(result, source, driving, 1)[0])
            row = draw.tile([[draw.shrink(panels[name], SIDE) for name in SHOWN]])
            self._pictures[f"frame {number}"] = draw.encode_png(row)

    def write(self, line: str, facts: dict[str, str]) -> None:
        """Write the page.

        Args:
            line: the command that made the video.
            facts: further information.
        """
        sections = [
            report.section("The video", self._video()),
            report.section("Frame by frame", report.slider(CAPTION, self._pictures, SHOWN)),
            report.section("How it was made", report.facts(facts), report.command(line)),
        ]
        lead = f"{Path(facts['source']).name}, moving as {Path(facts['driving video']).name} does."
        atomic_write(self.page, report.page(self.video.name, lead, sections))

    def _video(self) -> str:
        if self.video.stat().st_size > VIDEO_BYTES or self.video.suffix.lower() not in SUFFIXES:
            return report.paragraph(f"It is too large, or in a format that browsers do not play: {self.video}")
        return report.video(self.video.read_bytes(), str(self.video), self._labels)
