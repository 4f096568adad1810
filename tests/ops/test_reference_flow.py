"""The reference of the operators with optical flow, against the equations in single numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from internet.ops import reference
from tests.support import samples
from tests.support.compare import assert_close
from tests.support.equations import look, pixels

PENALTIES = {"l1": abs, "l2": lambda r: r * r, "charbonnier": lambda r: math.sqrt(r * r + 1e-6)}


@pytest.mark.parametrize("padding_mode", ["border", "zeros", "valid"])
@pytest.mark.parametrize("norm", PENALTIES)
def test_masked_backwarp_loss_is_equation_4(norm: str, padding_mode: str) -> None:
    options = {"norm": norm, "padding_mode": padding_mode}
    sample = samples.build("masked_backwarp_loss", torch.float64, size=(4, 6), ratio=1, **options)
    output, target, flow, mask = sample.args
    expected = torch.zeros(2, 1, 4, 6, dtype=torch.float64)
    for b, c, j, i in pixels(*output.shape):
        x, y = i + flow[b, 0, j, i].item(), j + flow[b, 1, j, i].item()
        if padding_mode == "valid" and not (0 <= x <= 5 and 0 <= y <= 3):
            continue
        residual = look(output[b, c], x, y, padding_mode == "border") - target[b, c, j, i].item()
        expected[b, 0, j, i] += PENALTIES[norm](residual * mask[b, 0, j, i].item())
    for reduction, value in {"none": expected, "sum": expected.sum(), "mean": expected.sum() / output.numel()}.items():
        assert_close(reference.masked_backwarp_loss(*sample.args, reduction=reduction, **options), value, torch.float64)


def test_mask_is_upsampled_progressively() -> None:
    sample = samples.build("masked_backwarp_loss", torch.float64, size=(8, 12), ratio=4)
    *frames, mask = sample.args
    fine = F.interpolate(F.interpolate(mask, scale_factor=2, mode="bilinear"), scale_factor=2, mode="bilinear")
    loss, expected = (reference.masked_backwarp_loss(*frames, m) for m in (mask, fine))
    assert_close(loss, expected, torch.float64)


@pytest.mark.parametrize("boundary", [None, (0.01, 0.002)])
@pytest.mark.parametrize("reach", [0.5, 1.5])
def test_flow_confidence_is_its_three_tests(reach: float, boundary: tuple[float, float] | None) -> None:
    sample = samples.build("flow_confidence", torch.float64, size=(4, 5), reach=reach, batch=4)
    forward, backward = sample.args
    mask = reference.flow_confidence(forward, backward, boundary=boundary)
    expected = torch.ones_like(mask)
    for b, j, i in pixels(4, 4, 5):
        u, v = forward[b, :, j, i].tolist()
        x, y = i + u, j + v
        back = [look(backward[b, c], x, y, border=False) for c in (0, 1)]
        length, back_length = u * u + v * v, back[0] ** 2 + back[1] ** 2
        occluded = (u + back[0]) ** 2 + (v + back[1]) ** 2 > 0.01 * (length + back_length) + 0.5
        gradient = 0.0
        for c in (0, 1):
            here = forward[b, c, j, i].item()
            gradient += (forward[b, c, j, i + 1].item() - here) ** 2 if i + 1 < 5 else 0
            gradient += (forward[b, c, j + 1, i].item() - here) ** 2 if j + 1 < 4 else 0
        at_boundary = boundary is not None and gradient > boundary[0] * length + boundary[1]
        if occluded or at_boundary or not (0 <= x <= 4 and 0 <= y <= 3):
            expected[b, 0, j, i] = 0
    assert torch.equal(mask, expected)
    assert 0 < mask.mean() < 1, "the sample decides nothing"
