"""The videos of a study: pieces of three to five seconds, the same piece for every method."""

import hashlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from internet.commands._shared.study.plan import BROKEN, REAL, Plan
from internet.data.clip import Clip
from internet.data.image import MediaError, to_array
from internet.data.video_writer import write_video
from internet.evaluation.pairs import all_clips, clip_frames, frame_rate
from internet.visualization import draw

#: Blocks in the picture of a broken video, which no attentive participant takes for real.
BLOCKS = 6


def matching_clips(folders: Mapping[str, str]) -> dict[str, dict[str, Clip]]:
    """By name, the clip of each method. Raises :class:`MediaError` unless all folders have the same clip names."""
    found = {method: {clip.name: clip for clip in all_clips(folder)} for method, folder in folders.items()}
    first = next(iter(found))
    for method, clips in found.items():
        if alone := sorted(set(clips) ^ set(found[first])):
            raise MediaError(
                f"'{folders[method]}' and '{folders[first]}' must hold clips of the same names: '{alone[0]}'"
            )
    return {name: {method: clips[name] for method, clips in found.items()} for name in found[first]}


def check_lengths(clips: Mapping[str, Mapping[str, Clip]]) -> None:
    """Raise :class:`MediaError` if a clip's length differs between methods, which would give them away."""
    for name, methods in clips.items():
        lengths = {method: len(clip.times) for method, clip in methods.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{method} {length}" for method, length in lengths.items())
            raise MediaError(
                f"the clip '{name}' has different numbers of frames ({said}), which would reveal the method"
            )


def piece_of(clip: Clip, seconds: tuple[float, float], seed: int) -> slice:
    """A piece with random length and start; the whole clip if it is shorter than the least length."""
    entropy = int.from_bytes(hashlib.sha256(f"{seed}/{clip.name}".encode()).digest()[:8], "big")
    random, rate, total = np.random.default_rng(entropy), frame_rate(clip), len(clip.times)
    frames = min(round(random.uniform(*seconds) * rate), total)
    start = int(random.integers(total - frames + 1))
    return slice(start, start + frames)


def write_videos(
    plan: Plan, clips: Mapping[str, Mapping[str, Clip]], seconds: tuple[float, float], folder: Path, size: int
) -> None:
    """Write every video that a trial shows."""
    for trial in plan.trials:
        methods = clips[trial.clip]
        piece = piece_of(methods[REAL], seconds, plan.seed)
        for method, name in trial.videos.items():
            if not (folder / name).exists():
                broken = method == BROKEN
                write_piece(methods[REAL if broken else method], piece, folder / name, size, broken=broken)


def write_piece(clip: Clip, piece: slice, path: Path, size: int, *, broken: bool = False) -> None:
    """A piece of a clip as a square video."""
    frames = map(to_array, islice(clip_frames(clip, size), piece.start, piece.stop))
    write_video(path, map(_broken, frames) if broken else frames, fps=frame_rate(clip))


def _broken(frame: np.ndarray) -> np.ndarray:
    """Large blocks of the wrong colours."""
    small = draw.shrink(frame, BLOCKS)
    return 255 - draw.enlarge(small, (frame.shape[0], frame.shape[1]))[..., ::-1]
