"""One optimisation step: micro-batches, precision, weights, and values that are not finite."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from internet import ops
from internet.data.synthetic_dataset import SyntheticDataset
from internet.losses import Objective, ThinPlateSpline, Weights
from internet.model import INTERnet, make_discriminator
from internet.training.step import MicroBatch, NonFiniteError, TrainingStep
from tests.support.training import tiny

SAMPLES = [SyntheticDataset(32)[index] for index in range(4)]
SPLINE = ThinPlateSpline.random(4, generator=torch.Generator().manual_seed(0))


def shapes(frame: Tensor) -> list[Tensor]:
    """Features without a network."""
    return [frame, torch.nn.functional.avg_pool2d(frame, 4)]


def make_step(**options: object) -> TrainingStep:
    torch.manual_seed(0)
    config = tiny().model
    model, discriminator = INTERnet(config), make_discriminator(config)
    optimizers = tuple(torch.optim.SGD(side.parameters(), lr=1e-3) for side in (model, discriminator))
    return TrainingStep(model, discriminator, Objective(shapes), optimizers, **{"clip": 0.0, **options})


def micro_batches(count: int) -> list[MicroBatch]:
    """The four samples in this many parts."""
    size = len(SAMPLES) // count
    rows = [slice(begin, begin + size) for begin in range(0, len(SAMPLES), size)]
    return [MicroBatch.of(default_collate(SAMPLES[row]), spline=SPLINE.part(row)) for row in rows]


def moved(step: TrainingStep) -> dict[str, Tensor]:
    """All weights of both sides except the heat maps' bias, to which the softmax is invariant."""
    sides = [side.state_dict() for side in step.sides]
    sides[0].pop("kp_detector.kp.bias")
    return {f"{number}.{name}": value for number, side in enumerate(sides) for name, value in side.items()}


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_in_parts_is_the_same_step(count: int) -> None:
    """Up to the order of float32 sums: to 1e-4 of the change of the weights."""
    whole, split, before = make_step(), make_step(), moved(make_step())
    first, second = whole(micro_batches(1)), split(micro_batches(count))
    weighted = {name for name, weight in dataclasses.asdict(Weights()).items() if weight}
    assert set(first.terms) == weighted | {"total", "discriminator", "mean_confidence"}
    for name, term in first.terms.items():
        torch.testing.assert_close(second.terms[name], term, rtol=1e-4, atol=1e-6)
    after = moved(split)
    for name, weight in moved(whole).items():
        way = (weight - before[name]).norm()
        assert (after[name] - weight).norm() <= 1e-4 * way + 1e-9, name
    assert all((value != before[name]).any() for name, value in after.items())


def test_the_gradient_is_clipped_on_each_side() -> None:
    before, step = moved(make_step()), make_step(clip=0.5)
    result = step(micro_batches(1))
    assert result.norms["gradient"] > 0.5  # before
    way = sum((value - before[name]).square().sum() for name, value in moved(step).items() if name.startswith("0."))
    assert way.sqrt().item() == pytest.approx(0.5e-3, rel=1e-3)


def test_without_a_term_of_the_frame_only_stage_one_learns() -> None:
    before, step = moved(make_step()), make_step()
    result = step(micro_batches(1), Weights(guidance=1).of_motion)
    assert set(result.terms) == {"guidance", "equivariance", "equivariance_jacobian", "total", "mean_confidence"}
    learnt = {name for name, value in moved(step).items() if (value != before[name]).any()}
    assert all(name.startswith(("0.kp_detector", "0.dense_motion_network")) for name in learnt)
    assert {"0.kp_detector.kp.weight", "0.dense_motion_network.mask.weight"} <= learnt
    generated, sample = result.result, default_collate(SAMPLES)
    expected = ops.confidence_warp(sample["source"], generated.motion.field, generated.motion.confidence)
    torch.testing.assert_close(generated.frame, expected)


def test_bfloat16_is_near() -> None:
    full, low = make_step()(micro_batches(1)), make_step(precision="bfloat16")(micro_batches(1))
    assert low.terms["total"].dtype == torch.float32
    assert low.terms["total"].item() == pytest.approx(full.terms["total"].item(), rel=0.05)
    assert low.terms["total"] != full.terms["total"]


def test_channels_last_is_the_same() -> None:
    samples = default_collate(SAMPLES)
    part = MicroBatch.of(samples, spline=SPLINE, channels_last=True)
    assert part.source.is_contiguous(memory_format=torch.channels_last)
    found, expected = make_step()([part]), make_step()(micro_batches(1))
    torch.testing.assert_close(found.terms["total"], expected.terms["total"], rtol=1e-4, atol=1e-5)


def test_discriminators_rest_while_they_have_no_weight() -> None:
    before, step = moved(make_step()), make_step()
    result = step(micro_batches(1), Weights(adversarial=0))
    assert "discriminator" not in result.terms
    for name, value in moved(step).items():
        assert torch.equal(value, before[name]) == name.startswith("1.")


@pytest.mark.parametrize("where", ["source", "current"])
def test_an_infinite_pixel_stops_with_its_sample_named_and_the_weights_as_they_were(where: str) -> None:
    before, step, batch = moved(make_step()), make_step(), micro_batches(4)
    frame = batch[2].source if where == "source" else batch[2].batch.target
    frame[0, 0, 5, 5] = float("inf")
    with pytest.raises(NonFiniteError, match="the loss is infinite or not a number") as caught:
        step(batch)
    named = str(caught.value)
    assert SAMPLES[2]["name"] in named
    assert len(named.splitlines()) == 2
    assert all(torch.equal(value, before[name]) for name, value in moved(step).items())


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    step = make_step()
    weight = next(step.sides[0].parameters())
    weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(NonFiniteError, match="the gradient is infinite") as caught:
        step(micro_batches(1))
    assert all(sample["name"] in str(caught.value) for sample in SAMPLES)


def test_the_loss_across_identities_is_the_steps_own() -> None:
    """It needs another pass of the model; it is multiplied by its weight, and needs the previous frame."""
    step, (micro_batch,) = make_step(), micro_batches(1)
    with_it = dataclasses.replace(Weights(), cross_identity=3.0)
    alone, both = make_step()([micro_batch]), step([micro_batch], with_it)
    term = both.terms["cross_identity"]
    assert term > 0
    torch.testing.assert_close(both.terms["total"], alone.terms["total"] + 3 * term, rtol=1e-4, atol=1e-5)
    lone = dataclasses.replace(micro_batch, batch=dataclasses.replace(micro_batch.batch, previous=None))
    with pytest.raises(ValueError, match="needs previous"):
        step([lone], dataclasses.replace(with_it, temporal=0.0))
