"""One set of sample inputs for every operator, shared by the tests, opcheck and the benchmarks.

`build(operator, dtype, **parameters)` makes one sample; `samples(operator, dtype)` the tests' list, and
`samples(operator, dtype, wild=True)` those whose values are compared but not their gradients.

Bilinear sampling has a kink at every pixel and at the border of the frame, and there a rounding error decides
which one-sided derivative comes out. So no sample position of a sample that is not wild comes closer to a whole
pixel than `MARGIN`: a hundred times the rounding error of float32 at these sizes, and ten times the step of
gradcheck. Everything is drawn in float64 from a fixed seed and then rounded to the dtype.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import internet
from internet.ops import reference

MARGIN = 1e-4  # pixels
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Sample:
    """A call of an operator: `getattr(internet.ops, operator)(*args, **kwargs)`."""

    operator: str
    note: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operator}: {self.note}"

    def __call__(self) -> Any:
        """The operator's result, by whichever backend is chosen."""
        return getattr(internet.ops, self.operator)(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments, in order; those of a list one by one."""
        return [leaf for leaf in pytree.tree_leaves(self.args) if isinstance(leaf, Tensor)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Sample":
        """The same call with other tensors in the places of `tensors()`."""
        leaves, structure = pytree.tree_flatten(self.args)
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return Sample(self.operator, self.note, pytree.tree_unflatten(leaves, structure), self.kwargs)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Sample":
        """The same call with `function` of each tensor."""
        return self.with_tensors([function(tensor) for tensor in self.tensors()])

    def upcast(self) -> "Sample":
        """The same numbers in float64, contiguous, in fresh memory: what the reference is given."""
        return self.map(lambda tensor: tensor.detach().cpu().double().contiguous().clone())


# ---------------------------------------------------------------------------------------------- layouts


def _strided(tensor: Tensor) -> Tensor:
    """Every second element of a larger tensor, off its start; what lies between is NaN and must not be read."""
    shape = [2 * size + 1 for size in tensor.shape]
    larger = torch.full(shape, math.nan, dtype=tensor.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in shape)]
    return view.copy_(tensor)


def _transposed(tensor: Tensor) -> Tensor:
    """The last two axes change places in memory."""
    return tensor.mT.contiguous().mT


def _expanded(tensor: Tensor) -> Tensor:
    """One batch entry in memory, repeated with stride 0."""
    return tensor[:1].expand_as(tensor)


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.dim() == 5:  # Jacobian maps: a view of a convolution's output
        return _channels_last(tensor.flatten(1, 2)).unflatten(1, tensor.shape[1:3])
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _offset(tensor: Tensor) -> Tensor:
    """Contiguous, but one element off the alignment of its memory."""
    memory = torch.full((tensor.numel() + 1,), math.nan, dtype=tensor.dtype)
    return memory[1:].view(tensor.shape).copy_(tensor)


def _sliced(tensor: Tensor) -> Tensor:
    """The first channels of a tensor with more; the others are NaN."""
    return torch.cat([tensor, torch.full_like(tensor, math.nan)], 1)[:, : tensor.shape[1]]


def _sliced_channels_last(tensor: Tensor) -> Tensor:
    return _channels_last(torch.cat([tensor, torch.full_like(tensor, math.nan)], 1))[:, : tensor.shape[1]]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": _channels_last,
    "strided": _strided,
    "transposed": _transposed,
    "expanded": _expanded,
    "offset": _offset,
    "sliced": _sliced,
    "sliced channels_last": _sliced_channels_last,
}


# ------------------------------------------------------------------------------------------- ingredients


class Source:
    """Random tensors of one sample: drawn in float64, rounded to a dtype, laid out in memory.

    `layout` is one of LAYOUTS, or "mixed": another one for each tensor.
    """

    def __init__(self, dtype: torch.dtype, layout: str, seed: int, margin: float = MARGIN) -> None:
        self.dtype, self.margin = dtype, margin
        names = ("contiguous", "channels_last", "strided", "transposed") if layout == "mixed" else (layout,)
        self.layouts = itertools.cycle(LAYOUTS[name] for name in names)
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def data(self, values: Tensor) -> Tensor:
        """As a data tensor, in the sample's dtype."""
        return next(self.layouts)(values.to(self.dtype))

    def motion(self, values: Tensor) -> Tensor:
        """As a tensor of coordinates, in the dtype that goes with the data."""
        return next(self.layouts)(values.to(reference.motion_dtype(self.dtype)))

    def clear_of_pixels(self, draw: Callable[[], Tensor], positions: Callable[[Tensor], Tensor]) -> Tensor:
        """What `draw` gives, drawn again until no position comes closer than the margin to a whole pixel."""
        for _ in range(1000):
            values = draw()
            if not self.margin or distance_to_pixels(positions(values)) > self.margin:
                return values
        raise ValueError("too many sample positions for all of them to keep clear of the pixels")

    def anchors(self, batch: int, anchors: int, jacobians: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        kp_source, kp_driving = (self.uniform(-0.9, 0.9, batch, anchors, 2) for _ in range(2))
        if not jacobians:
            return kp_source, kp_driving, None, None
        eye = torch.eye(2, dtype=torch.float64)
        jac_source, jac_driving = (eye + 0.2 * self.normal(batch, anchors, 2, 2) for _ in range(2))
        return kp_source, kp_driving, jac_source, jac_driving


def distance_to_pixels(positions: Tensor) -> float:
    """The least distance of any position, in pixels, from a whole number."""
    return (positions - positions.round()).abs().min().item() if positions.numel() else math.inf


def positions_in_pixels(field: Tensor, size: Size, align_corners: bool) -> Tensor:
    """A motion field (..., 2) as positions in an image of this size, in pixels."""
    height, width = size
    extent = torch.tensor([width, height], dtype=field.dtype)
    middle = (extent - 1) / 2
    return middle + field * (middle if align_corners else extent / 2)


def warp_positions(field: Tensor, ratios: Sequence[int], align_corners: bool) -> Tensor:
    """Where a coarse field samples features at each of these multiples of its size, in pixels, all in a row."""
    found = []
    for ratio in ratios:
        fine = field
        for _ in range(int(math.log2(ratio))):
            fine, _ = reference.upsample_motion(fine)
        size = (fine.shape[1], fine.shape[2])
        found.append(positions_in_pixels(fine, size, align_corners).flatten())
    return torch.cat(found)


def _coarse_field(
    source: Source, batch: int, size: Size, ratios: Sequence[int], align_corners: bool, reach: float
) -> Tensor:
    """A field (B, h, w, 2) whose samples fall everywhere in the frame, up to `reach`, and so a bit beyond it."""
    return source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, *size, 2),
        lambda values: warp_positions(values, ratios, align_corners),
    )


