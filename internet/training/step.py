"""One optimisation step of both sides, the generator's and the discriminators'."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from internet.data.augmentation import PICTURES
from internet.data.image import as_float
from internet.losses import Batch, Objective, ThinPlateSpline, Weights
from internet.losses.cross_identity import cross_identity_loss
from internet.model import Discriminator, INTERnet, Result
from internet.training.distributed import World

#: The entries of a sample, besides frames, that losses may use.
TRUTH = (
    *("flow", "flow_backward", "motion", "motion_visible", "motion_reliable"),
    *("source_anchors", "current_anchors", "source_turns", "current_turns", "current_parts"),
)


class NonFiniteError(ArithmeticError):
    """A loss or a gradient is infinite or NaN; the message names the samples."""


@dataclass(frozen=True)
class MicroBatch:
    """Samples that go through the networks together, on the networks' device."""

    source: Tensor
    batch: Batch
    spline: ThinPlateSpline | None = None
    names: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        samples: dict[str, Any],
        device: torch.device | str | None = None,
        spline: ThinPlateSpline | None = None,
        *,
        channels_last: bool = False,
    ) -> "MicroBatch":
        """Collated samples of a data set; without a `spline` the objective draws one."""
        tensors = {
            name: as_float(samples[name].to(device, non_blocking=True))
            for name in (*PICTURES, *TRUTH)
            if name in samples
        }
        if channels_last:
            tensors |= {
                name: tensors[name].contiguous(memory_format=torch.channels_last)
                for name in PICTURES
                if name in tensors
            }
        source, target = tensors.pop("source"), tensors.pop("current")
        return cls(source, Batch(target, **tensors), spline, samples.get("name", ()))


@dataclass
class StepResult:
    """The results of a step, from before the update of the weights.

    terms: the means, over this process's samples, of every term whose weight is not 0, of the discriminators' loss and
        of the confidence M. norms: of both sides' gradients, before clipping. micro_batch, result: the step's last
        ones.
    suspects: the samples whose loss is not finite.
    """

    terms: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, Tensor] = field(default_factory=dict)
    micro_batch: MicroBatch | None = None
    result: Result | None = None
    suspects: list[str] = field(default_factory=list)

    def add(self, terms: dict[str, Tensor], fraction: float) -> None:
        """Add the terms of a micro-batch, weighted by its fraction of the batch."""
        for name, term in terms.items():
            self.terms[name] = self.terms.get(name, 0) + fraction * term.detach()


class GeneratorSide(nn.Module):
    """Model and objective as one module whose forward pass ends in the loss, as DistributedDataParallel needs it."""

    def __init__(self, model: INTERnet, precision: str) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(
        self, micro_batch: MicroBatch, objective: Objective, discriminator: Discriminator, weights: Weights
    ) -> tuple[Tensor, dict[str, Tensor], Result]:
        """The loss, its terms and the model's result; the last two detached."""
        with _autocast(micro_batch.source, self.precision):
            imitate = self.model.move if weights == weights.of_motion else self.model
            result = imitate(micro_batch.source, micro_batch.batch.target)
            terms = objective(
                result,
                micro_batch.batch,
                self.model.kp_detector,
                discriminator,
                weights=weights,
                spline=micro_batch.spline,
            )
            if weights.cross_identity:
                batch = micro_batch.batch
                if batch.previous is None:
                    raise ValueError("the loss across identities needs previous, I_{t-1}: a temporal loss brings it")
                terms["cross_identity"] = cross_identity_loss(
                    self.model, micro_batch.source, batch.target, batch.previous
                )
            total = objective.total(terms, weights)
        return total, {name: term.detach() for name, term in terms.items()}, _detached(result)


class DiscriminatorSide(nn.Module):
    """The discriminators and their loss."""

    def __init__(self, discriminator: Discriminator, precision: str) -> None:
        super().__init__()
        self.discriminator, self.precision = discriminator, precision

    def forward(self, fake: Tensor, real: Tensor, objective: Objective) -> Tensor:
        """The loss, from generated and real frames."""
        with _autocast(fake, self.precision):
            return objective.discriminator_total(self.discriminator(fake), self.discriminator(real))


