"""First-order-motion according to its paper and its YAML files: a checkpoint with random weights, and its formulas.

Written in plain torch, only from the tensors of a checkpoint, by their names.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

#: The settings of ``vox-256``.
VOX: dict[str, Any] = {
    "dataset_params": {"frame_shape": [256, 256, 3], "root_dir": "data/vox-png"},
    "model_params": {
        "common_params": {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True},
        "kp_detector_params": {
            "temperature": 0.1,
            "block_expansion": 32,
            "max_features": 1024,
            "scale_factor": 0.25,
            "num_blocks": 5,
        },
        "generator_params": {
            "block_expansion": 64,
            "max_features": 512,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": 6,
            "estimate_occlusion_map": True,
            "dense_motion_params": {
                "block_expansion": 64,
                "max_features": 1024,
                "num_blocks": 5,
                "scale_factor": 0.25,
            },
        },
        "discriminator_params": {"scales": [1], "block_expansion": 32},
    },
    "train_params": {"num_epochs": 100},
}

COMMON, DETECTOR, GENERATOR = "common_params", "kp_detector_params", "generator_params"
MOTION = f"{GENERATOR}.dense_motion_params"

#: Changes that make ``vox-256`` small.
SMALL = {
    f"{COMMON}.num_kp": 3,
    f"{DETECTOR}.block_expansion": 4,
    f"{DETECTOR}.max_features": 12,
    f"{DETECTOR}.num_blocks": 2,
    f"{MOTION}.block_expansion": 4,
    f"{MOTION}.max_features": 16,
    f"{MOTION}.num_blocks": 2,
    f"{GENERATOR}.block_expansion": 4,
    f"{GENERATOR}.max_features": 12,
    f"{GENERATOR}.num_bottleneck_blocks": 2,
}


def settings(changes: dict[str, Any] | None = None, *, size: int = 64) -> dict[str, Any]:
    """The small settings, with changes by dotted names below `model_params`; None removes a setting."""
    made = copy.deepcopy(VOX)
    made["dataset_params"]["frame_shape"] = [size, size, 3]
    for name, value in (SMALL | (changes or {})).items():
        *sections, last = name.split(".")
        section = made["model_params"]
        for each in sections:
            section = section[each]
        section[last] = value
        if value is None:
            del section[last]
    return made


# A checkpoint


def convolution(name: str, outputs: int, inputs: int, size: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def norm(name: str, channels: int) -> Shapes:
    parts = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**parts, f"{name}.num_batches_tracked": ()}


def block(name: str, outputs: int, inputs: int, size: int = 3) -> Shapes:
    return convolution(f"{name}.conv", outputs, inputs, size) | norm(f"{name}.norm", outputs)


def hourglass(name: str, inputs: int, params: dict[str, Any]) -> tuple[Shapes, int]:
    """Its shapes, and its number of output channels."""
    widths = [min(params["max_features"], params["block_expansion"] * 2**i) for i in range(params["num_blocks"] + 1)]
    shapes: Shapes = {}
    for i in range(params["num_blocks"]):
        shapes |= block(f"{name}.encoder.down_blocks.{i}", widths[i + 1], widths[i] if i else inputs)
    for i in range(params["num_blocks"]):
        level = params["num_blocks"] - i
        doubled = widths[level] * (2 if i else 1)
        shapes |= block(f"{name}.decoder.up_blocks.{i}", widths[level - 1], doubled)
    return shapes, widths[0] + inputs


def blur(channels: int, scale: float) -> Tensor:
    sigma = (1 / scale - 1) / 2
    radius = round(4 * sigma)
    line = torch.tensor([math.exp(-(x**2) / (2 * sigma**2)) for x in range(-radius, radius + 1)])
    kernel = line[:, None] * line
    return (kernel / kernel.sum()).expand(channels, 1, -1, -1).clone()


def random_weights(shapes: Shapes) -> dict[str, Tensor]:
    """Weights scaled so that activations neither vanish nor explode, and positive variances."""
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(100)
        elif name.endswith(("running_var", "norm.weight", "norm1.weight", "norm2.weight")):
            weights[name] = 0.5 + torch.rand(shape)
        elif len(shape) == 4:
            weights[name] = torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5
        else:
            weights[name] = 0.1 * torch.randn(shape)
    return weights


def checkpoint(settings: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as saved by training with these settings, with random weights."""
    params = settings["model_params"]
    common, detector, generator = params[COMMON], params[DETECTOR], params[GENERATOR]
    motion = generator["dense_motion_params"]
    keys, channels = common["num_kp"], common["num_channels"]

    shapes, features = hourglass("predictor", channels, detector)
    shapes |= convolution("kp", keys, features, 7)
    maps = (1 if detector.get("single_jacobian_map") else keys) if common["estimate_jacobian"] else 0
    shapes |= convolution("jacobian", 4 * maps, features, 7) if maps else {}
    found = random_weights(shapes) | _blur("down", channels, detector)
    if maps:  # Jacobians that can be inverted
        found["jacobian.weight"] *= 0.3
        found["jacobian.bias"] = torch.eye(2).flatten().repeat(maps)

    shapes, features = hourglass("dense_motion_network.hourglass", (keys + 1) * (channels + 1), motion)
    shapes |= convolution("dense_motion_network.mask", keys + 1, features, 7)
    if generator["estimate_occlusion_map"]:
        shapes |= convolution("dense_motion_network.occlusion", 1, features, 7)
    made = random_weights(shapes | _generator_shapes(generator, channels))
    return {
        "generator": made | _blur("dense_motion_network.down", channels, motion),
        "kp_detector": found,
        "discriminator": {"discs.1.conv.weight": torch.zeros(1)},
        "epoch": 100,
    }


