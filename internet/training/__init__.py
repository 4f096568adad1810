"""Training: `internet train`, and its parts for other programs.

What is random in a step depends only on the seed, the step's number and the sample's place in the whole batch. So a
run that was killed can be resumed with the same results, and N processes compute what one does with the whole batch.
"""

from internet.training.checkpoint import Checkpoints, warm_start
from internet.training.config import Config, SettingError
from internet.training.curves import read_curves
from internet.training.distributed import PeerError, World
from internet.training.ema import Ema
from internet.training.loading import SampleError
from internet.training.step import MicroBatch, NonFiniteError, StepResult, TrainingStep
from internet.training.trainer import Trainer, resume_or_create
from internet.training.validation import Validation, ValidationResult

__all__ = [
    "Checkpoints",
    "Config",
    "Ema",
    "MicroBatch",
    "NonFiniteError",
    "PeerError",
    "SampleError",
    "SettingError",
    "StepResult",
    "Trainer",
    "TrainingStep",
    "Validation",
    "ValidationResult",
    "World",
    "read_curves",
    "resume_or_create",
    "warm_start",
]
