"""Super SloMo: the frame in the middle of two (Jiang et al., CVPR 2018), the paper's network for Interp-PSNR."""

import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.geometry import flow_to_field
from internet.model.weights import load_weights, read_weights
from internet.utils.weight_files import read_weight_file

GET = (
    "by Super SloMo as in the paper, which needs SuperSloMo.ckpt, the checkpoint of avinashpaliwal/Super-SloMo: "
    "--super-slomo SuperSloMo.ckpt"
)

#: Means of the channels of the frames that it was trained on.
MEAN = (0.429, 0.431, 0.397)
_SLOPE = 0.1
#: Sides must be multiples of this: five levels.
_MULTIPLE = 32


def _lrelu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE)


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return _lrelu(self.conv2(_lrelu(self.conv1(functional.avg_pool2d(x, 2)))))


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        return _lrelu(self.conv2(torch.cat([_lrelu(self.conv1(x)), skip], 1)))


class _UNet(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, 32, 7, padding=3), nn.Conv2d(32, 32, 7, padding=3)
        downs = ((32, 64, 5), (64, 128, 3), (128, 256, 3), (256, 512, 3), (512, 512, 3))
        ups = ((512, 512), (512, 256), (256, 128), (128, 64), (64, 32))
        for number, (down, up) in enumerate(zip(downs, ups, strict=True), start=1):
            self.add_module(f"down{number}", _Down(*down))
            self.add_module(f"up{number}", _Up(*up))
        self.conv3 = nn.Conv2d(32, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [_lrelu(self.conv2(_lrelu(self.conv1(x))))]
        for number in range(1, 6):
            levels.append(self.get_submodule(f"down{number}")(levels[-1]))
        x = levels.pop()
        for number in range(1, 6):
            x = self.get_submodule(f"up{number}")(x, levels.pop())
        return _lrelu(self.conv3(x))


class SuperSloMo(nn.Module):
    """Two frames (B, 3, H, W) in [0, 1] -> the one halfway between them, clipped to [0, 1].

    The first U-Net estimates the flows between the two; the second refines the flows to the middle and estimates which
    of the two frames shows each pixel.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.flow, self.interpolation = _UNet(6, 4), _UNet(20, 5)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SuperSloMo":
        """From the checkpoint. Raises :class:`MissingWeightsError`, or ValueError for any other file."""
        read_weight_file(path, f"Interp-PSNR {GET}")
        stored, network = read_weights(path), cls()
        for entry, part in (("state_dictFC", network.flow), ("state_dictAT", network.interpolation)):
            if not isinstance(weights := stored.get(entry), dict):
                raise ValueError(f"'{path}' has no entry '{entry}': it is not a checkpoint of Super SloMo")
            load_weights(part, weights, f"'{path}'", spare=True)
        return network

    @torch.no_grad()
    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        height, width = before.shape[2:]
        padding = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
        one, other = (functional.pad(frame.float() - self.mean, padding, "replicate") for frame in (before, after))
        forward, backward = self.flow(torch.cat([one, other], 1)).chunk(2, 1)
        # Halfway, by linear motion: t (t - 1), t², (1 - t)² and -t (1 - t) at t = 1/2.
        to_one, to_other = (backward - forward) / 4, (forward - backward) / 4
        parts = [one, other, forward, backward, to_other, to_one, _warp(other, to_other), _warp(one, to_one)]
        found = self.interpolation(torch.cat(parts, 1))
        to_one, to_other = to_one + found[:, :2], to_other + found[:, 2:4]
        visible = torch.sigmoid(found[:, 4:])
        middle = torch.lerp(_warp(other, to_other), _warp(one, to_one), visible)
        return (middle + self.mean)[..., :height, :width].clamp(0, 1)


def _warp(frame: Tensor, flow: Tensor) -> Tensor:
    """The frame sampled at x + flow (B, 2, H, W), in pixels, on the grid that the checkpoint was trained with.

    It puts pixel j of W at 2 j / W - 1, half a pixel off; pixels outside the frame count as 0.
    """
    half_a_pixel = 1 / frame.new_tensor([frame.shape[3], frame.shape[2]])
    return ops.confidence_warp(frame, flow_to_field(flow) - half_a_pixel)
