"""Fit a motion to a pair of frames by gradient descent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from internet import ops
from internet.flow.dis import dis_flow_pair
from internet.geometry import full_flow, identity_field
from internet.registration.initialization import changed_pixels, initial_motion
from internet.registration.motion import MixtureMotion
from internet.registration.objective import Objective, Weights
from internet.registration.result import Errors, Registration

#: Step sizes of Adam: anchors and Jacobians in normalised units, logits in nats.
LEARNING_RATES = {"anchors": 1e-3, "jacobians": 2e-3, "logits": 0.5, "confidence": 0.3}


def register(
    source: Tensor,
    driving: Tensor,
    *,
    anchors: int = 10,
    base: int = 128,
    steps: int = 150,
    threshold: float | None = None,
    weights: Weights | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Registration:
    """Fit ``driving`` as ``source`` warped by ``anchors`` local affine motions over a still background.

    Args:
        source, driving: images (1, 3, H, W), floating, in [0, 1]; the shorter side is ``base`` times a power
            of two, and the longer one a multiple of that power.
        anchors: K, how many local motions.
        base: the shorter side of the motion field, mixture and confidence map.
        steps: of Adam. 0 returns the initial estimate.
        threshold: Eq. 5's soft threshold: a motion with a smaller weight at a pixel does not affect it, which
            makes the background exactly still. Used in the second half of the fit, so that in the first half
            small weights can still grow. None is half of the limit, 0.5/(K+1).
        weights: of the terms of the energy.
        progress: wraps the iterable of steps, for instance ``tqdm.tqdm``.

    Raises:
        ValueError: shapes, sizes or counts that do not fit.
        MissingExtraError: OpenCV, which estimates the optical flow, is not installed.
    """
    check_arguments(source, driving, anchors, base, steps)
    problem = Problem.prepare(source, driving, base, weights)
    return fit(problem, anchors=anchors, steps=steps, threshold=threshold, progress=progress)


@dataclass
class Problem:
    """A pair of frames with everything that is computed once.

    ``reliable`` is the extrinsic mask of Eq. 3 (consistent in both directions and not at motion boundaries);
    ``consistent`` includes the boundaries: a limb is nearly all boundary, and the initial estimate needs limbs.
    """

    source: Tensor
    driving: Tensor
    teacher: Tensor
    reliable: Tensor
    consistent: Tensor
    changed: Tensor
    base: tuple[int, int]
    objective: Objective

    @classmethod
    def prepare(cls, source: Tensor, driving: Tensor, base: int = 128, weights: Weights | None = None) -> "Problem":
        """Estimate the optical flow in both directions, find where it is reliable, and build the energy."""
        base_size = _base_size(source, base)
        source, driving = source.detach().float(), driving.detach().float()
        teacher, returning = dis_flow_pair(driving, source, preset="fine")
        reliable = ops.flow_confidence(teacher, returning)
        consistent = ops.flow_confidence(teacher, returning, boundary=None)
        changed = changed_pixels(source, driving)
        objective = Objective(source, driving, teacher, consistent * changed, base_size, weights)
        return cls(source, driving, teacher, reliable, consistent, changed, base_size, objective)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return self.source.shape[2], self.source.shape[3]

    def first_guess(self, anchors: int) -> MixtureMotion:
        """The mixture of K motions estimated from the optical flow."""
        evidence = (self.teacher.cpu(), self.consistent.cpu(), self.changed.cpu())
        return initial_motion(*evidence, anchors, self.base).to(self.source.device)

    @torch.no_grad()
    def errors(self, found: Tensor) -> Errors:
        """Measure a motion field (1, h, w, 2)."""
        flow = full_flow(found, self.size)
        difference = ops.masked_backwarp_loss(self.source, self.driving, flow, reduction="none") * (255 / 3)
        distance = (flow - self.teacher).norm(dim=1, keepdim=True)
        moving = (self.teacher.norm(dim=1, keepdim=True) > 1).float()
        return Errors(
            difference.mean().item(),
            _mean_over(difference, moving),
            _mean_over(distance, moving * self.reliable),
        )


def fit(
    problem: Problem,
    *,
    anchors: int = 10,
    steps: int = 150,
    threshold: float | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Registration:
    """:func:`register` for a pair that is already prepared."""
    threshold = 0.5 / (anchors + 1) if threshold is None else threshold
    motion = problem.first_guess(anchors)
    errors = {
        "identity": problem.errors(identity_field(*problem.base, problem.source.device)),
        "initial": problem.errors(motion.field(threshold)),
    }
    losses = descend(problem.objective, motion, steps, threshold, progress)
    with torch.no_grad():
        found = motion.field(threshold)
        confidence = motion.confidence()
        flow = full_flow(found, problem.size)
        warped = ops.pyramid_warp([problem.source], found, padding_mode="border")[0]
    errors["fitted"] = problem.errors(found)
    return Registration(
        motion, found, confidence, warped, flow, problem.teacher, problem.reliable, threshold, errors, losses
    )


def descend(
    objective: Objective,
    motion: MixtureMotion,
    steps: int,
    threshold: float,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[float]:
    """Run Adam on the motion, in place, with a cosine schedule; returns the energy before each step."""
    optimizer = make_optimizer(motion)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1), eta_min=0.0)
    losses = []
    for step in progress(range(steps)):
        losses.append(descend_once(objective, motion, optimizer, threshold if 2 * step >= steps else 0.0))
        schedule.step()
    return losses


def make_optimizer(motion: MixtureMotion) -> torch.optim.Adam:
    """Adam with a step size for each kind of unknown.

    Its epsilon is far larger than usual: a pixel of the still background has almost no gradient, which Adam would
    otherwise normalise to full steps.
    """
    groups = {
        "anchors": [motion.kp_source, motion.kp_driving],
        "jacobians": [motion.jac_source, motion.jac_driving],
        "logits": [motion.logits],
        "confidence": [motion.confidence_logits],
    }
    return torch.optim.Adam(
        [{"params": group, "lr": LEARNING_RATES[name]} for name, group in groups.items()], eps=1e-7, fused=True
    )


def descend_once(
    objective: Objective, motion: MixtureMotion, optimizer: torch.optim.Optimizer, threshold: float
) -> float:
    """One step: energy, gradients, update. Returns the energy before the step."""
    optimizer.zero_grad(set_to_none=True)
    loss = objective(motion, threshold)
    loss.backward()
    optimizer.step()
    return loss.item()


def _mean_over(values: Tensor, mask: Tensor) -> float:
    """The mean of values (1, 1, H, W) where the mask is 1; 0 if it is 1 nowhere."""
    return ((values * mask).sum() / mask.sum().clamp(min=1)).item()


def check_arguments(source: Tensor, driving: Tensor, anchors: int, base: int, steps: int) -> None:
    """Validate the arguments of :func:`register`."""
    for name, image in (("source", source), ("driving", driving)):
        if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
            raise ValueError(f"{name} must be floating (1, 3, H, W), got {image.dtype} {tuple(image.shape)}")
        if not ((image > -0.01) & (image < 1.01)).all():  # false for NaN as well
            raise ValueError(f"{name} must be finite and in [0, 1], got {image.min():g} to {image.max():g}")
    if source.shape != driving.shape:
        raise ValueError(
            f"source and driving must have the same size, got {tuple(source.shape[2:])} and {tuple(driving.shape[2:])}"
        )
    if anchors < 1 or steps < 0:
        raise ValueError(f"anchors >= 1 and steps >= 0 are expected, got {anchors} and {steps}")
    _base_size(source, base)


def _base_size(image: Tensor, base: int) -> tuple[int, int]:
    """The size (h, w) of the motion field of an image whose shorter side is base times a power of two."""
    height, width = image.shape[2:]
    ratio = max(min(height, width) // max(base, 1), 1)
    power_of_two = ratio & (ratio - 1) == 0
    if base < 8 or not power_of_two or base * ratio != min(height, width) or max(height, width) % ratio:
        raise ValueError(
            f"the shorter side must be base = {base} (at least 8) times a power of two, and the longer one "
            f"a multiple of that power; got {height} x {width}"
        )
    return height // ratio, width // ratio