class TrainingStep:
    """One step: forward and backward of each micro-batch, gradients averaged and clipped, both sides' weights updated.

    The discriminators get the frames that the model generated before its update, so each micro-batch is generated once.

    Args:
        model, discriminator: on their device, in training mode.
        objective: with its feature network on the same device.
        optimizers: of the model's parameters and of the discriminators'.
        precision: "float32", or "bfloat16" for autocast, which needs no scaling of the loss.
        clip: largest norm of each side's gradient; 0 does not clip.
        world: the processes that share the batch.
    """

    def __init__(
        self,
        model: INTERnet,
        discriminator: Discriminator,
        objective: Objective,
        optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
        *,
        precision: str = "float32",
        clip: float = 1.0,
        world: World | None = None,
    ) -> None:
        self.discriminator, self.objective, self.optimizers, self.clip = discriminator, objective, optimizers, clip
        self.world = world or World()
        self.sides = model, discriminator
        self._generator = self.world.parallel(GeneratorSide(model, precision))
        self._discriminator = self.world.parallel(DiscriminatorSide(discriminator, precision))

    def __call__(self, micro_batches: Sequence[MicroBatch], weights: Weights | None = None) -> StepResult:
        """Take a step on a batch in equal micro-batches; `weights` replace the objective's own.

        Raises:
            NonFiniteError: a loss or gradient is not finite; no process has changed any weights.
        """
        weights = weights or self.objective.weights
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        step = StepResult()
        count = len(micro_batches)
        for number, micro_batch in enumerate(micro_batches, start=1):
            self._accumulate(step, micro_batch, weights, 1 / count, last=number == count)
        step.norms = {
            "gradient": self._clipped(self.sides[0]),
            "discriminator_gradient": self._clipped(self.sides[1]),
        }
        self._check(step, [name for micro_batch in micro_batches for name in micro_batch.names])
        for optimizer in self.optimizers:
            optimizer.step()
        return step

    def _accumulate(
        self, step: StepResult, micro_batch: MicroBatch, weights: Weights, fraction: float, *, last: bool
    ) -> None:
        """Both backward passes of a micro-batch. Gradients are exchanged after the last micro-batch only."""
        for side in (self._generator, self._discriminator):
            if self.world.size > 1:
                side.require_backward_grad_sync = last  # type: ignore[assignment]  # what its no_sync() sets
        self.discriminator.requires_grad_(False)
        total, terms, result = self._generator(micro_batch, self.objective, self.discriminator, weights)
        (fraction * total).backward()
        self.discriminator.requires_grad_(True)
        losses = [total.detach()]
        if weights.adversarial or weights.feature_matching:
            loss = self._discriminator(result.frame, micro_batch.batch.target, self.objective)
            (fraction * loss).backward()
            losses.append(loss.detach())
            terms["discriminator"] = losses[-1]
        step.add({"total": losses[0], **terms, "mean_confidence": result.motion.confidence.mean()}, fraction)
        step.micro_batch, step.result = micro_batch, result
        if not torch.stack(losses).isfinite().all():
            step.suspects += micro_batch.names

    def _clipped(self, side: nn.Module) -> Tensor:
        """The norm of a side's gradient before it is clipped."""
        return nn.utils.clip_grad_norm_(side.parameters(), self.clip or float("inf"))

    def _check(self, step: StepResult, names: list[str]) -> None:
        finite = all(bool(norm.isfinite()) for norm in step.norms.values())
        (failed,) = self.world.any(bool(step.suspects) or not finite)
        if failed:
            suspects = self.world.all_gather(step.suspects)
            what = "the loss" if suspects else "the gradient"
            samples = "\n  ".join(suspects or self.world.all_gather(names))
            raise NonFiniteError(f"{what} is infinite or not a number. The samples:\n  {samples}")


def _autocast(frame: Tensor, precision: str) -> torch.autocast:
    return torch.autocast(frame.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _detached(result: Result) -> Result:
    frame, motion, source, driving = result
    return Result(
        frame.detach(),
        motion._replace(**{name: value.detach() for name, value in motion._asdict().items() if value is not None}),
        type(source)(*(value.detach() for value in source)),
        type(driving)(*(value.detach() for value in driving)),
    )
