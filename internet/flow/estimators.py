"""Optical flow estimators by name, each with an identity that distinguishes its results from others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from internet.flow.deepflow import deepflow
from internet.flow.dis import PRESETS, dis_flow
from internet.flow.raft import Raft
from internet.utils.optional import require


@dataclass(frozen=True)
class FlowEstimator:
    """A function from two images (B, 3, H, W) in [0, 1] to the flow (B, 2, H, W) between them, in pixels.

    ``identity`` names the method, its options and its version: two estimators with the same identity give the same
    flows, so a cache may use either.
    """

    identity: str
    function: Callable[[Tensor, Tensor], Tensor] = field(repr=False)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self.function(first, second)


def _dis(preset: str = "medium") -> FlowEstimator:
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    return FlowEstimator(f"dis:{preset}:{_opencv_version()}", lambda a, b: dis_flow(a, b, preset=preset))


def _deepflow() -> FlowEstimator:
    return FlowEstimator(f"deepflow:{_opencv_version()}", deepflow)


def _raft(**options: Any) -> FlowEstimator:
    network = Raft(**options)
    return FlowEstimator(network.identity, network)


def _opencv_version() -> str:
    return f"opencv-{require('cv2', 'optical flow').__version__}"


ESTIMATORS: dict[str, Callable[..., FlowEstimator]] = {"dis": _dis, "deepflow": _deepflow, "raft": _raft}


def flow_estimator(name: str = "dis", **options: Any) -> FlowEstimator:
    """An estimator by name.

    Args:
        name: "dis" (fast, the default), "deepflow" (slower, more accurate) or "raft" (torchvision's network).
        options: `preset` of DIS; `weights`, `device` and `updates` of RAFT.

    Raises:
        ValueError: an unknown name or option value.
        TypeError: an option that the estimator does not have.
        MissingExtraError: a package is not installed.
        FileNotFoundError: RAFT has no weights.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"flow estimator must be one of {', '.join(ESTIMATORS)}; got {name!r}")
    return ESTIMATORS[name](**options)
