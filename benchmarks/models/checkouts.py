"""Checkouts of other people's models: how to recognise and build them, and how their demos and trainings call them."""

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Checkout(ABC):
    """One model. Subclasses define how it is recognised, built and called."""

    name = ""
    marker = ""
    """A file that none of the other repositories has."""
    holders: tuple[str, ...] = ()
    """The classes whose own code makes up the part (see `parts.py`)."""
    side = 256
    parity_side: int | None = None
    """The side of images for gradients in float64, if full size needs too much memory; with `model(small=True)`."""

    def __init__(self, repo: Path, device: torch.device) -> None:
        self.repo, self.device = repo, device
        sys.path.insert(0, str(repo))

    @abstractmethod
    def model(self, small: bool = False) -> nn.Module:
        """The model with random weights, on the CPU."""

    @abstractmethod
    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        """The function that makes one frame; what is computed once per video is computed here."""

    @abstractmethod
    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        """Forward and backward of all networks, with a loss on the picture alone."""

    def images(self, side: int | None = None) -> tuple[Tensor, Tensor]:
        """Two smooth random images."""
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(2, 3, 8, 8, generator=generator).to(self.device)
        fine = F.interpolate(coarse, (side or self.side,) * 2, mode="bicubic", align_corners=True).clamp(0, 1)
        return fine[:1], fine[1:]

    def config(self, path: str) -> dict[str, Any]:
        import yaml

        return yaml.safe_load((self.repo / path).read_text(encoding="utf-8"))["model_params"]


def _loss(prediction: Tensor, driving: Tensor) -> None:
    (prediction - F.interpolate(driving, prediction.shape[2:])).abs().mean().backward()


class FirstOrder(Checkout):
    name = "first-order-motion, vox-256"
    marker = "modules/keypoint_detector.py"
    holders = ("KPDetector", "DenseMotionNetwork", "OcclusionAwareGenerator", "DepthAwareGenerator")
    config_file = "config/vox-256.yaml"

    def model(self, small: bool = False) -> nn.Module:
        config = self.config(self.config_file)
        detector = importlib.import_module("modules.keypoint_detector").KPDetector
        common = config["common_params"]
        return nn.ModuleDict(
            {
                "kp_detector": detector(**config["kp_detector_params"], **self._detector_params(common)),
                "generator": self._generator()(**config["generator_params"], **common),
            }
        )

    def _generator(self) -> Callable[..., nn.Module]:
        return importlib.import_module("modules.generator").OcclusionAwareGenerator

    def _detector_params(self, common: dict[str, Any]) -> dict[str, Any]:
        return common

    def _generated(self, model: Any, source: Tensor, kp_source: Any, driving: Tensor) -> Mapping[str, Tensor]:
        return model["generator"](source, kp_source=kp_source, kp_driving=model["kp_detector"](driving))

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        with torch.no_grad():
            kp_source = model.eval()["kp_detector"](source)
        return lambda: self._generated(model, source, kp_source, driving)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        def call() -> None:
            made = self._generated(model, source, model["kp_detector"](source), driving)
            _loss(made["prediction"], driving)

        return call


class DaGAN(FirstOrder):
    name = "DaGAN, vox-adv-256"
    marker = "modules/dynamic_conv.py"
    config_file = "config/vox-adv-256.yaml"

    def _generator(self) -> Callable[..., nn.Module]:
        return importlib.import_module("modules.generator").DepthAwareGenerator

    def _detector_params(self, common: dict[str, Any]) -> dict[str, Any]:
        return {**common, "num_channels": 4}

    def _with_depth(self, image: Tensor) -> Tensor:
        """The image with its brightness in place of depth; the depth network is not used here."""
        return torch.cat([image, image.mean(1, keepdim=True)], 1)

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        both = self._with_depth(source)
        with torch.no_grad():
            kp_source = model.eval()["kp_detector"](both)
        depth = both[:, 3:].clone()
        return lambda: self._painted(model, source, depth, kp_source, driving)

    def _painted(self, model: Any, source: Tensor, depth: Tensor, kp_source: Any, driving: Tensor) -> Any:
        both = self._with_depth(driving)
        return model["generator"](
            source,
            kp_source=kp_source,
            kp_driving=model["kp_detector"](both),
            source_depth=depth,
            driving_depth=both[:, 3:],
        )

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        def call() -> None:
            both = self._with_depth(source)
            made = self._painted(model, source, both[:, 3:], model["kp_detector"](both), driving)
            _loss(made["prediction"], driving)

        return call


