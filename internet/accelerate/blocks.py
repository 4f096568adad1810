"""The convolutional blocks of first-order-motion and of the models derived from it, in inference.

A batch norm after a convolution is an affine map of its output: its scale goes into the weights, its shift into the
bias. A 3x3 convolution after nearest-neighbour 2x upsampling reads each pixel several times. On the image itself
it is a 2x2 convolution with sums of its weights, one set for each of the four pixels that a pixel becomes, with 4/9 of
the multiplications; so it is computed on the CPU. And if an image is filtered and then subsampled, only the pixels that
are kept need the filter.

In training, or where a gradient may be required, blocks compute as their authors wrote them. The same holds where the
weights are much larger than the image: derived weights are kept, and would cost more than they save.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from internet.accelerate.derived_weights import DerivedWeights
from internet.accelerate.examples import Arguments, Random
from internet.accelerate.replacement import Part, Replacement
from internet.accelerate.source_cache import is_repeatable, must_be_called

CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}


LARGEST_RATIO = 8
"""The limit of the ratio of weights to image, in elements."""


LARGEST_EXAMPLE = 1 << 30
"""Multiplications of a convolution."""


class _Block(Replacement):
    state = {"_derived": DerivedWeights}  # noqa: RUF012
    compiled_whole = True
    _derived: DerivedWeights

    def _computes_in_inference(self, x: Tensor, conv: nn.Conv2d) -> bool:
        return (
            isinstance(x, Tensor)  # not while torch.fx traces
            and type(conv) in CONVOLUTIONS
            and conv.padding_mode == "zeros"
            and LARGEST_RATIO * x.numel() >= conv.weight.numel()
            and (self._is_compiled_for_inference() if torch.compiler.is_compiling() else is_repeatable(x, (self,)))
        )

    def _is_compiled_for_inference(self) -> bool:
        """The folded weights are then computed in the graph at every call, which takes little time."""
        return not (torch.is_grad_enabled() or any(must_be_called(part) for part in self.modules()))

    def _normalized(self, x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
        """norm(conv(x)), in inference."""
        if not _folds(norm):
            return norm(conv(x))
        weight, bias = self._derived.get(x.device, (conv, norm), lambda: folded(conv, norm))
        return CONVOLUTIONS[type(conv)](x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)

    def _activated(self, x: Tensor) -> Tensor:
        """The activation, in place: nothing else uses the result of the convolution or norm."""
        return F.leaky_relu_(x, self.ac.negative_slope) if hasattr(self, "ac") and _leaks(self.ac) else x.relu_()


class SameBlock(_Block):
    """Convolution, norm, activation and, in some, a pool: SameBlock2d, DownBlock2d, DownBlock3d."""

    conv: nn.Conv2d
    norm: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if not self._computes_in_inference(x, self.conv):
            return super().forward(x)
        out = self._activated(self._normalized(x, self.conv, self.norm))
        return self.pool(out) if hasattr(self, "pool") else out


class UpBlock(_Block):
    """Nearest-neighbour 2x upsampling of the last two axes, convolution, norm, activation: UpBlock2d, UpBlock3d."""

    conv: nn.Conv2d
    norm: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if not (self._computes_in_inference(x, self.conv) and _is_plain_3x3(self.conv)):
            return super().forward(x)
        if not _gains_by_fewer_multiplications(x.device):
            return self._activated(self._normalized(_upsampled(x), self.conv, self.norm))
        folds = _folds(self.norm)
        weight, bias = self._derived.get(
            x.device,
            (self.conv, self.norm),
            lambda: of_upsampled(*(folded(self.conv, self.norm) if folds else (self.conv.weight, self.conv.bias))),
        )
        out = convolve_upsampled(x, weight, bias)
        return self._activated(out if folds else self.norm(out))


class ResBlock(_Block):
    """Norm, activation, convolution, norm, activation, convolution, and the input added: ResBlock2d, ResBlock3d."""

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    norm1: nn.Module
    norm2: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if not self._computes_in_inference(x, self.conv1):
            return super().forward(x)
        out = self._normalized(self.norm1(x).relu_(), self.conv1, self.norm2).relu_()
        return self.conv2(out).add_(x)


class AntiAlias(Replacement):
    """A Gaussian filter, and every n-th pixel of its result."""

    compiled_whole = True
    weight: Tensor
    groups: int

    def forward(self, input: Tensor) -> Tensor:
        step = int(1 / self.scale)
        if step == 1 or step * self.scale != 1 or any(length % step for length in input.shape[2:]):
            return super().forward(input)
        return F.conv2d(input, self.weight, stride=step, padding=self.ka, groups=self.groups)


def folded(conv: nn.Conv2d, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that includes the batch norm after it."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    return conv.weight * scale.view(-1, *[1] * (conv.weight.dim() - 1)), shift


def of_upsampled(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """From weights (O, I, [3,] 3, 3) for the upsampled image to those for the image itself: (4 O, I, [3,] 2, 2).

    A pixel becomes two along each axis. The first of them combines the three weights as (w0, w1 + w2), the second as
    (w0 + w1, w2).
    """
    sums = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
    phases = torch.einsum("pay,qbx,...yx->pq...ab", sums, sums, weight).flatten(0, 2)
    phases = phases.contiguous(memory_format=_memory_format(weight))
    return phases, (weight.new_zeros(len(weight)) if bias is None else bias).repeat(4)


def convolve_upsampled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution of the image with its last two axes doubled, computed with the weights of `of_upsampled`."""
    batch, _, *depth, H, W = x.shape
    phases = (F.conv2d if x.dim() == 4 else F.conv3d)(x, weight, bias, padding=1)
    size = (batch, len(weight) // 4, *depth, 2 * H, 2 * W)
    out = torch.empty(size, dtype=phases.dtype, device=x.device, memory_format=_memory_format(phases))
    for i, phase in enumerate(phases.chunk(4, 1)):
        below, right = divmod(i, 2)
        out[..., below::2, right::2] = phase[..., below : below + H, right : right + W]
    return out


def _upsampled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=(*[1.0] * (x.dim() - 4), 2.0, 2.0))


