"""Stage I, first half: motion anchors of one frame."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.model.blocks import GroupNorm, Head
from internet.model.unet import Normalisation, UNet

#: Pixels that a 7x7 convolution without padding loses at each side.
BORDER = 3


class Anchors(NamedTuple):
    """K key points of a frame and, around each, the linear map from an abstract reference pose.

    kp: (B, K, 2), x first, normalised to [-1, 1]. jac: (B, K, 2, 2).
    """

    kp: Tensor
    jac: Tensor


class AnchorDetector(nn.Module):
    """Downsampled frame -> U-Net -> K heat maps and K Jacobian maps -> their expectations.

    The heads are not padded: padding shows a network where the border is, and its anchors then drift to the corners.
    The same network runs on source and driving frame; the equivariance loss makes the anchors of both comparable.
    The Jacobian's head starts at the identity. Parameter names are first-order-motion's.

    The defaults are INTERnet's; first-order-motion's networks use other options (:mod:`internet.model.first_order`).

    Args:
        anchors: K.
        down: downsamples the frame.
        width, depth, widest: of the U-Net.
        channels: of the frame.
        jacobian_maps: the number of Jacobian maps: K, 1 that all anchors share, or 0, with which every Jacobian is
            the identity.
        temperature: of the soft-argmax.
        normalisation: of the U-Net.
        padding: of the heads.
        border: whether the heat maps keep the border of 3 pixels that their 7x7 convolution does not reach, as empty.
            First-order-motion does not keep it, and so stretches the rest over the frame.
        align_corners: the coordinate convention of the heat maps' pixels.
    """

    def __init__(
        self,
        anchors: int,
        down: nn.Module,
        width: int,
        depth: int,
        widest: int,
        *,
        channels: int = 3,
        jacobian_maps: int | None = None,
        temperature: float = 0.1,
        normalisation: Normalisation = GroupNorm,
        padding: int = 0,
        border: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.down = down
        self.predictor = UNet(channels, width, depth, widest, normalisation)
        self.kp = Head(self.predictor.out_channels, anchors, 7, padding=padding)
        maps = anchors if jacobian_maps is None else jacobian_maps
        self.jacobian = _jacobian_head(self.predictor.out_channels, maps, padding) if maps else None
        self.border = BORDER if border else 0
        self.temperature, self.align_corners = temperature, align_corners

    def forward(self, frame: Tensor) -> Anchors:
        """Frame (B, C, H, W) in [0, 1] -> anchors."""
        features = self.predictor(self.down(frame))
        sides = (self.border,) * 4
        heat = functional.pad(self.kp(features), sides, value=-torch.inf)  # (B, K, h, w)
        jacobian_map = None
        if self.jacobian is not None:
            jacobian_map = functional.pad(self.jacobian(features), sides).unflatten(1, (-1, 4))  # (B, K or 1, 4, h, w)
        kp, jac = ops.soft_argmax(heat, jacobian_map, temperature=self.temperature, align_corners=self.align_corners)
        return Anchors(kp, torch.eye(2, dtype=kp.dtype, device=kp.device).expand(*kp.shape, 2) if jac is None else jac)


def _jacobian_head(inputs: int, maps: int, padding: int) -> Head:
    """The head of the Jacobian maps, which starts at the identity."""
    head = Head(inputs, 4 * maps, 7, padding=padding)
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.eye(2).flatten().repeat(maps))  # type: ignore[union-attr]
    return head
