"""A training run, from the configuration to the last checkpoint."""

from collections.abc import Iterator
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
from internet.training.data import loader, training_samples, validation_samples
from internet.training.distributed import World
from internet.training.ema import Ema
from internet.training.monitor import Monitor, Silence
from internet.training.optimizers import make_optimizer, set_rates
from internet.training.sampler import Share, generator
from internet.training.schedule import weights_at
from internet.training.step import Outcome, Part, TrainingStep
from internet.training.stop import StopRequest
from internet.training.validation import Validation
from internet.visualization.figures import training_sheet

Module = TypeVar("Module", bound=nn.Module)


def opened(config: Config, world: World) -> "Trainer":
    """The run in the folder `config.out`: a new one, or as it was left. Its `run` trains to the end."""
    state = open_run(config, world)
    trainer = Trainer(config, world)
    if state is not None:
        trainer.load_state_dict(state)
    elif config.start:
        trainer.start_from(config.start)
    return trainer


class Trainer:
    """The state of a run, and its loop."""

    def __init__(self, config: Config, world: World) -> None:
        torch.manual_seed(config.seed)
        self.config, self.world = config, world
        self.share = Share(config.run.batch, config.run.accumulate, world.rank, world.size)
        self.samples, self.epoch_length = training_samples(config)
        held_out = validation_samples(config)
        self.validation = None if held_out is None else Validation(held_out, world, config.run.precision)

        self.model = self._placed(INTERnet(config.model))
        self.discriminator = self._placed(make_discriminator(config.model))
        self.ema = Ema(self.model, config.optimizer.ema) if config.optimizer.ema else None
        self.optimizers = (
            make_optimizer(config.optimizer, self.model.parameters()),
            make_optimizer(config.optimizer, self.discriminator.parameters()),
        )
        features = make_features(config.loss.features.network, config.loss.features.weights)
        objective = Objective(
            self._placed(features),
            regularization=config.loss.regularization,
            adversarial=config.loss.adversarial,
            weights=config.loss.weights,
        )
        if config.run.compile:
            self.model.compile()
        self.make_step = TrainingStep(
            self.model,
            self.discriminator,
            objective,
            self.optimizers,
            precision=config.run.precision,
            clip=config.optimizer.clip,
            world=world,
        )
        self.checkpoints = checkpoints(config)
        self.monitor = Silence()
        self.step = 0
        self.metrics: dict[str, float] = {}

    @property
    def steps(self) -> int:
        """How many the run takes."""
        run = self.config.run
        whole = -(-run.epochs * self.epoch_length // run.batch)
        return whole if run.steps is None else min(whole, run.steps)

    @property
    def epoch(self) -> int:
        """The epoch that the next step's first sample belongs to."""
        return self.step * self.config.run.batch // self.epoch_length

    def run(self) -> int | None:
        """Train until the last step, or until asked to stop; returns the signal that asked."""
        if self.world.first:
            self.monitor = Monitor(Path(self.config.out), self.step, self.steps, self.config.run.batch)
        minutes = self.config.run.minutes
        self.monitor.say(
            f"training to step {self.steps}"
            + (f", or for {minutes:g} minutes" if minutes is not None else "")
            + (f", resumed at {self.step}" if self.step else "")
        )
        asked = False
        with closing(self.monitor), StopRequest(self.config.run.minutes) as request:
            for parts in self.batches():
                outcome = self.train_step(parts)
                self.report(outcome, request.seconds_left)
                asked, late = self.world.any(request.signal is not None, request.seconds_left <= 0)
                if asked or late or self.step == self.steps:
                    break
                self.keep(
                    validate=self._due(self.config.validation.every), save=self._due(self.config.checkpoint.every)
                )
            self.keep(validate=not asked, save=True)
        return request.signal

    def batches(self) -> Iterator[list[Part]]:
        """The parts of each step that is left, with the deformations that belong to their samples."""
        run, device = self.config.run, self.world.device
        pieces = iter(
            loader(self.samples, self.share, self.step, self.steps, self.config.data.workers, device.type == "cuda")
        )
        for step in range(self.step, self.steps):
            splines = ThinPlateSpline.random(run.batch, generator=generator(self.config.seed, step))
            yield [
                Part.of(
                    next(pieces), device, splines.part(self.share.rows(part), device), channels_last=run.channels_last
                )
                for part in range(run.accumulate)
            ]

    def train_step(self, parts: list[Part]) -> Outcome:
        """One step of both sides and of the running mean."""
        set_rates(self.optimizers, self.config.optimizer, self.epoch)
        outcome = self.make_step(parts, weights_at(self.config.loss, self.step))
        if self.ema is not None:
            self.ema.update(self.model, self.step)
        self.step += 1
        return outcome

    def report(self, outcome: Outcome, seconds_left: float) -> None:
        """Learning curves, progress and pictures, when they are due."""
        self.monitor.advance(self.step)
        if self._due(self.config.log.every) or self.step == self.steps:
            means = self.world.mean(outcome.terms) | {name: float(norm) for name, norm in outcome.norms.items()}
            self.monitor.curves(self.step, "training", means | {"rate": self.optimizers[0].param_groups[0]["lr"]})
            self.monitor.progress(self.step, means["total"], seconds_left)
        if self.world.first and self._due(self.config.log.pictures) and outcome.result and outcome.part:
            sheet = training_sheet(outcome.result, outcome.part.source, outcome.part.batch.target)
            self.monitor.picture(self.step, "training", sheet)

    def keep(self, *, validate: bool, save: bool) -> None:
        """Measure the model, and write a checkpoint."""
        if validate and self.validation is not None:
            self.metrics, sheet = self.validation(self.model if self.ema is None else self.ema.model)
            self.monitor.curves(self.step, "validation", self.metrics)
            self.monitor.say(f"step {self.step}: " + ", ".join(f"{n} {v:.4g}" for n, v in self.metrics.items()))
            if sheet is not None:
                self.monitor.picture(self.step, "validation", sheet)
        if save and self.world.first:
            self.checkpoints.save(self.step, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, and what it takes to use the model: tensors and plain types."""
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
        """Go on where :meth:`state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.discriminator.load_state_dict(state["discriminator"])
        if self.ema is not None:
            self.ema.model.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        self.step, self.metrics = state["step"], state["metrics"]

    def start_from(self, path: str) -> None:
        """Take another training's weights, not its state."""
        warm_start(self.model, path)
        if self.ema is not None:
            self.ema.model.load_state_dict(self.model.state_dict())

    def _placed(self, module: Module) -> Module:
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        return module.to(self.world.device).to(memory_format=layout)  # type: ignore[call-overload]

    def _due(self, every: int) -> bool:
        return self.step % every == 0