# --------------------------------------------------------------------------------------------- operators


def _affine_mixture(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 3,
    size: Size = (5, 7),
    jacobians: bool = True,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    logits = source.data(source.normal(batch, anchors + 1, *size))
    points = source.anchors(batch, anchors, jacobians)
    return (logits, *(None if p is None else source.motion(p) for p in points)), kwargs


def _upsample_motion(
    source: Source, *, batch: int = 2, size: Size = (3, 5), confidence: bool = True
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    field = source.motion(source.normal(batch, *size, 2))
    return (field, source.motion(source.uniform(0, 1, batch, 1, *size)) if confidence else None), {}


def _confidence_warp(
    source: Source,
    *,
    batch: int = 2,
    channels: int = 3,
    size: Size = (3, 5),
    ratio: int = 1,
    confidence: bool = True,
    reach: float = 1.4,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`size` is the field's; the features are `ratio` times as large."""
    height, width = size
    features = source.data(source.normal(batch, channels, height * ratio, width * ratio))
    field = _coarse_field(source, batch, size, (ratio,), kwargs.get("align_corners", False), reach)
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *size)) if confidence else None
    return (features, source.motion(field), mask), kwargs


def _pyramid_warp(
    source: Source,
    *,
    batch: int = 2,
    levels: Sequence[tuple[int, int]] = ((3, 1), (2, 2)),
    size: Size = (3, 5),
    confidence: bool = True,
    reach: float = 1.4,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`levels`: channels and ratio of each."""
    height, width = size
    features = [
        source.data(source.normal(batch, channels, height * ratio, width * ratio)) for channels, ratio in levels
    ]
    ratios = [ratio for _, ratio in levels]
    field = _coarse_field(source, batch, size, ratios, kwargs.get("align_corners", False), reach)
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *size)) if confidence else None
    return (features, source.motion(field), mask), kwargs


def _masked_backwarp_loss(
    source: Source,
    *,
    batch: int = 2,
    channels: int = 3,
    size: Size = (4, 6),
    ratio: int | None = 2,
    reach: float = 2.5,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`size` is the frames'; the mask is `ratio` times smaller, or None."""
    height, width = size
    output, target = (source.data(source.normal(batch, channels, *size)) for _ in range(2))
    flow = source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, 2, *size),
        lambda values: torch.stack(reference.flow_positions(values)),
    )
    mask = None
    if ratio is not None:
        mask = source.motion(source.uniform(0.1, 1, batch, 1, height // ratio, width // ratio))
    return (output, target, source.motion(flow), mask), kwargs


def _flow_confidence(
    source: Source, *, batch: int = 2, size: Size = (7, 9), reach: float = 1.5, **kwargs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Smooth flows that nearly return, so that each of the tests rejects some pixels and keeps others."""
    smooth = source.uniform(-reach, reach, batch, 2, 1, 1).expand(batch, 2, *size)
    forward = smooth + 0.05 * source.normal(batch, 2, *size)
    backward = -smooth + 0.5 * source.normal(batch, 2, *size)
    return (source.data(forward), source.data(backward)), kwargs


def _soft_argmax(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 3,
    size: Size = (5, 7),
    jacobian_maps: int = 1,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`jacobian_maps`: K, 1 (shared), or 0 for None."""
    logits = source.data(0.2 * source.normal(batch, anchors, *size))
    maps = source.data(source.normal(batch, jacobian_maps, 4, *size)) if jacobian_maps else None
    return (logits, maps), kwargs


def _anchor_features(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 2,
    channels: int = 3,
    size: Size = (4, 5),
    jacobians: bool = True,
    **kwargs: Any,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    image = source.data(source.normal(batch, channels, *size))
    align_corners = kwargs.get("align_corners", False)
    own = kwargs.get("grid_align_corners")
    grid = reference.identity_grid(*size, align_corners if own is None else own, torch.zeros(0).double())

    def positions(points: tuple[Tensor, Tensor, Tensor | None, Tensor | None]) -> Tensor:
        motions = reference.local_motions(grid, *reference.anchor_affines(*points))
        return positions_in_pixels(motions[:, 1:], size, align_corners)  # the background's are whole, and constant

    points: Any = source.clear_of_pixels(
        lambda: source.anchors(batch, anchors, jacobians),
        positions,  # type: ignore[arg-type, return-value]
    )
    return (image, *(None if p is None else source.motion(p) for p in points)), kwargs


_BUILDERS: dict[str, Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "affine_mixture": _affine_mixture,
    "upsample_motion": _upsample_motion,
    "confidence_warp": _confidence_warp,
    "pyramid_warp": _pyramid_warp,
    "masked_backwarp_loss": _masked_backwarp_loss,
    "flow_confidence": _flow_confidence,
    "soft_argmax": _soft_argmax,
    "anchor_features": _anchor_features,
}
OPERATORS = tuple(_BUILDERS)
DIFFERENTIABLE = tuple(name for name in OPERATORS if name != "flow_confidence")


def build(
    operator: str,
    dtype: torch.dtype,
    *,
    note: str = "",
    layout: str = "contiguous",
    seed: int = 0,
    margin: float = MARGIN,
    **parameters: Any,
) -> Sample:
    """One sample of `operator`: sizes and options as its builder above names them.

    So many sample positions as a benchmark has cannot all keep clear of whole pixels; 0 is no margin.
    """
    args, kwargs = _BUILDERS[operator](Source(dtype, layout, seed, margin), **parameters)
    return Sample(operator, note, args, kwargs)


# ------------------------------------------------------------------------------------ the tests' samples

_LAID_OUT = {f"{layout} tensors": {"layout": layout} for layout in (*LAYOUTS, "mixed") if layout != "contiguous"}
_ANCHORED: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no Jacobians": {"jacobians": False},
    "align_corners": {"align_corners": True},
    "one anchor": {"anchors": 1, "batch": 1},
    "no anchors": {"anchors": 0},
    "twenty anchors": {"anchors": 20, "size": (3, 5)},
    "one pixel": {"size": (1, 1)},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    **_LAID_OUT,
}
_WARPED: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no confidence": {"confidence": False},
    "border": {"padding_mode": "border"},
    "align_corners": {"align_corners": True},
    "border, align_corners": {"padding_mode": "border", "align_corners": True},
    "mostly out of the frame": {"reach": 9.0},
    "mostly out of the frame, border": {"reach": 9.0, "padding_mode": "border"},
    "one row": {"size": (1, 4)},
    "one pixel, border": {"size": (1, 1), "batch": 1, "padding_mode": "border"},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    **_LAID_OUT,
}

_PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "affine_mixture": {
        **_ANCHORED,
        "one pixel, align_corners": {"size": (1, 1), "align_corners": True},
        "threshold": {"threshold": 0.15},
        "threshold, twenty anchors": {"anchors": 20, "size": (2, 19), "threshold": 0.03},
        "wide rows": {"size": (2, 67)},
    },
    "upsample_motion": {
        "odd sizes": {},
        "no confidence": {"confidence": False},
        "one row": {"size": (1, 4)},
        "one column": {"size": (4, 1)},
        "one pixel": {"size": (1, 1), "batch": 1},
        "wide rows": {"size": (2, 67)},
        "no pixels": {"size": (0, 4)},
        "empty batch": {"batch": 0},
        **_LAID_OUT,
    },
    "confidence_warp": {
        **_WARPED,
        "ratio 2": {"ratio": 2},
        "ratio 4, border": {"ratio": 4, "padding_mode": "border"},
        "ratio 4, align_corners, channels_last": {"ratio": 4, "align_corners": True, "layout": "channels_last"},
        "ratio 8": {"ratio": 8, "size": (2, 1), "channels": 1},
        "ratio 2, one pixel": {"ratio": 2, "size": (1, 1)},
        "ratio 2, strided": {"ratio": 2, "layout": "strided"},
        "one channel": {"channels": 1, "batch": 1},
        "no channels": {"channels": 0},
        "many channels": {"channels": 37, "batch": 1},
        "many channels, channels_last": {"channels": 37, "batch": 1, "layout": "channels_last"},
        "wide rows": {"size": (2, 67)},
    },
    "pyramid_warp": {
        **_WARPED,
        "no pixels": {"size": (0, 4), "levels": ((3, 1), (2, 1))},
        "three levels": {"levels": ((5, 1), (3, 2), (2, 4))},
        "three levels, channels_last": {"levels": ((5, 1), (3, 2), (2, 4)), "layout": "channels_last"},
        "any order, a level twice": {"levels": ((1, 4), (2, 1), (3, 4))},
        "one level": {"levels": ((3, 2),)},
        "ratio 8": {"levels": ((1, 8), (2, 1)), "size": (1, 2)},
    },
    "masked_backwarp_loss": {
        **{
            f"{norm}, {reduction}": {"norm": norm, "reduction": reduction}
            for norm in ("l1", "l2", "charbonnier")
            for reduction in ("mean", "sum", "none")
        },
        **{f"padding {mode}": {"padding_mode": mode, "norm": "l2"} for mode in ("border", "zeros", "valid")},
        "mostly out of the frame, zeros": {"reach": 20.0, "padding_mode": "zeros"},
        "mostly out of the frame, valid": {"reach": 20.0, "padding_mode": "valid", "reduction": "none"},
        "no mask": {"ratio": None},
        "no mask, none": {"ratio": None, "reduction": "none"},
        "odd sizes, full mask": {"size": (5, 7), "ratio": 1},
        "mask ratio 4": {"size": (8, 12), "ratio": 4, "reduction": "none"},
        "mask ratio 8": {"size": (8, 16), "ratio": 8},
        "one channel": {"channels": 1, "batch": 1},
        "many channels": {"channels": 21, "batch": 1},
        "wide rows": {"size": (2, 67), "ratio": 1},
        "one pixel": {"size": (1, 1), "ratio": 1},
        "empty batch, sum": {"batch": 0, "reduction": "sum"},
        "empty batch, none": {"batch": 0, "reduction": "none"},
        "channels_last, sum": {"layout": "channels_last", "reduction": "sum", "channels": 5},
        **_LAID_OUT,
    },
    "flow_confidence": {
        "odd sizes": {},
        "no boundary test": {"boundary": None},
        "strict": {"consistency": (0.001, 0.01), "boundary": (0.0, 0.01)},
        "one row": {"size": (1, 4)},
        "one pixel": {"size": (1, 1)},
        "wide rows": {"size": (2, 67)},
        "no pixels": {"size": (0, 4)},
        "empty batch": {"batch": 0},
        "mostly out of the frame": {"reach": 9.0},
        **_LAID_OUT,
    },
    "soft_argmax": {
        "odd sizes": {},
        "own Jacobian maps": {"jacobian_maps": 3},
        "no Jacobian map": {"jacobian_maps": 0},
        "temperature 1": {"temperature": 1.0},
        "align_corners": {"align_corners": True},
        "twenty anchors": {"anchors": 20},
        "one pixel": {"size": (1, 1)},
        "wide rows": {"size": (2, 67)},
        "empty batch": {"batch": 0},
        **_LAID_OUT,
    },
    "anchor_features": {
        **_ANCHORED,
        "grid of first-order-motion": {"grid_align_corners": True},
        "wide Gaussians": {"variance": 0.3},
        "one channel": {"channels": 1},
        "wide rows": {"size": (2, 35), "anchors": 1},
    },
}


# ------------------------------------------------------------------------------------------ wild samples


def _every_third(tensor: Tensor, *values: float) -> Tensor:
    """A copy in which every third element is one of `values`, by turns."""
    changed = tensor.clone(memory_format=torch.contiguous_format)
    places = changed.flatten()[::3]  # of a contiguous tensor: a view
    places.copy_(torch.tensor(values, dtype=torch.float64).repeat(len(places))[: len(places)])
    return changed


def _replace(sample: Sample, note: str, index: int, change: Callable[[Tensor], Tensor]) -> Sample:
    """`sample` with its `index`-th tensor changed."""
    tensors = sample.tensors()
    tensors[index] = change(tensors[index])
    changed = sample.with_tensors(tensors)
    return Sample(changed.operator, note, changed.args, changed.kwargs)


def _singular(jacobian: Tensor) -> Tensor:
    """Determinants 0, tiny and positive, tiny and negative."""
    tiny = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1e-4, 0], [0, 1e-3]], [[-1e-4, 0], [0, 1e-3]]])
    return tiny.to(jacobian).expand_as(jacobian).clone()


