"""Time the same training step with the fused operators and with plain eager torch."""

import copy
import dataclasses
import functools

from internet.comparison import Comparison, compare_steps
from internet.training.step import MicroBatch
from internet.training.trainer import Trainer


def compare_training(trainer: Trainer, rounds: int = 5) -> Comparison:
    """Take the same steps from the trainer's state, on the same batch, with both implementations of the operators.

    Steps are complete: forward and backward passes and updates of both sides. The trainer itself does not change.
    "Fused" is the backend of its device; see :func:`internet.comparison.compare_steps`.
    """
    fused, eager = _twin(trainer), _twin(trainer)
    micro_batches = next(fused.batches())
    fused_step, eager_step = (functools.partial(_step, side, micro_batches) for side in (fused, eager))
    return compare_steps(trainer.world.device.type, fused_step, eager_step, rounds)


def _twin(trainer: Trainer) -> Trainer:
    """A trainer in the same state (but at most one step before the end), which reads its samples in this process."""
    config = trainer.config
    twin = Trainer(dataclasses.replace(config, data=dataclasses.replace(config.data, workers=0)), trainer.world)
    twin.load_state_dict(copy.deepcopy(trainer.state_dict()))  # copied, as optimizers would share these tensors
    twin.step = min(twin.step, twin.steps - 1)
    return twin


def _step(trainer: Trainer, micro_batches: list[MicroBatch]) -> float:
    """Take a step; returns the loss before it, read after the step."""
    return float(trainer.train_step(micro_batches).terms["total"])