def _gains_by_fewer_multiplications(device: torch.device) -> bool:
    """A GPU takes longer to be told of the parts of an image than to compute it whole."""
    return device.type == "cpu"


def _folds(norm: nn.Module) -> bool:
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def _leaks(activation: nn.Module) -> bool:
    return isinstance(activation, nn.LeakyReLU)


def _is_plain_3x3(conv: nn.Conv2d) -> bool:
    return (
        set(conv.kernel_size) == {3}
        and set(conv.padding) == {1}
        and set(conv.stride) == set(conv.dilation) == {1}
        and conv.groups == 1
    )


def _is_channels_last(x: Tensor) -> bool:
    """Whether an image, a volume or weights are in channels_last and not also contiguous."""
    return _memory_format(x) != torch.contiguous_format


def _memory_format(x: Tensor) -> torch.memory_format:
    """The memory format of a tensor: one of the two that convolutions know."""
    channels_last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    in_it = x.dim() in (4, 5) and x.is_contiguous(memory_format=channels_last) and not x.is_contiguous()
    return channels_last if in_it else torch.contiguous_format


def _example_of_block(module: Any, random: Random) -> Arguments:
    """An image large enough for the code of inference, unless that would take long."""
    conv = module.conv1 if hasattr(module, "conv1") else module.conv
    depth = [4] if isinstance(conv, nn.Conv3d) else []
    plane = conv.in_channels * math.prod(depth)
    side = 8 * math.ceil(math.sqrt(conv.weight.numel() / (LARGEST_RATIO * plane)) / 8)
    if conv.weight.numel() * math.prod(depth) * side**2 > LARGEST_EXAMPLE:
        side = 8
    return {"x": random.image(conv.in_channels, *depth, side, side)}


def _example_of_filter(module: Any, random: Random) -> Arguments:
    side = 8 * int(1 / module.scale)
    return {"input": random.image(module.groups, side, side)}


FOLDED = "in inference: norm folded into the convolution"
UPSAMPLED = f"{FOLDED}, which reads what is not upsampled"


def _block(class_name: str, attributes: tuple[str, ...], replacement: type[_Block], replaced: str = FOLDED) -> Part:
    return Part(class_name, attributes, replacement, replaced, example=_example_of_block)


BLOCKS = (
    _block("SameBlock2d", ("conv", "norm"), SameBlock),
    _block("DownBlock2d", ("conv", "norm", "pool"), SameBlock),
    _block("DownBlock3d", ("conv", "norm", "pool"), SameBlock),
    _block("UpBlock2d", ("conv", "norm"), UpBlock, UPSAMPLED),
    _block("UpBlock3d", ("conv", "norm"), UpBlock, UPSAMPLED),
    _block("ResBlock2d", ("conv1", "conv2", "norm1", "norm2"), ResBlock),
    _block("ResBlock3d", ("conv1", "conv2", "norm1", "norm2"), ResBlock),
    Part(
        "AntiAliasInterpolation2d",
        ("weight", "groups", "scale", "ka"),
        AntiAlias,
        "filters only the pixels that are kept",
        example=_example_of_filter,
    ),
)
"""Blocks of several models, replaced only inside known parts of these."""
