"""A synthetic person instead of one found by a pose network."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MadeUpPose:
    """A pose: points (33, 2) in pixels, depth (33,), and a mask of the whole frame."""

    points: np.ndarray
    depth: np.ndarray
    mask: np.ndarray


def standing(side: int) -> MadeUpPose:
    """Arms down and slightly away from the trunk, legs apart; no parts overlap."""
    points = np.zeros((33, 2))
    for number, place in {
        0: (0.5, 0.14),
        2: (0.51, 0.12),
        5: (0.49, 0.12),
        7: (0.53, 0.13),
        8: (0.47, 0.13),
        9: (0.51, 0.17),
        10: (0.49, 0.17),
        11: (0.6, 0.25),
        12: (0.4, 0.25),
        13: (0.68, 0.38),
        14: (0.32, 0.38),
        15: (0.72, 0.5),
        16: (0.28, 0.5),
        17: (0.73, 0.54),
        18: (0.27, 0.54),
        19: (0.73, 0.55),
        20: (0.27, 0.55),
        23: (0.56, 0.52),
        24: (0.44, 0.52),
        25: (0.6, 0.7),
        26: (0.4, 0.7),
        27: (0.62, 0.88),
        28: (0.38, 0.88),
        29: (0.62, 0.9),
        30: (0.38, 0.9),
        31: (0.66, 0.94),
        32: (0.34, 0.94),
    }.items():
        points[number] = place
    return MadeUpPose(points * side, np.zeros(33), np.ones((side, side), np.float32))


class Seen:
    """A pose function that counts its calls, and finds nobody in dark frames."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, frame: np.ndarray) -> MadeUpPose | None:
        self.times += 1
        assert frame.shape[0] == frame.shape[1]
        return None if frame.mean() < 10 else standing(len(frame))