def _generator_shapes(params: dict[str, Any], channels: int) -> Shapes:
    count = params["num_down_blocks"]
    widths = [min(params["max_features"], params["block_expansion"] * 2**i) for i in range(count + 1)]
    shapes = block("first", widths[0], channels, 7)
    for i in range(count):
        shapes |= block(f"down_blocks.{i}", widths[i + 1], widths[i])
        shapes |= block(f"up_blocks.{i}", widths[count - i - 1], widths[count - i])
    for i in range(params["num_bottleneck_blocks"]):
        for n in (1, 2):
            shapes |= convolution(f"bottleneck.r{i}.conv{n}", widths[-1], widths[-1], 3)
            shapes |= norm(f"bottleneck.r{i}.norm{n}", widths[-1])
    return shapes | convolution("final", channels, widths[0], 7)


def _blur(name: str, channels: int, params: dict[str, Any]) -> dict[str, Tensor]:
    scale = params.get("scale_factor", 1)
    return {f"{name}.weight": blur(channels, scale)} if scale != 1 else {}


# The formulas


class Formulas:
    """First-order-motion in evaluation mode.

    Args:
        settings: of the YAML file.
        checkpoint: its weights.
        align_corners: of `grid_sample`.
    """

    def __init__(self, settings: dict[str, Any], checkpoint: dict[str, Any], align_corners: bool = False) -> None:
        params = settings["model_params"]
        self.common, self.detector, self.generator = params[COMMON], params[DETECTOR], params[GENERATOR]
        self.motion_params = self.generator["dense_motion_params"]
        self.w: dict[str, Tensor] = {f"kp_detector.{k}": v for k, v in checkpoint["kp_detector"].items()}
        self.w |= {f"generator.{k}": v for k, v in checkpoint["generator"].items()}
        self.align_corners = align_corners

    def __call__(self, source: Tensor, driving: Tensor) -> dict[str, Tensor]:
        kp, jac = zip(self.anchors(source), self.anchors(driving), strict=True)
        field, occlusion = self.motion(source, list(kp), list(jac))
        return {"kp": kp[1], "field": field, "occlusion": occlusion, "frame": self.painted(source, field, occlusion)}

    def convolved(self, name: str, x: Tensor, padding: int) -> Tensor:
        return F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], padding=padding)

    def normalised(self, name: str, x: Tensor) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.relu(F.batch_norm(x, *(self.w[f"{name}.{part}"] for part in parts)))

    def block(self, name: str, x: Tensor, padding: int = 1) -> Tensor:
        return self.normalised(f"{name}.norm", self.convolved(f"{name}.conv", x, padding))

    def hourglass(self, name: str, x: Tensor, params: dict[str, Any]) -> Tensor:
        levels = [x]
        for i in range(params["num_blocks"]):
            levels.append(F.avg_pool2d(self.block(f"{name}.encoder.down_blocks.{i}", levels[-1]), 2))
        x = levels.pop()
        for i in range(params["num_blocks"]):
            x = self.block(f"{name}.decoder.up_blocks.{i}", F.interpolate(x, scale_factor=2))
            x = torch.cat([x, levels.pop()], dim=1)
        return x

    def small(self, name: str, x: Tensor, params: dict[str, Any]) -> Tensor:
        scale = params.get("scale_factor", 1)
        if scale == 1:
            return x
        kernel = self.w[f"{name}.weight"]
        every = int(1 / scale)
        return F.conv2d(F.pad(x, [kernel.shape[-1] // 2] * 4), kernel, groups=x.shape[1])[:, :, ::every, ::every]

    def anchors(self, frame: Tensor) -> tuple[Tensor, Tensor | None]:
        name, params = "kp_detector", self.detector
        features = self.hourglass(f"{name}.predictor", self.small(f"{name}.down", frame, params), params)
        logits = self.convolved(f"{name}.kp", features, params.get("pad", 0))
        heat = F.softmax(logits.flatten(2) / params["temperature"], dim=2).view_as(logits)
        kp = (heat[..., None] * grid(logits)).sum((2, 3))
        if not self.common["estimate_jacobian"]:
            return kp, None
        maps = self.convolved(f"{name}.jacobian", features, params.get("pad", 0)).unflatten(1, (-1, 4))
        return kp, (heat[:, :, None] * maps).sum((3, 4)).unflatten(2, (2, 2))

    def motion(self, source: Tensor, kp: list[Tensor], jac: list[Any]) -> tuple[Tensor, Tensor | None]:
        name, params = "generator.dense_motion_network", self.motion_params
        small = self.small(f"{name}.down", source, params)
        points = grid(small)
        variance = params.get("kp_variance", 0.01)
        gaussians = [torch.exp(-0.5 * ((points - p[:, :, None, None]) ** 2).sum(-1) / variance) for p in kp]
        heat = torch.cat([torch.zeros_like(small[:, :1]), gaussians[1] - gaussians[0]], dim=1)
        offset = points - kp[1][:, :, None, None]
        if jac[0] is not None:
            offset = ((jac[0] @ torch.inverse(jac[1]))[:, :, None, None] @ offset[..., None])[..., 0]
        motions = offset + kp[0][:, :, None, None]
        motions = torch.cat([points.expand(len(small), 1, -1, -1, -1), motions], dim=1)
        moved = [self.sampled(small, motions[:, k]) for k in range(motions.shape[1])]
        features = torch.cat([heat[:, :, None], torch.stack(moved, 1)], dim=2).flatten(1, 2)
        features = self.hourglass(f"{name}.hourglass", features, params)
        mask = self.convolved(f"{name}.mask", features, 3).softmax(dim=1)
        field = (motions * mask[..., None]).sum(1)
        if not self.generator["estimate_occlusion_map"]:
            return field, None
        return field, self.convolved(f"{name}.occlusion", features, 3).sigmoid()

    def painted(self, source: Tensor, field: Tensor, occlusion: Tensor | None) -> Tensor:
        x = self.block("generator.first", source, padding=3)
        for i in range(self.generator["num_down_blocks"]):
            x = F.avg_pool2d(self.block(f"generator.down_blocks.{i}", x), 2)
        x = self.sampled(x, resized(field.permute(0, 3, 1, 2), x).permute(0, 2, 3, 1))
        x = x if occlusion is None else x * resized(occlusion, x)
        for i in range(self.generator["num_bottleneck_blocks"]):
            name, inner = f"generator.bottleneck.r{i}", x
            for n in (1, 2):
                inner = self.convolved(f"{name}.conv{n}", self.normalised(f"{name}.norm{n}", inner), 1)
            x = x + inner
        for i in range(self.generator["num_down_blocks"]):
            x = self.block(f"generator.up_blocks.{i}", F.interpolate(x, scale_factor=2))
        return self.convolved("generator.final", x, 3).sigmoid()

    def sampled(self, image: Tensor, field: Tensor) -> Tensor:
        return F.grid_sample(image, field, align_corners=self.align_corners)


def grid(like: Tensor) -> Tensor:
    height, width = like.shape[2:]
    x = 2 * torch.arange(width, dtype=like.dtype) / (width - 1) - 1
    y = 2 * torch.arange(height, dtype=like.dtype) / (height - 1) - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def resized(map_: Tensor, like: Tensor) -> Tensor:
    if map_.shape[2:] == like.shape[2:]:
        return map_
    return F.interpolate(map_, size=like.shape[2:], mode="bilinear", align_corners=False)


def frames(settings: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A source and a driving frame, smooth, wider than high where that is possible."""
    size, channels = settings["dataset_params"]["frame_shape"][0], settings["model_params"][COMMON]["num_channels"]
    coarse = torch.rand(2, 1, channels, 12, 12, dtype=dtype)
    return tuple(F.interpolate(each, size=(size, 2 * size), mode="bilinear") for each in coarse)
