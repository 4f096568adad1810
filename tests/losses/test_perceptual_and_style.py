"""Eqs. 9-11."""

import torch

from internet.losses import (
    gram,
    perceptual_loss,
    style_loss,
)


def test_equations_9_to_11():
    # the last layer has more channels than pixels, and therefore uses another algorithm
    ours, theirs = ([torch.randn(2, 3, 4, 5), torch.randn(2, 6, 2, 2), torch.randn(2, 9, 2, 2)] for _ in range(2))
    perceptual, style = 0.0, 0.0
    for a, b in zip(ours, theirs, strict=True):
        batch, channels, height, width = a.shape
        size = channels * height * width
        for n in range(batch):
            perceptual += (a[n] - b[n]).abs().sum() / size / batch
            difference = torch.zeros(channels, channels)
            for i in range(channels):
                for j in range(channels):
                    difference[i, j] = ((a[n, i] * a[n, j]).sum() - (b[n, i] * b[n, j]).sum()) / size
            style += (difference**2).sum() / size / batch
    torch.testing.assert_close(perceptual_loss(ours, theirs), perceptual)
    torch.testing.assert_close(style_loss(ours, theirs), style)


def test_the_style_loss_of_a_deep_layer_has_the_gradient_of_its_gram_matrices():
    ours, theirs = torch.randn(2, 1, 9, 2, 2, dtype=torch.float64).unbind()
    ours.requires_grad_()
    plain = (gram(ours) - gram(theirs)).square().sum() / ours.numel()
    torch.testing.assert_close(style_loss([ours], [theirs]), plain)
    gradients = (torch.autograd.grad(loss, ours) for loss in (style_loss([ours], [theirs]), plain))
    torch.testing.assert_close(*gradients)
    assert style_loss([ours], [ours.detach()]).item() == 0


def test_the_gram_matrix_is_in_float32_under_autocast():
    features = torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        low = gram(features.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, gram(features), atol=0.01, rtol=0.01)
