"""Generated frames against real ones: PSNR, SSIM, L1."""

from torch import Tensor

from internet.evaluation.means import Means
from internet.utils.optional import require


class FrameMetrics:
    """Means over frames of the peak signal-to-noise ratio in dB, structural similarity and absolute difference.

    Each frame's PSNR is taken by itself: the PSNR of the mean squared error would be that of the worst frames.
    A frame without error has an infinite one. SSIM is Wang's, with an 11 x 11 Gaussian window (σ = 1.5).

    Args:
        prefix: goes before the names "psnr", "ssim" and "l1" in the result.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """

    def __init__(self, prefix: str = "") -> None:
        self._functional = require("torchmetrics.functional.image", "measuring frames")
        self.prefix = prefix
        self.means = Means(("psnr", "ssim", "l1"))

    def reset(self) -> None:
        """Forget all frames."""
        self.means.reset()

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add frames: output and target are (B, 3, H, W) in [0, 1]; H and W are 11 at least, the window's size."""
        check_frames(output, target)
        output, target = output.detach().float(), target.detach().float()
        psnr, ssim = self._functional.peak_signal_noise_ratio, self._functional.structural_similarity_index_measure
        self.means.add(
            psnr=psnr(output, target, data_range=1.0, dim=(1, 2, 3), reduction="none"),
            ssim=ssim(output, target, data_range=1.0, reduction="none"),
            l1=(output - target).abs().mean((1, 2, 3)),
        )

    def compute(self) -> dict[str, float]:
        """The means over all frames since the last reset, of this process; see :class:`Means`."""
        return {self.prefix + name: value for name, value in self.means.compute().items()}


def check_frames(output: Tensor, target: Tensor) -> None:
    """Raise a ValueError for frames that no measure can take."""
    if output.dim() != 4 or output.shape[1] != 3 or min(output.shape[2:]) < 11:
        raise ValueError(f"output has shape {tuple(output.shape)}, expected (B, 3, H, W), H and W at least 11")
    if target.shape != output.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}, output has {tuple(output.shape)}")
