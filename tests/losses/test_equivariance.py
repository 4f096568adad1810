"""Equivariance of anchors and Jacobians, against first-order-motion's formula and with true joints."""

import torch
from torch import Tensor

from internet.data.synthetic_dataset import SyntheticDataset
from internet.geometry import identity_field
from internet.losses import (
    ThinPlateSpline,
    equivariance_losses,
)
from internet.model import Anchors


def blob_anchors(frame: Tensor) -> Anchors:
    """An equivariant detector: the centre and the spread of a bright blob, as a point and a matrix."""
    weight = frame[:, :1].clamp(min=0)
    weight = weight / weight.sum((2, 3), keepdim=True)
    height, width = frame.shape[2:]
    x, y = (2 * torch.arange(width) + 1) / width - 1, (2 * torch.arange(height) + 1) / height - 1
    z = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    kp = (weight[..., None] * z).sum((2, 3))
    return Anchors(kp, torch.eye(2).expand(len(frame), 1, 2, 2))


def blob(size: int = 128) -> Tensor:
    x = (2 * torch.arange(size) + 1) / size - 1
    bump = torch.exp(-((x - 0.2) ** 2 + (x[:, None] + 0.1) ** 2) / (2 * 0.03**2))
    return bump.expand(1, 3, size, size)


def test_an_equivariant_detector_has_next_to_no_loss():
    torch.manual_seed(3)
    frame, spline = blob(), ThinPlateSpline.random(1)
    points, _ = equivariance_losses(blob_anchors, frame, blob_anchors(frame), spline)
    assert points < 0.005  # not 0, because the spline is not exactly affine over the size of a blob

    def fixed(frame: Tensor) -> Anchors:
        return blob_anchors(blob())

    unmoved, _ = equivariance_losses(fixed, frame, fixed(frame), spline)
    assert unmoved > 10 * points


#: The length of a joint's two arms, and the spread of the spots that mark it.
ARM, SPOT = 0.04, 0.015


def marked_joints(joints: Tensor, size: int) -> Tensor:
    """A frame with three spots for each of the joints (B, K, 2), a channel each: (B, 3K, size, size).

    One at the joint, one to its right and one below: deforming the frame also deforms their triangle.
    """
    arms = torch.tensor([[0.0, 0.0], [ARM, 0.0], [0.0, ARM]])
    spots = (joints[:, :, None] + arms).flatten(1, 2)[:, :, None, None]
    z = identity_field(size, size)[0]
    return torch.exp(-(z - spots).square().sum(-1) / (2 * SPOT**2))


def read_joints(frame: Tensor) -> Anchors:
    """The joints that :func:`marked_joints` drew, by the spots' centroids: the joint, and the arms as a matrix."""
    weight = frame / frame.sum((2, 3), keepdim=True)
    centres = torch.einsum("bkhw,hwc->bkc", weight, identity_field(*frame.shape[2:])[0]).unflatten(1, (-1, 3))
    arms = (centres[:, :, 1:] - centres[:, :, :1]) / ARM
    return Anchors(centres[:, :, 0], arms.mT)


def test_the_identities_hold_for_the_true_joints_of_drawn_figures():
    """p = T(p') and J = T'(p') J', measured in deformed frames, up to the effect of the triangle's size."""
    joints = torch.stack([SyntheticDataset(16, seed=3)[index]["current_anchors"] for index in (0, 9, 18, 27)])
    frame, spline = marked_joints(joints.clamp(-0.7, 0.7), 256), ThinPlateSpline.random(4)
    anchors = read_joints(frame)
    losses = equivariance_losses(read_joints, frame, anchors, spline)
    unmoved = equivariance_losses(lambda _: anchors, frame, anchors, spline)
    assert losses[0] < 0.01 * unmoved[0]
    assert losses[1] < 0.15 * unmoved[1]


def test_equivariance_is_first_order_motion_s():
    frame, spline = torch.rand(2, 3, 32, 32), ThinPlateSpline.random(2)
    anchors, deformed = (
        Anchors(torch.rand(2, 5, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 5, 2, 2)) for _ in range(2)
    )
    seen = []

    def detector(image: Tensor) -> Anchors:
        seen.append(image)
        return deformed

    points, jacobians = equivariance_losses(detector, frame, anchors, spline)
    torch.testing.assert_close(seen[0], spline.warp(frame))
    torch.testing.assert_close(points, (anchors.kp - spline(deformed.kp)).abs().mean())
    product = torch.inverse(anchors.jac) @ spline.jacobian(deformed.kp) @ deformed.jac
    torch.testing.assert_close(jacobians, (torch.eye(2) - product).abs().mean(), atol=1e-5, rtol=1e-4)


def test_true_jacobians_have_no_loss():
    """J = T'(p') J' and p = T(p'), whatever J' is."""
    spline = ThinPlateSpline.random(2)
    deformed = Anchors(torch.rand(2, 5, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 5, 2, 2))
    true = Anchors(spline(deformed.kp), spline.jacobian(deformed.kp) @ deformed.jac)
    losses = equivariance_losses(lambda _: deformed, torch.rand(2, 3, 8, 8), true, spline)
    assert max(losses) < 1e-4
