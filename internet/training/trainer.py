"""A training run, from the configuration to the last checkpoint."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from internet.losses import Objective, ThinPlateSpline, make_features
from internet.model import INTERnet, make_discriminator
from internet.model.checkpoint import checkpoint_of
from internet.training.checkpoint.run_folder import checkpoints, open_run
from internet.training.checkpoint.warm_start import warm_start
from internet.training.config import Config
from internet.training.data import scene_of, training_samples, validation_samples
from internet.training.distributed import World
from internet.training.ema import Ema
from internet.training.loading import noticing_lost_workers, read_micro_batches
from internet.training.logging import NullLogger, RunLogger
from internet.training.optimizers import make_optimizer, set_rates
from internet.training.sampler import BatchShard, StepSampler, generator
from internet.training.schedule import weights_at
from internet.training.step import MicroBatch, StepResult, TrainingStep
from internet.training.stop import StopRequest
from internet.training.validation import Validation
from internet.utils.errors import format_error
from internet.visualization.figures import training_sheet

Module = TypeVar("Module", bound=nn.Module)


def resume_or_create(config: Config, world: World) -> "Trainer":
    """The run in the folder `config.out`, new or resumed. Its method `run` trains to the end.

    Raises:
        OSError, ValueError: a file, a folder or a setting is wrong; the message names it.
        PeerError: another process has failed.
    """
    state = open_run(config, world)
    trainer = Trainer(config, world)
    with world.together():
        if state is not None:
            _load(trainer, state)
        else:
            trainer.begin()
    return trainer


def _load(trainer: "Trainer", state: dict[str, Any]) -> None:
    try:
        trainer.load_state_dict(state)
    except Exception as error:  # the file is intact, but its contents do not fit
        reason = format_error(error).splitlines()[0]
        raise ValueError(
            f"the run in '{trainer.config.out}' cannot go on from its newest checkpoint: {reason}"
        ) from error


class Trainer:
    """The state of a run, and the training loop."""

    def __init__(self, config: Config, world: World) -> None:
        torch.manual_seed(config.seed)
        self.config, self.world = config, world
        with world.together():
            self.shard = BatchShard(config.run.batch, config.run.accumulate, world.rank, world.size)
            self.samples, self.epoch_length = training_samples(config)
            held_out = validation_samples(config)
            self.validation = None if held_out is None else Validation(held_out, world, config.run.precision)
        self.checkpoints = checkpoints(config)
        self.logger = NullLogger()
        self.step = 0
        self.metrics: dict[str, float] = {}

        self.model = self._placed(INTERnet(config.model))
        self.discriminator = self._placed(make_discriminator(config.model))
        self.ema = Ema(self.model, config.optimizer.ema) if config.optimizer.ema else None
        self.optimizers = (
            make_optimizer(config.optimizer, self.model.parameters()),
            make_optimizer(config.optimizer, self.discriminator.parameters()),
        )
        with world.together():
            features = make_features(config.loss.features.network, config.loss.features.weights or None)
        objective = Objective(
            self._placed(features),
            regularization=config.loss.regularization,
            adversarial=config.loss.adversarial,
            weights=config.loss.weights,
            temporal_scales=config.loss.temporal_scales,
        )
        if config.run.compile:
            self.model.compile()
        self.take_step = TrainingStep(
            self.model,
            self.discriminator,
            objective,
            self.optimizers,
            precision=config.run.precision,
            clip=config.optimizer.clip,
            world=world,
        )

    @property
    def steps(self) -> int:
        """The number of steps of the whole run."""
        run = self.config.run
        whole = -(-run.epochs * self.epoch_length // run.batch)
        return whole if run.steps is None else min(whole, run.steps)

    @property
    def epoch(self) -> int:
        """The epoch that the next step's first sample belongs to."""
        return self.step * self.config.run.batch // self.epoch_length

    def run(self) -> int | None:
        """Train until the last step or until asked to stop; returns the signal that asked, if one did.

        Raises:
            NonFiniteError: a loss or gradient is not finite.
            SampleError, OSError: samples cannot be read; a checkpoint cannot be written.
            PeerError: another process has failed.
        """
        run = self.config.run
        with self.world.together():
            if self.world.is_main:
                self.logger = RunLogger(Path(self.config.out), self.step, self.steps, run.batch)
        limit = "" if run.minutes is None else f", or for {run.minutes:g} minutes"
        self.logger.log(f"training to step {self.steps}{limit}" + (f", resumed at {self.step}" if self.step else ""))
        with closing(self.logger), StopRequest(run.minutes) as request, noticing_lost_workers():
            self._loop(request)
        return request.signal

    def _loop(self, request: StopRequest) -> None:
        asked = False
        with closing(self.batches()) as batches:
            for micro_batches in batches:
                result = self.train_step(micro_batches)
                self.report(result, request.seconds_left)
                asked, late = self.world.any(request.signal is not None, request.seconds_left <= 0)
                if asked or late or self.step == self.steps:
                    break
                self.validate_and_save(
                    validate=self._due(self.config.validation.every), save=self._due(self.config.checkpoint.every)
                )
        self.validate_and_save(validate=not asked, save=True)

    def batches(self) -> Generator[list[MicroBatch], None, None]:
        """The micro-batches of each remaining step, with the deformations for their samples."""
        run, device = self.config.run, self.world.device
        sampler = StepSampler(self.shard, self.step, self.steps)
        pin = device.type == "cuda"
        with closing(read_micro_batches(self.samples, sampler, workers=self.config.data.workers, pin=pin)) as read:
            for step in range(self.step, self.steps):
                with self.world.together():
                    samples = [next(read) for _ in range(run.accumulate)]
                splines = ThinPlateSpline.random(run.batch, generator=generator(self.config.seed, step))
                yield [
                    MicroBatch.of(
                        collated,
                        device,
                        splines.part(self.shard.rows(index), device),
                        channels_last=run.channels_last,
                    )
                    for index, collated in enumerate(samples)
                ]

    def train_step(self, micro_batches: list[MicroBatch]) -> StepResult:
        """One step of both sides and of the running mean."""
        set_rates(self.optimizers, self.config.optimizer, self.epoch)
        result = self.take_step(micro_batches, weights_at(self.config.loss, self.step))
        if self.ema is not None:
            self.ema.update(self.model, self.step)
        self.step += 1
        return result

    def report(self, result: StepResult, seconds_left: float) -> None:
        """Learning curves, progress and pictures, when they are due."""
        self.logger.advance(self.step)
        if self._due(self.config.log.every) or self.step == self.steps:
            means = self.world.mean(result.terms) | {name: float(norm) for name, norm in result.norms.items()}
            self.logger.scalars(self.step, "training", means | {"rate": self.optimizers[0].param_groups[0]["lr"]})
            self.logger.progress(self.step, means["total"], seconds_left)
        if self.world.is_main and self._due(self.config.log.pictures) and result.result and result.micro_batch:
            sheet = training_sheet(result.result, result.micro_batch.source, result.micro_batch.batch.target)
            self.logger.image(self.step, "training", sheet)

    def validate_and_save(self, *, validate: bool, save: bool) -> None:
        """Measure the model, and write a checkpoint."""
        if validate and self.validation is not None:
            self.metrics, sheet = self.validation(self.model if self.ema is None else self.ema.model)
            self.logger.scalars(self.step, "validation", self.metrics)
            self.logger.log(f"step {self.step}: " + ", ".join(f"{n} {v:.4g}" for n, v in self.metrics.items()))
            if sheet is not None:
                self.logger.image(self.step, "validation", sheet)
        if save:
            with self.world.together():
                if self.world.is_main:
                    self.checkpoints.save(self.step, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run, and users of the model, need: tensors and plain types."""
        return {
            **checkpoint_of(self.model, None if self.ema is None else self.ema.model.state_dict()),
            "config": self.config.to_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "step": self.step,
            "position": self.step * self.config.run.batch,
            "metrics": self.metrics,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.discriminator.load_state_dict(state["discriminator"])
        if self.ema is not None:
            self.ema.model.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        self.step, self.metrics = state["step"], state["metrics"]

    def begin(self) -> None:
        """What a new run starts with beside random weights: another training's, and a picture of the scene."""
        if self.config.warm_start:
            self.start_from(self.config.warm_start)
        for model in (self.model, self.ema.model if self.ema else None):
            if model is not None and model.generator.scene is not None:
                model.generator.scene.copy_(scene_of(self.samples))

    def start_from(self, path: str) -> None:
        """Start with another training's weights, but not its state."""
        warm_start(self.model, path)
        if self.ema is not None:
            self.ema.model.load_state_dict(self.model.state_dict())

    def _placed(self, module: Module) -> Module:
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        return module.to(self.world.device).to(memory_format=layout)  # type: ignore[call-overload]

    def _due(self, every: int) -> bool:
        return self.step % every == 0
