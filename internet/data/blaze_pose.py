"""BlazePose: where the 33 key points of one person are (Bazarevsky et al., 2020), run by LiteRT.

A detector finds the person's hips and a circle around the body; the landmark network sees the square around
this circle, turned upright.
"""

import os
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from internet.utils.optional import require
from internet.utils.weight_files import PackagedFile

DETECTOR = PackagedFile("mediapipe", "0.10.21", "modules/pose_detection/pose_detection.tflite")
LANDMARKS = PackagedFile("mediapipe", "0.10.21", "modules/pose_landmark/pose_landmark_full.tflite")

#: Sides of the networks' input images, the least certainty of a detection, and the margin around the circle.
DETECTOR_SIDE, LANDMARKS_SIDE, SURE, MARGIN = 224, 256, 0.5, 1.25
#: The detector's anchors: (pixels of a cell's side, anchors in each cell).
_CELLS = ((8, 2), (16, 2), (32, 6))
POINTS = 33


class Pose(NamedTuple):
    """The key points of one person in a frame of H x W pixels.

    points: (33, 2), x first, in pixels; the middle of pixel j is j + 0.5. certainty: (33,), how certain each is, 0 to
        1.
    depth: (33,), distance behind the hips, in the network's own units; smaller is nearer.
    mask: float32 (H, W) in [0, 1], where the person is visible.
    """

    points: np.ndarray
    certainty: np.ndarray
    depth: np.ndarray
    mask: np.ndarray


class BlazePose:
    """A frame, uint8 (H, W, 3) -> its person's :class:`Pose`, or None if there is nobody.

    Each frame is handled on its own, without what was found in the frame before.

    Args:
        wheel: the wheel of mediapipe; None where its files are installed.

    Raises:
        MissingWeightsError: the models are not there.
        MissingExtraError: the package that runs them is not installed.
    """

    def __init__(self, wheel: str | os.PathLike[str] | None = None) -> None:
        interpreter = require("ai_edge_litert.interpreter", "finding key points").Interpreter
        files = [file.read(wheel) for file in (DETECTOR, LANDMARKS)]
        self.identity = "BlazePose (mediapipe): " + ", ".join(file.identity.rpartition("/")[2] for file in files)
        self._detector, self._landmarks = (interpreter(model_content=file.content, num_threads=1) for file in files)
        for network in (self._detector, self._landmarks):
            network.allocate_tensors()

    def __call__(self, frame: np.ndarray) -> Pose | None:
        circle = self._detect(frame)
        if circle is None:
            return None
        to_frame = _square_around(*circle)
        picture = _sampled(frame, to_frame, LANDMARKS_SIDE)
        flat, presence, outline = _run(self._landmarks, picture)[:3]
        if float(presence.reshape(-1)[0]) < SURE:
            return None
        found = flat.reshape(-1, 5)[:POINTS]  # x, y, depth, visibility, presence; the rest are for tracking
        points = found[:, :2] @ to_frame[:, :2].T + to_frame[:, 2]
        certainty = np.minimum(_sigmoid(found[:, 3]), _sigmoid(found[:, 4]))
        mask = _sampled_back(_sigmoid(outline[0, ..., 0]), to_frame, frame.shape[:2])
        return Pose(points, certainty, found[:, 2], mask)

    def _detect(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The hips of the person with the highest score, and the circle's point above the head: both (2,), pixels."""
        side = max(frame.shape[:2])
        offset = (side - np.array(frame.shape[1::-1])) / 2  # the frame in the middle of a square
        scale = side / DETECTOR_SIDE
        to_frame = np.column_stack([np.eye(2) * scale, -offset])
        boxes, scores = _run(self._detector, _sampled(frame, to_frame, DETECTOR_SIDE) * 2 - 1)[:2]
        best = int(scores.reshape(-1).argmax())
        if _sigmoid(scores.reshape(-1)[best]) < SURE:
            return None
        points = boxes.reshape(-1, 6, 2)[best, 2:4] + self._anchors[best] * DETECTOR_SIDE
        hips, above = points * scale - offset
        return hips, above

    @cached_property
    def _anchors(self) -> np.ndarray:
        """The middles of the detector's cells, (2254, 2) in [0, 1]."""
        rows = []
        for pixels, count in _CELLS:
            middles = (np.arange(DETECTOR_SIDE // pixels) + 0.5) * pixels / DETECTOR_SIDE
            y, x = np.meshgrid(middles, middles, indexing="ij")
            rows.append(np.stack([x, y], -1).reshape(-1, 2).repeat(count, 0))
        return np.concatenate(rows)


def _square_around(hips: np.ndarray, above: np.ndarray) -> np.ndarray:
    """(2, 3): from pixels of the landmark network's input to the frame's; the body is upright in that input."""
    reach = above - hips
    radius = MARGIN * float(np.hypot(*reach))
    up = reach / max(float(np.hypot(*reach)), 1e-6)
    axes = np.column_stack([[-up[1], up[0]], -up]) * (2 * radius / LANDMARKS_SIDE)  # right and down
    return np.column_stack([axes, hips - axes.sum(1) * (LANDMARKS_SIDE / 2)])


def _sampled(frame: np.ndarray, to_frame: np.ndarray, side: int) -> np.ndarray:
    """The frame as a square image, float32 (side, side, 3) in [0, 1]; black outside the frame."""
    cv2 = require("cv2", "finding key points")
    shrink = float(np.hypot(*to_frame[:, 0]))
    if shrink > 1:  # bilinear sampling would skip pixels
        frame = cv2.GaussianBlur(frame, (0, 0), shrink / 2.5)
    picture = cv2.warpAffine(frame, _by_index(to_frame), (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return (picture / 255).astype(np.float32)


def _sampled_back(picture: np.ndarray, to_frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map over the square image, (side, side), resampled to the frame: float32 (H, W); 0 outside the square."""
    cv2 = require("cv2", "finding key points")
    mask: np.ndarray = cv2.warpAffine(picture.astype(np.float32), _by_index(to_frame), size[::-1])
    return mask


def _by_index(to_frame: np.ndarray) -> np.ndarray:
    """The same map between pixel indices; the middle of pixel j is j + 0.5."""
    return to_frame @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]) - np.array([[0, 0, 0.5], [0, 0, 0.5]])


def _run(network: Any, picture: np.ndarray) -> list[np.ndarray]:
    """The network's outputs for one image, in order."""
    network.set_tensor(network.get_input_details()[0]["index"], picture[None])
    network.invoke()
    return [network.get_tensor(output["index"]).astype(np.float64) for output in network.get_output_details()]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -100, 100)))
