"""Every model, each called with a source and a driving image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.peers import (
    articulated,
    edtalk,
    face_vid2vid,
    first_order,
    lia,
    live_portrait,
    sadtalker,
    thin_plate,
)


@dataclass(frozen=True)
class Sample:
    make: Callable[[], nn.Module]
    channels: int = 3
    side: int = 32

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(0)
        return self.make().to(dtype)

    def images(self, dtype: torch.dtype = torch.float64, batch: int = 1, count: int = 2) -> list[Tensor]:
        """Smooth images, so that rounded coordinates do not matter."""
        generator = torch.Generator().manual_seed(1)
        coarse = torch.rand(count * batch, self.channels, 5, 5, generator=generator, dtype=dtype)
        fine = nn.functional.interpolate(coarse, (self.side, self.side), mode="bicubic", align_corners=True)
        return list(fine.chunk(count))


MODELS: Mapping[str, Sample] = {
    "first-order-motion": Sample(first_order.Model),
    "first-order-motion, single Jacobian map": Sample(partial(first_order.Model, {"single_jacobian_map": True})),
    "first-order-motion, no Jacobian, no occlusion": Sample(
        partial(first_order.Model, {"estimate_jacobian": False}, estimate_occlusion_map=False)
    ),
    "first-order-motion, features smaller than the field": Sample(partial(first_order.Model, downs=2)),
    "first-order-motion, no motion": Sample(partial(first_order.Model, has_motion=False)),
    "DaGAN": Sample(first_order.DepthModel, channels=4),
    "DaGAN, SPADE": Sample(partial(first_order.DepthModel, first_order.SPADEDepthAwareGenerator), channels=4),
    "articulated-animation": Sample(articulated.Model),
    "articulated-animation, Jacobians, one variance": Sample(
        partial(articulated.Model, pca_based=False, use_covar_heatmap=False, revert_axis_swap=False)
    ),
    "articulated-animation, no affine maps, no skips, no background": Sample(
        partial(
            articulated.Model,
            pca_based=False,
            estimate_affine=False,
            bg=False,
            skips=False,
            use_covar_heatmap=False,
            use_deformed_source=False,
        )
    ),
    "articulated-animation, no occlusion": Sample(partial(articulated.Model, estimate_occlusion_map=False)),
    "articulated-animation, no motion": Sample(partial(articulated.Model, has_motion=False)),
    "thin-plate-spline motion": Sample(thin_plate.Model),
    "thin-plate-spline motion, one mask": Sample(partial(thin_plate.Model, multi_mask=False)),
    "face-vid2vid": Sample(face_vid2vid.Model),
    "face-vid2vid, no Jacobian": Sample(partial(face_vid2vid.Model, estimate_jacobian=False)),
    "face-vid2vid, no SPADE": Sample(partial(face_vid2vid.Model, face_vid2vid.OcclusionAwareGenerator)),
    "SadTalker": Sample(partial(face_vid2vid.Model, sadtalker.OcclusionAwareSPADEGenerator)),
    "LivePortrait": Sample(live_portrait.Model),
    "LIA": Sample(lia.Generator, side=lia.SIZE),
    "EDTalk": Sample(edtalk.Generator, side=lia.SIZE),
}


def tensors(result: Any) -> dict[str, Tensor]:
    """The tensors in what a model returns, by name."""
    if isinstance(result, Tensor):
        return {"": result}
    pairs = result.items() if isinstance(result, Mapping) else enumerate(result)
    return {f"{name}.{inner}": tensor for name, value in pairs for inner, tensor in tensors(value).items()}
