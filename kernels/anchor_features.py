"""What a dense-motion network receives of each anchor: the difference of two Gaussians, and the moved source.

First the anchors' maps are computed (anchor_features_maps.py), a few numbers each; a program then computes a block of
pixels, or voxels, for one anchor. The backward kernel stores sums over its blocks, from which the gradients follow.
"""

import math

import torch
import triton
from torch import Tensor

from internet.kernels.anchor_features_backward import backward
from internet.kernels.anchor_features_forward import forward_channels_last, forward_planes
from internet.kernels.anchor_features_maps import Conventions, Points, fill_gradients, make_maps, sums_of_a_motion
from internet.kernels.confidence_warp import channels_lie_last
from internet.kernels.launch import accumulator, compute_type, grid, index_type
from internet.kernels.registry import alert_not_deterministic, operator
from internet.kernels.strided import strided
from internet.ops.results import empty, like_or_empty, memory_format_of


@operator
def anchor_features(
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
) -> Tensor:
    batch, channels, *size = source.shape
    motions = kp_source.shape[1] + 1
    shape = (batch, motions * (1 + channels), *size)
    output = torch.empty(shape, dtype=source.dtype, device=source.device, memory_format=memory_format_of(source))
    if not output.numel():
        return output
    points = Points(kp_source, kp_driving, jac_source, jac_driving, background, covariance_source, covariance_driving)
    x_first = tuple(size[::-1])
    maps = make_maps(points, x_first, Conventions(align_corners, grid_align_corners))
    kernel = forward_channels_last if channels_lie_last(source) else forward_planes
    kernel[lambda chosen: grid(batch * motions, math.prod(size), chosen["BLOCK"])](
        strided(output), strided(source), maps, motions, x_first, math.prod(size[:-1]), 0.5 / variance,
        CHANNELS=channels, ALIGNED=grid_align_corners, T=compute_type(source), INDEX=index_type(output, source),
    )  # fmt: skip
    return output


@operator
def anchor_features_backward(
    grad_output: Tensor,
    source: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    covariance_source: Tensor | None,
    covariance_driving: Tensor | None,
    variance: float,
    align_corners: bool,
    grid_align_corners: bool,
    need_source: bool,
    need_anchors: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    if deterministic and need_source:
        alert_not_deterministic("anchor_features")
    batch, channels, *size = source.shape
    points = Points(kp_source, kp_driving, jac_source, jac_driving, background, covariance_source, covariance_driving)
    motions, x_first, pixels = kp_source.shape[1] + 1, tuple(size[::-1]), math.prod(size)
    grad_source = accumulator(source, kp_source.dtype) if need_source else None
    gradients = Points(*(None if p is None else like_or_empty(p, need_anchors).zero_() for p in points))
    block, tile = (32, min(16, triton.next_power_of_2(channels))) if channels_lie_last(source) else (128, 1)
    blocks, count = triton.cdiv(pixels, block), sums_of_a_motion(points)
    # no program writes the sums of a background that stands still
    partials = kp_source.new_zeros(batch, blocks, motions, count) if need_anchors else None
    if batch * pixels:
        aligned = Conventions(align_corners, grid_align_corners)
        backward[grid(batch * motions, pixels, block)](
            strided(grad_source), partials, strided(grad_output), strided(source),
            make_maps(points, x_first, aligned), motions, x_first, math.prod(size[:-1]), blocks, 0.5 / variance,
            SUMS=count, CHANNELS=channels, ALIGNED=grid_align_corners, T=compute_type(source),
            INDEX=index_type(grad_source, grad_output, source, partials), BLOCK=block, TILE=tile,
        )  # fmt: skip
        if partials is not None:
            fill_gradients(gradients, partials.sum(1), points, x_first, aligned, variance)
    grad_data = empty(source) if grad_source is None else grad_source.to(source.dtype)
    return (grad_data, *(empty(kp_source) if g is None else g for g in gradients))  # type: ignore[return-value]