def _wild_motions(operator: str, dtype: torch.dtype, motion: int) -> Iterator[Sample]:
    """Fields, or flow, whose coordinates are anything: `motion` is the place of that tensor."""
    modes = ("border", "zeros", "valid") if operator == "masked_backwarp_loss" else ("zeros", "border")
    for mode in modes:
        plain = build(operator, dtype, padding_mode=mode)
        for note, values in {
            "NaN": (math.nan,),
            "infinite": (math.inf, -math.inf),
            "huge": (1e30, -1e30, 3e9, -3e9),
            "beyond integers": (2.0**31, -(2.0**31), 2.0**63, -(2.0**63)),
        }.items():
            yield _replace(plain, f"{note} coordinates, {mode}", motion, lambda t, v=values: _every_third(t, *v))
    for mode in modes:
        still = build(operator, dtype, padding_mode=mode)
        yield _replace(still, f"no motion, {mode}", motion, torch.zeros_like)  # field 0: all look at the middle
        yield _replace(still, f"at the frame's edge, {mode}", motion, lambda t: _every_third(t, -1.0, 1.0))


def _wild(operator: str, dtype: torch.dtype) -> Iterator[Sample]:
    if operator == "affine_mixture":
        plain = build(operator, dtype)
        yield _replace(plain, "singular Jacobians", 4, _singular)
        yield _replace(plain, "large logits", 0, lambda t: 3000 * t)
        yield _replace(plain, "masked logits", 0, lambda t: _every_third(t, -math.inf))
        yield _replace(plain, "NaN logits", 0, lambda t: _every_third(t, math.nan))
        yield _replace(plain, "NaN anchors", 1, lambda t: _every_third(t, math.nan))
    elif operator == "upsample_motion":
        plain = build(operator, dtype, size=(5, 7))
        yield _replace(plain, "infinite motion", 0, lambda t: _every_third(t, math.inf))
        yield _replace(plain, "NaN confidence", 1, lambda t: _every_third(t, math.nan))
        yield _replace(plain, "bfloat16 confidence", 1, lambda t: t if dtype == torch.float64 else t.bfloat16())
    elif operator == "confidence_warp":
        yield from _wild_motions(operator, dtype, 1)
        for mode in ("zeros", "border"):
            plain = build(operator, dtype, ratio=4, padding_mode=mode)
            note = f"infinite coordinates, ratio 4, {mode}"
            yield _replace(plain, note, 1, lambda t: _every_third(t, math.inf, 0.1, math.nan, 0.1, -math.inf))
        plain = build(operator, dtype, ratio=2)
        yield _replace(plain, "infinite features", 0, lambda t: _every_third(t, math.inf, math.nan, 0, 0, 0))
        yield _replace(plain, "bfloat16 field", 1, lambda t: t if dtype == torch.float64 else t.bfloat16())
    elif operator == "pyramid_warp":
        yield from _wild_motions(operator, dtype, 2)
    elif operator == "masked_backwarp_loss":
        yield from _wild_motions(operator, dtype, 2)
        for reduction in ("mean", "none"):
            plain = build(operator, dtype, padding_mode="valid", reduction=reduction)
            note = f"infinite coordinates, valid, {reduction}"
            yield _replace(plain, note, 2, lambda t: _every_third(t, math.inf, math.nan, -math.inf))
        yield build(operator, dtype, note="empty batch, mean", batch=0)
        yield build(operator, dtype, note="no pixels, sum", size=(0, 4), ratio=1, reduction="sum")
        yield _replace(build(operator, dtype), "equal frames", 2, torch.zeros_like)
        wider = torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
        yield _replace(build(operator, dtype), "wider target", 1, lambda t: t.to(wider))
    elif operator == "flow_confidence":
        for note, value in {"NaN": math.nan, "infinite": math.inf, "huge": 6e4}.items():
            yield _replace(build(operator, dtype), f"{note} forward", 0, lambda t, v=value: _every_third(t, v))
            yield _replace(build(operator, dtype), f"{note} backward", 1, lambda t, v=value: _every_third(t, v))
        yield build(operator, dtype, note="no motion", reach=0.0)
    elif operator == "soft_argmax":
        yield _replace(build(operator, dtype), "large logits", 0, lambda t: 3000 * t)
        yield _replace(build(operator, dtype), "masked logits", 0, lambda t: _every_third(t, -math.inf))
        yield _replace(build(operator, dtype), "no heat", 0, lambda t: torch.full_like(t, -math.inf))
    elif operator == "anchor_features":
        yield _replace(build(operator, dtype, anchors=3), "singular Jacobians", 4, _singular)
        yield _replace(build(operator, dtype), "NaN anchors", 1, lambda t: _every_third(t, math.nan))


