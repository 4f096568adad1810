"""What a model costs: parameters, multiply-adds and memory, counted on the meta device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from internet.model.config import INTERnetConfig
from internet.model.internet import INTERnet, make_discriminator


def model_cost(config: INTERnetConfig) -> dict[str, dict[str, Any]]:
    """Parameters, multiply-adds and activation memory for one frame of the config's size; "- " marks parts of a total.

    Tensors have shapes but no values, so even the largest preset takes only a second.
    Multiply-adds are those of convolutions; `internet.ops` needs a few per value it reads and is not counted.
    Activation memory is what the forward pass of one training sample saves for the backward pass, in float32.
    """
    with torch.device("meta"):
        model, discriminator = INTERnet(config), make_discriminator(config)
        frame = torch.empty(1, 3, config.size, config.size)
    anchors = model.kp_detector(frame)
    motion = model.dense_motion_network(frame, anchors, anchors)
    features = model.generator.encode(frame)
    runs: dict[str, Callable[[], object]] = {
        "each source": lambda: (model.kp_detector(frame), model.generator.encode(frame)),
        "each driving frame": lambda: model.imitate(
            frame, anchors, features, model.kp_detector(frame), model.background_motion(frame, frame)
        ),
        "- anchors": lambda: model.kp_detector(frame),
        "- background": lambda: model.background_motion(frame, frame),
        "- motion": lambda: model.dense_motion_network(frame, anchors, anchors),
        "- generator": lambda: model.generator(features, motion),
        "discriminator": lambda: discriminator(frame),
    }
    modules = {
        "model": model,
        "- anchors": model.kp_detector,
        "- background": model.background_predictor,
        "- motion": model.dense_motion_network,
        "- generator": model.generator,
        "discriminator": discriminator,
    }
    if model.background_predictor is None:
        del runs["- background"]
    return {
        "parameters": {name: parameters(module) for name, module in modules.items() if module is not None},
        "multiply-adds": {name: multiply_adds(run) for name, run in runs.items()},
        "activation bytes": {
            "model": activation_bytes(model, lambda: model(frame, frame)),
            "discriminator": activation_bytes(discriminator, lambda: discriminator(frame)),
        },
    }


def parameters(module: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(run: Callable[[], object]) -> int:
    """The multiply-adds of the convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() // 2


def activation_bytes(module: nn.Module, run: Callable[[], object]) -> int:
    """The memory that autograd saves during a call, each storage once, without parameters and buffers."""
    own = {_storage(value) for value in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}  # the tensors themselves, so that no storage is freed and counted as another

    def keep(saved: Tensor) -> Tensor:
        kept.setdefault(_storage(saved), saved)
        return saved

    with saved_tensors_hooks(keep, lambda saved: saved):
        run()
    return sum(saved.untyped_storage().nbytes() for key, saved in kept.items() if key not in own)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
