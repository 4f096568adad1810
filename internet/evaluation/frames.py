"""Generated frames against real ones: PSNR, SSIM, MS-SSIM, L1."""

from torch import Tensor

from internet.evaluation.means import Means
from internet.evaluation.measure import Column, Curve, Measure
from internet.utils.optional import require

#: An upper limit on PSNR, in dB: the difference is then less than 8 bits can represent. A single frame without error,
#: whose PSNR is infinite, must not dominate a clip's mean.
EQUAL = 60.0

#: The side of SSIM's window, and the weights of MS-SSIM's scales (Wang et al., 2003), fine to coarse.
WINDOW, SCALES = 11, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def frame_quality(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """PSNR in dB, SSIM and mean absolute difference of each frame, (B,), by the names "psnr", "ssim" and "l1".

    A frame without error has an infinite PSNR. SSIM is Wang's, with an 11 x 11 Gaussian window (σ = 1.5).

    Args:
        output, target: (B, 3, H, W) in [0, 1], H and W at least 11, the window's size.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    check_frames(output, target)
    functional = require("torchmetrics.functional.image", "measuring frames")
    output, target = output.detach().float(), target.detach().float()
    psnr, ssim = functional.peak_signal_noise_ratio, functional.structural_similarity_index_measure
    return {
        "psnr": psnr(output, target, data_range=1.0, dim=(1, 2, 3), reduction="none"),
        "ssim": ssim(output, target, data_range=1.0, reduction="none").reshape(-1),
        "l1": (output - target).abs().mean((1, 2, 3)),
    }


def scales_of(side: int) -> int:
    """How many of MS-SSIM's five scales can be used for this size: a window must still fit at the coarsest.

    The square is torchmetrics' own condition, which is slightly stricter for four scales.
    """
    fit = [count for count in range(1, len(SCALES) + 1) if side // max(2 ** (count - 1), (count - 1) ** 2) >= WINDOW]
    return max(fit, default=1)


def multi_scale_ssim(output: Tensor, target: Tensor) -> Tensor:
    """MS-SSIM of each frame, (B,), with :func:`scales_of` scales, whose weights are normalised to a sum of 1.

    Args:
        output, target: (B, 3, H, W) in [0, 1].
    """
    check_frames(output, target)
    functional = require("torchmetrics.functional.image", "measuring frames")
    weights = SCALES[: scales_of(min(output.shape[2:]))]
    betas = tuple(weight / sum(weights) for weight in weights)
    measured: Tensor = functional.multiscale_structural_similarity_index_measure(
        output.detach().float(),
        target.detach().float(),
        data_range=1.0,
        betas=betas,
        normalize="relu",
        reduction="none",
    )
    return measured.reshape(-1)


class FrameMetrics:
    """Means over frames of :func:`frame_quality`.

    PSNR is computed for each frame: the PSNR of the mean squared error would be dominated by the worst frames.

    Args:
        prefix: of the names "psnr", "ssim" and "l1" in the result.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """

    def __init__(self, prefix: str = "") -> None:
        require("torchmetrics.functional.image", "measuring frames")
        self.prefix = prefix
        self.means = Means(("psnr", "ssim", "l1"))

    def reset(self) -> None:
        """Forget all frames."""
        self.means.reset()

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add frames: output and target are (B, 3, H, W) in [0, 1]; H and W are at least 11, the window's size."""
        self.means.add(**frame_quality(output, target))

    def compute(self) -> dict[str, float]:
        """The means over all frames since the last reset, of this process; see :class:`Means`."""
        return {self.prefix + name: value for name, value in self.means.compute().items()}


class FrameQuality(Measure):
    """PSNR, L1, SSIM and MS-SSIM of each frame of a clip.

    Args:
        size: of the shorter side of the frames.
    """

    def __init__(self, size: int) -> None:
        require("torchmetrics.functional.image", "measuring frames")
        scales = scales_of(size)
        several = "MS-SSIM" if scales == len(SCALES) else f"MS-SSIM ({scales} scales)"
        self.columns = (
            Column("psnr", "PSNR, dB", "higher", f"peak signal-to-noise ratio, at most {EQUAL:g}"),
            Column("l1", "L1", "lower", "mean absolute difference, of 1"),
            Column("ssim", "SSIM", "higher", "structural similarity, an 11 × 11 Gaussian window"),
            Column("ms_ssim", several, "higher", f"the same at {scales} scales"),
        )
        self.reset()

    def reset(self) -> None:
        self._curves: dict[str, Curve] = {column.key: [] for column in self.columns}

    def update(self, generated: Tensor, reference: Tensor) -> None:
        measured = frame_quality(generated, reference) | {"ms_ssim": multi_scale_ssim(generated, reference)}
        for name, value in measured.items():
            self._curves[name].append(min(float(value), EQUAL))

    def curves(self) -> dict[str, Curve]:
        return self._curves


def check_frames(output: Tensor, target: Tensor) -> None:
    """Raise a ValueError for frames that cannot be measured."""
    if output.dim() != 4 or output.shape[1] != 3 or min(output.shape[2:]) < WINDOW:
        raise ValueError(f"output has shape {tuple(output.shape)}, expected (B, 3, H, W), H and W at least {WINDOW}")
    if target.shape != output.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}, output has {tuple(output.shape)}")