class Articulated(Checkout):
    name = "articulated-animation, taichi256"
    marker = "modules/pixelwise_flow_predictor.py"
    holders = ("Generator", "PixelwiseFlowPredictor", "RegionPredictor")

    def model(self, small: bool = False) -> nn.Module:
        config = self.config("config/taichi256.yaml")
        sizes = {name: config[name] for name in ("num_regions", "num_channels")}
        generator = importlib.import_module("modules.generator").Generator
        predictor = importlib.import_module("modules.region_predictor").RegionPredictor
        background = importlib.import_module("modules.bg_motion_predictor").BGMotionPredictor
        return nn.ModuleDict(
            {
                "generator": generator(
                    **config["generator_params"], **sizes, revert_axis_swap=config["revert_axis_swap"]
                ),
                "region_predictor": predictor(
                    **config["region_predictor_params"], **sizes, estimate_affine=config["estimate_affine"]
                ),
                "bg_predictor": background(num_channels=sizes["num_channels"], **config["bg_predictor_params"]),
            }
        )

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        with torch.no_grad():
            regions = model.eval()["region_predictor"](source)
        return lambda: model["generator"](
            source, source_region_params=regions, driving_region_params=model["region_predictor"](driving)
        )

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        def call() -> None:
            made = model["generator"](
                source,
                source_region_params=model["region_predictor"](source),
                driving_region_params=model["region_predictor"](driving),
                bg_params=model["bg_predictor"](source, driving),
            )
            _loss(made["prediction"], driving)

        return call


class ThinPlate(Checkout):
    name = "thin-plate-spline motion, vox-256"
    marker = "modules/inpainting_network.py"
    holders = ("DenseMotionNetwork", "InpaintingNetwork")

    def model(self, small: bool = False) -> nn.Module:
        _stand_in("torchvision", models=ModuleType("models"))  # for the ResNet of its key points, which is not timed
        config = self.config("config/vox-256.yaml")
        common = config["common_params"]
        motion = importlib.import_module("modules.dense_motion").DenseMotionNetwork
        inpainting = importlib.import_module("modules.inpainting_network").InpaintingNetwork
        return nn.ModuleDict(
            {
                "dense_motion_network": motion(**config["dense_motion_params"], **common),
                "inpainting_network": inpainting(**config["generator_params"], **common),
                "points": nn.Embedding(2, common["num_tps"] * 10),
            }
        )

    def _generated(self, model: Any, source: Tensor) -> Mapping[str, Any]:
        points = [{"fg_kp": torch.tanh(row).view(1, -1, 2)} for row in _two_alike(model)]
        motion = model["dense_motion_network"](
            source_image=source, kp_driving=points[0], kp_source=points[1], bg_param=None, dropout_flag=False
        )
        return model["inpainting_network"](source, motion)

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        return lambda: self._generated(model, source)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        def call() -> None:
            made = self._generated(model, source)
            apart = sum(level.mean() for level in made["warped_encoder_maps"])  # used by its warp loss
            (apart + (made["prediction"] - driving).abs().mean()).backward()

        return call


class LIA(Checkout):
    name = "LIA, 256"
    marker = "networks/styledecoder.py"
    holders = ("ToFlow",)

    def model(self, small: bool = False) -> nn.Module:
        if self.device.type == "cpu":  # it asks for a GPU
            torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
        return importlib.import_module("networks.generator").Generator(256)

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        with torch.no_grad():
            start = model.eval().enc.enc_motion(driving)
        return lambda: model(source, driving, start)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        return lambda: _loss(model(source, driving), driving)


class EDTalk(LIA):
    name = "EDTalk, 256"
    marker = "networks/audio_encoder.py"

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        expression = source.new_zeros(1, model.exp_dim)
        return lambda: model.test_EDTalk_V_use_exp_weight(source, driving, driving, expression, None)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        return lambda: _loss(model.test_EDTalk_V(source, driving, driving, driving), driving)


