"""Eqs. 2-4, and the inputs that each scheme needs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from internet.losses import (
    temporal_loss,
)


def shifted(image: Tensor, dx: int, dy: int) -> Tensor:
    """The image sampled dx to the right and dy below, the border repeated."""
    height, width = image.shape[-2:]
    rows = (torch.arange(height) + dy).clamp(0, height - 1)
    columns = (torch.arange(width) + dx).clamp(0, width - 1)
    return image[..., rows[:, None], columns]


@pytest.fixture
def clip() -> dict[str, Tensor]:
    output, previous = torch.rand(2, 2, 3, 16, 16)
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 16, 16).contiguous()
    return {"output": output, "previous": previous, "flow": flow}


def test_equation_2(clip):
    expected = (shifted(clip["output"], 3, -2) - clip["previous"]).abs().mean()
    torch.testing.assert_close(temporal_loss(**clip, regularization="flow"), expected)


def test_equation_3(clip):
    """The mask of [27]: here the flows disagree in the right half; elsewhere only pixels that leave the frame are 0."""
    backward = -clip["flow"].clone()
    backward[..., 8:] += 4
    x, y = torch.arange(16), torch.arange(16)[:, None]
    reliable = ((x + 3 < 8) & (y - 2 >= 0)).float()
    expected = ((shifted(clip["output"], 3, -2) - clip["previous"]) * reliable).abs().mean()
    loss = temporal_loss(**clip, regularization="extrinsic", flow_backward=backward)
    torch.testing.assert_close(loss, expected)


def test_equation_4(clip):
    base = torch.rand(2, 1, 4, 4)
    mask, _ = base, None
    for _ in range(2):
        mask = F.interpolate(mask, scale_factor=2, mode="bilinear", align_corners=False)
    expected = ((shifted(clip["output"], 3, -2) - clip["previous"]) * mask).abs().mean()
    torch.testing.assert_close(temporal_loss(**clip, regularization="intrinsic", confidence=base), expected)


def test_no_regularisation_is_zero(clip):
    assert temporal_loss(**clip, regularization="none") == 0


@pytest.mark.parametrize(
    ("regularization", "words"),
    [
        ("extrinsic", "needs flow_backward"),
        ("intrinsic", "needs confidence"),
        ("mixed", "regularization is 'mixed', expected 'none' or 'flow' or"),
    ],
)
def test_a_scheme_without_what_it_needs(clip, regularization, words):
    with pytest.raises(ValueError, match=words):
        temporal_loss(**clip, regularization=regularization)


def test_several_scales_are_a_mean_over_halved_frames(clip):
    """Each with the same equation: frames, flow and mask are averaged over blocks, and flow is halved."""
    confidence = torch.rand(2, 1, 8, 8)
    losses = []
    for scale in range(3):
        block = 2**scale
        pooled = {name: F.avg_pool2d(value, block) for name, value in clip.items()}
        pooled["flow"] = pooled["flow"] / block
        mask = F.avg_pool2d(confidence, 2) if scale == 2 else confidence
        losses.append(temporal_loss(**pooled, regularization="intrinsic", confidence=mask))
    loss = temporal_loss(**clip, regularization="intrinsic", confidence=confidence, scales=3)
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    torch.testing.assert_close(losses[0], temporal_loss(**clip, regularization="intrinsic", confidence=confidence))
    with pytest.raises(ValueError, match="scales is 6"):
        temporal_loss(**clip, regularization="flow", scales=6)
