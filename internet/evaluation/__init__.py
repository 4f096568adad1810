"""Evaluation of models: generated frames against real ones, and motion fields against the true motion."""

from internet.evaluation.clip_evaluation import evaluate_clip
from internet.evaluation.confidence import ConfidenceMeans
from internet.evaluation.drawn_figures import measure_on_figures
from internet.evaluation.frames import FrameMetrics
from internet.evaluation.means import Means
from internet.evaluation.motion import MotionError
from internet.evaluation.pairs import paired_clips, self_imitations
from internet.evaluation.person import PersonMetrics, moving_person
from internet.evaluation.suite import WeightPaths, make_suite
from internet.evaluation.summary import summarise
from internet.evaluation.transfer import TransferMetrics

__all__ = [
    "ConfidenceMeans",
    "FrameMetrics",
    "Means",
    "MotionError",
    "PersonMetrics",
    "TransferMetrics",
    "WeightPaths",
    "evaluate_clip",
    "make_suite",
    "measure_on_figures",
    "moving_person",
    "paired_clips",
    "self_imitations",
    "summarise",
]