def samples(operator: str, dtype: torch.dtype, *, wild: bool = False) -> list[Sample]:
    """The tests' samples of one operator: tame, for values and gradients, or wild, for values alone."""
    if wild:
        return list(_wild(operator, dtype))
    named = _PARAMETERS[operator].items()
    return [build(operator, dtype, note=note, seed=seed, **parameters) for seed, (note, parameters) in enumerate(named)]


# ----------------------------------------------------------------------------------------- large samples

# Beyond one vector, tile or band of rows, and not multiples of any.
_LARGE: dict[str, list[dict[str, Any]]] = {
    "affine_mixture": [
        {"anchors": 20, "size": (37, 301), "threshold": 0.02},
        {"batch": 5, "anchors": 10, "size": (129, 33)},
    ],
    "upsample_motion": [{"size": (37, 301)}, {"size": (129, 33)}],
    "confidence_warp": [
        {"channels": 131, "size": (19, 37)},
        {"channels": 3, "size": (150, 301), "padding_mode": "border"},
        {"channels": 66, "size": (9, 21), "ratio": 4},
        {"channels": 5, "size": (70, 10), "ratio": 2, "align_corners": True},
        {"channels": 34, "size": (5, 6), "ratio": 8, "padding_mode": "border"},
    ],
    "pyramid_warp": [{"levels": ((131, 1), (66, 2), (33, 4)), "size": (13, 21)}],
    "masked_backwarp_loss": [  # a square has no kink, and a sum no gradients too small for float16
        {"channels": 3, "size": (152, 304), "ratio": 4, "reach": 20.0, "norm": "l2", "reduction": "sum"},
        {"channels": 67, "size": (34, 46), "padding_mode": "zeros", "norm": "l2", "reduction": "sum"},
        {"channels": 4, "size": (131, 70), "ratio": None, "padding_mode": "valid", "norm": "l2", "reduction": "sum"},
        {"channels": 3, "size": (64, 96), "ratio": 8, "norm": "l2", "reduction": "none"},
    ],
    "flow_confidence": [{"size": (150, 301)}, {"batch": 5, "size": (129, 33)}],
    "soft_argmax": [{"anchors": 10, "size": (64, 65)}],
    "anchor_features": [{"anchors": 10, "size": (64, 65)}],
}


def large_samples(operator: str, dtype: torch.dtype, layout: str) -> list[Sample]:
    """The tests' large samples of one operator, which do not keep clear of whole pixels."""
    return [
        build(operator, dtype, note=f"large, number {number}", layout=layout, margin=0, **parameters)
        for number, parameters in enumerate(_LARGE[operator])
    ]
