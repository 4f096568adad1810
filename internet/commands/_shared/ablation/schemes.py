"""The schemes of the paper's Table 2, and of its future work, as changes to one configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scheme:
    """A row of the table: its name there, and what it changes, by dotted names of settings."""

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def _scheme(title: str, scales: str, regularization: str, **more: Any) -> Scheme:
    return Scheme(title, {"model.scales": scales, "loss.regularization": regularization, **more})


#: Schemes by their names for `--schemes`.
SCHEMES = {
    "fom": Scheme(
        "FoM",  # features warped at one scale, no temporal loss, least squares and feature matching, no style loss
        {
            "model.scales": "single",
            "loss.regularization": "none",
            "loss.adversarial": "lsgan",
            "loss.weights.feature_matching": 10,
            "loss.weights.style": 0,
        },
    ),
    "ss4x-a": _scheme("SS4x a", "single", "flow"),
    "ss4x-b": _scheme("SS4x b", "single", "extrinsic"),
    "ss4x-c": _scheme("SS4x c", "single", "intrinsic"),
    "ms-a": _scheme("MS a", "multi", "flow"),
    "ms-b": _scheme("MS b", "multi", "extrinsic"),
    "ms-c": _scheme("MS c", "multi", "intrinsic"),
    "ms-c-multiscale": _scheme("MS c, loss at 3 scales", "multi", "intrinsic", **{"loss.temporal_scales": 3}),
    "ms-c-cross": _scheme("MS c, cross-identity flow", "multi", "intrinsic", **{"loss.weights.cross_identity": 10}),
}

#: The schemes of Table 2, and those of the paper's last paragraph.
TABLE_2 = tuple(name for name in SCHEMES if not name.startswith("ms-c-"))

#: Table 2 as printed: MS-SSIM, FID, LPIPS, Interp-PSNR, Act-Recog-L1. It has no row MS a.
PAPER: dict[str, tuple[float, ...]] = {
    "fom": (0.895, 91.577, 0.121, 23.048, 97.722),
    "ss4x-a": (0.879, 87.718, 0.098, 23.298, 97.916),
    "ss4x-b": (0.911, 74.399, 0.079, 23.056, 96.645),
    "ss4x-c": (0.919, 73.915, 0.075, 23.025, 91.918),
    "ms-b": (0.951, 41.801, 0.041, 23.412, 76.358),
    "ms-c": (0.960, 36.451, 0.035, 24.245, 72.844),
}
PAPER_COLUMNS = ("MS-SSIM", "FID", "LPIPS", "Interp-PSNR", "Act-Recog-L1")

#: (better, worse): the orders that the paper claims, c > b > a and MS > SS4x, and the questions of its future work.
ORDERS = (
    ("ss4x-b", "ss4x-a"),
    ("ss4x-c", "ss4x-b"),
    ("ms-b", "ms-a"),
    ("ms-c", "ms-b"),
    ("ms-a", "ss4x-a"),
    ("ms-b", "ss4x-b"),
    ("ms-c", "ss4x-c"),
    ("ss4x-a", "fom"),
    ("ms-c-multiscale", "ms-c"),
    ("ms-c-cross", "ms-c"),
)
