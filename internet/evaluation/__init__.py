"""How good a model is: generated frames against real ones, its motion field against the true motion."""

from internet.evaluation.frames import FrameMetrics
from internet.evaluation.means import Means
from internet.evaluation.motion import MotionError

__all__ = ["FrameMetrics", "Means", "MotionError"]
