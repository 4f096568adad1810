"""The fused operators in a model of first-order-motion's kind: key points, dense motion, warped features.

    python examples/first_order_motion.py

Needs nothing but torch. The comments name the lines of first-order-motion that each operator stands for.
"""

import torch
from torch import Tensor, nn

from internet import ops

K, SIZE = 10, 64


class KeyPoints(nn.Module):
    """A frame (B, 3, H, W) -> key points (B, K, 2) and Jacobians (B, K, 2, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 32, 7, padding=3), nn.ReLU(), nn.Conv2d(32, 5 * K, 7, padding=3))

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        heat_maps, jacobians = self.layers(frame).split([K, 4 * K], dim=1)
        # gaussian2kp and the weighted Jacobian maps of KPDetector.forward
        kp, jac = ops.soft_argmax(heat_maps, jacobians.unflatten(1, (K, 4)), temperature=0.1)
        return kp, jac + torch.eye(2, device=frame.device)


class DenseMotion(nn.Module):
    """A source frame and both frames' key points -> motion field (B, H, W, 2) and occlusion map (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4 * (K + 1), 32, 7, padding=3), nn.ReLU())
        self.mask, self.occlusion = nn.Conv2d(32, K + 1, 7, padding=3), nn.Conv2d(32, 1, 7, padding=3)

    def forward(
        self, source: Tensor, kp: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        points = {"kp_source": kp[0], "kp_driving": driving[0], "jac_source": kp[1], "jac_driving": driving[1]}
        # create_heatmap_representations, create_sparse_motions, create_deformed_source_image and their concatenation
        hidden = self.layers(ops.anchor_features(source, **points))
        # the softmax of the mask, and the sum of the sparse motions weighted by it
        field = ops.affine_mixture(self.mask(hidden), **points)
        return field, torch.sigmoid(self.occlusion(hidden))


class Generator(nn.Module):
    """The driving frame, from the source's features moved by the dense motion."""

    def __init__(self) -> None:
        super().__init__()
        self.key_points, self.dense_motion = KeyPoints(), DenseMotion()
        self.encoder, self.decoder = nn.Conv2d(3, 64, 7, padding=3), nn.Conv2d(64, 3, 7, padding=3)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        field, occlusion = self.dense_motion(source, self.key_points(source), self.key_points(driving))
        # deform_input and the product with the occlusion map
        warped = ops.confidence_warp(self.encoder(source), field, occlusion)
        return torch.sigmoid(self.decoder(warped))


def main() -> None:
    """Learn to turn one random picture into another, which takes the gradients of all four operators."""
    torch.manual_seed(0)
    source, driving = torch.rand(2, 1, 3, SIZE, SIZE)
    model = Generator()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = (model(source, driving) - driving).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"20 steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}; backends: {', '.join(ready())}")


def ready() -> list[str]:
    """The backends that can be used here."""
    return [name for name, status in ops.backends().items() if status.ready]


if __name__ == "__main__":
    main()
