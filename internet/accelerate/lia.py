"""LIA (Wang et al., ICLR 2022), and EDTalk (Tan et al., ECCV 2024), whose encoder and synthesis network are the same.

Each level of features is warped by a flow that a network predicts: it is added to the pixels' coordinates (ends at -1
and 1), and `grid_sample` reads with align_corners=False.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from internet import ops
from internet.accelerate.examples import Arguments, Random
from internet.accelerate.replacement import Part, Peer, Replacement
from internet.accelerate.source_cache import SourceCache

Appearance = tuple[Tensor, list[Tensor]]
NOT_GIVEN: Any = object()


class _Encoder(Replacement):
    state = {"_source_cache": SourceCache}  # noqa: RUF012
    _source_cache: SourceCache[Appearance]
    net_app: nn.Module

    def _encoded(self, source: Tensor) -> Appearance:
        code, features = self._source_cache.get(source, [self.net_app], self._appearance)
        return code, list(features)

    def _appearance(self, source: Tensor) -> Appearance:
        """The appearance, contiguous like the decoder's images: torch is five times slower with two layouts."""
        code, features = self.net_app(source)
        return code, [level.contiguous() for level in features]


class Encoder(_Encoder):
    """LIA's."""

    def forward(self, input_source: Tensor, input_target: Tensor | None, h_start: Tensor | None = None) -> Any:
        code, features = self._encoded(input_source)
        if input_target is None:
            return code, None, features
        motion = [self.fc(self.net_app(input_target)[0])]
        if h_start is not None:
            motion += [self.fc(code), h_start]
        return code, motion, features


class EDTalkEncoder(_Encoder):
    """EDTalk's version, which also encodes driving images: then it is called without `h_start`."""

    def forward(self, input_source: Tensor, input_target: Tensor | None, h_start: Any = NOT_GIVEN) -> Any:
        code, features = self.net_app(input_source) if h_start is NOT_GIVEN else self._encoded(input_source)
        target = (None, None) if input_target is None else self.net_app(input_target)
        return code, target[0], features, target[1]


class ToFlow(Replacement):
    """Features warped and gated with `confidence_warp`."""

    bias: Tensor

    def forward(
        self, input: Tensor, style: Tensor, feat: Tensor, skip: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = self.conv(input, style) + self.bias
        if skip is not None:
            out = out + self.upsample(skip)
        field = torch.tanh(out[:, :2]).permute(0, 2, 3, 1) + _grid(input)
        mask = torch.sigmoid(out[:, 2:3])
        warped = ops.confidence_warp(feat, field, mask)
        return warped, torch.addcmul(warped, input, 1 - mask), out


class ModulatedConv2d(Replacement):
    """Its code views batch and channels as one axis, which is impossible for channels_last images."""

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        return super().forward(input if len(input) == 1 else input.contiguous(), style)


class Blur(Replacement):
    """A small filter for every channel, as one depthwise convolution."""

    kernel: Tensor

    def forward(self, input: Tensor) -> Tensor:
        first, last = self.pad
        return F.conv2d(
            F.pad(input, (first, last, first, last)), _depthwise(self.kernel.flip(0, 1), input), groups=input.shape[1]
        )


class Upsample(Replacement):
    """A small filter for every channel of an image with zeros between its pixels, as a transposed convolution."""

    kernel: Tensor
    factor: int

    def forward(self, input: Tensor) -> Tensor:
        first, last = (len(self.kernel) - 1 - length for length in self.pad)
        if first < 0 or last < self.factor - 1 - first or len(self.kernel) - self.factor != 2 * first:
            return super().forward(input)
        weight = _depthwise(self.kernel, input)
        return F.conv_transpose2d(input, weight, stride=self.factor, padding=first, groups=input.shape[1])


class FusedLeakyReLU(Replacement):
    """In inference, in place on its own first result."""

    bias: Tensor

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(input)
        return F.leaky_relu_(input + self.bias, self.negative_slope).mul_(self.scale)


def _depthwise(kernel: Tensor, image: Tensor) -> Tensor:
    return kernel.to(image.dtype).expand(image.shape[1], 1, *kernel.shape)


def _grid(image: Tensor) -> Tensor:
    """(1, H, H, 2) coordinates from -1 to 1, rounded to float32 as in LIA."""
    count = image.shape[2]
    line = torch.arange(count, dtype=torch.float64, device=image.device) * (2 / (count - 1)) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x, y), 2).float()[None]


def _example_of_encoder(module: Any, random: Random) -> Arguments:
    side = 2 ** len(module.net_app.convs)
    return {"input_source": random.image(3, side, side), "input_target": None}


def _example_of_flow(module: Any, random: Random) -> Arguments:
    channels = module.conv.in_channel
    style = random.image(module.conv.modulation.weight.shape[1], 1).flatten(1)
    return {"input": random.image(channels, 8, 8), "style": style, "feat": random.image(channels, 8, 8)}


def _example_of_image(module: Any, random: Random) -> Arguments:
    return {"input": random.image(4, 8, 8)}


def _example_of_activation(module: Any, random: Random) -> Arguments:
    return {"input": random.image(module.bias.shape[1], 8, 8)}


ENCODER = ("net_app",)
ONCE = "the source encoded once"

PEER = Peer(
    "LIA",
    (
        Part("Encoder", (*ENCODER, "fc"), Encoder, ONCE, example=_example_of_encoder),
        Part("Encoder", ENCODER, EDTalkEncoder, ONCE, absent=("fc",), example=_example_of_encoder),
        Part("ToFlow", ("conv", "bias"), ToFlow, "confidence_warp", example=_example_of_flow),
        Part(
            "ModulatedConv2d",
            ("modulation", "demodulate", "weight", "in_channel"),
            ModulatedConv2d,
            "as before, of a contiguous batch",
        ),
        Part("Blur", ("kernel", "pad"), Blur, "one depthwise convolution", example=_example_of_image),
        Part("Upsample", ("kernel", "factor", "pad"), Upsample, "a transposed convolution", example=_example_of_image),
        Part(
            "FusedLeakyReLU",
            ("bias", "negative_slope", "scale"),
            FusedLeakyReLU,
            "in inference: in place",
            example=_example_of_activation,
        ),
    ),
)