class FaceVid2Vid(Checkout):
    name = "face-vid2vid, vox-256"
    marker = "modules/hopenet.py"
    holders = ("DenseMotionNetwork", "OcclusionAwareSPADEGenerator")
    parity_side = 64
    package, config_file = "modules", "config/vox-256.yaml"

    def model(self, small: bool = False) -> nn.Module:
        config = self.config(self.config_file)
        params, common = config["generator_params"], config["common_params"]
        if small:
            params["dense_motion_params"] = {**params["dense_motion_params"], "block_expansion": 8, "num_blocks": 3}
        generator = importlib.import_module(f"{self.package}.generator").OcclusionAwareSPADEGenerator
        return nn.ModuleDict(
            {"generator": generator(**params, **common), "points": nn.Embedding(2, 3 * common["num_kp"])}
        )

    def _generated(self, model: Any, source: Tensor) -> Mapping[str, Tensor]:
        driving, origin = ({"value": points} for points in _points(model, 3))
        return model["generator"](source, kp_source=origin, kp_driving=driving)

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        return lambda: self._generated(model, source)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        return lambda: _loss(self._generated(model, source)["prediction"], driving)


class SadTalker(FaceVid2Vid):
    name = "SadTalker, 256"
    marker = "src/facerender/modules/make_animation.py"
    package, config_file = "src.facerender.modules", "src/config/facerender.yaml"


class LivePortrait(Checkout):
    name = "LivePortrait"
    marker = "src/modules/warping_network.py"
    holders = ("WarpingNetwork", "DenseMotionNetwork")
    side = 64
    parity_side = 16

    def model(self, small: bool = False) -> nn.Module:
        config = self.config("src/config/models.yaml")
        params = config["warping_module_params"]
        if small:
            params["dense_motion_params"] = {**params["dense_motion_params"], "block_expansion": 8, "num_blocks": 3}
        warping = importlib.import_module("src.modules.warping_network").WarpingNetwork
        decoder = importlib.import_module("src.modules.spade_generator").SPADEDecoder
        return nn.ModuleDict(
            {
                "warping_module": warping(**params),
                "spade_generator": decoder(**config["spade_generator_params"]),
                "points": nn.Embedding(2, 3 * params["num_kp"]),
            }
        )

    def images(self, side: int | None = None) -> tuple[Tensor, Tensor]:
        """A volume of features, which its pipeline computes once per clip, and a target picture."""
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(1, 32, 4, 8, 8, generator=generator).to(self.device)
        size = (16, side or self.side, side or self.side)
        volume = F.interpolate(coarse, size, mode="trilinear", align_corners=True)
        return volume, super().images(side)[1]

    def _generated(self, model: Any, volume: Tensor) -> Mapping[str, Tensor]:
        driving, origin = (torch.tanh(row).view(1, -1, 3) for row in _two_alike(model))
        made = model["warping_module"](volume, kp_source=origin, kp_driving=driving)
        return {**made, "out": model["spade_generator"](feature=made["out"])}

    def frame(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], Any]:
        return lambda: self._generated(model, source)

    def step(self, model: Any, source: Tensor, driving: Tensor) -> Callable[[], None]:
        return lambda: _loss(self._generated(model, source)["out"], driving)


def _two_alike(model: Any) -> tuple[Tensor, Tensor]:
    """Random key points before `tanh`; a little less far from the centre in the second row."""
    first, second = model["points"].weight
    return first, 0.9 * second


def _points(model: Any, axes: int) -> list[Tensor]:
    """Random key points of two slightly different images; they require gradients, as a detector's would."""
    first, change = model["points"].weight
    return [torch.tanh(row).view(1, -1, axes) for row in (first, first + 0.1 * change)]


def _stand_in(name: str, **attributes: Any) -> None:
    """Install a stub for a package that their code imports but does not use here."""
    module = sys.modules.setdefault(name, ModuleType(name))
    for attribute, value in attributes.items():
        if not hasattr(module, attribute):
            setattr(module, attribute, value)


KNOWN: tuple[type[Checkout], ...] = (
    DaGAN, Articulated, ThinPlate, EDTalk, LIA, FaceVid2Vid, SadTalker, LivePortrait, FirstOrder,
)  # fmt: skip
"""In the order in which they are tried: DaGAN and EDTalk also have the files of the models they are derived from."""


def checkout_of(repo: Path, device: torch.device) -> Checkout:
    """The model that a folder is a checkout of.

    Raises:
        SystemExit: it is not one of these models.
    """
    for kind in KNOWN:
        if (repo / kind.marker).is_file():
            return kind(repo, device)
    raise SystemExit(
        f"{repo} is not a checkout that is known here: it has none of {', '.join(k.marker for k in KNOWN)}"
    )
