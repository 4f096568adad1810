"""Random shapes, layouts, ratios and numbers of anchors: values and gradients of each backend against the reference."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import samples
from tests.support.compare import COMPILED, assert_all_close, differentiate, evaluate, require
from tests.support.samples import DIFFERENTIABLE, OPERATORS

SIZE = st.tuples(st.integers(1, 9), st.integers(1, 21))
BATCH = st.integers(0, 3)
CHANNELS = st.integers(1, 9)
ANCHORS = st.integers(1, 20)
FLAG = st.booleans()
RATIO = st.sampled_from([1, 2, 4])
PADDING = st.sampled_from(["zeros", "border"])
VOLUME = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
COARSE = st.tuples(st.integers(1, 4), st.integers(1, 6))


@st.composite
def frames_and_mask(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes of the frames, a multiple of the mask's."""
    ratio, (height, width) = draw(st.none() | RATIO), draw(COARSE)
    return {"ratio": ratio, "size": (height * (ratio or 1), width * (ratio or 1))}


INTERPOLATED = st.fixed_dictionaries(
    {
        "upsampling": st.just("interpolate"),
        "interpolate_align_corners": FLAG,
        "features_size": st.tuples(st.integers(2, 9), st.integers(2, 21)),
        "confidence_size": st.none() | SIZE,
    }
)


@st.composite
def masks_and_blends(draw: st.DrawFn, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same pyramid with a confidence or None for each level, and a blend where there is a confidence."""
    height, width = parameters["size"]
    ratios = [draw(st.none() | st.sampled_from([1, ratio])) for _, ratio in parameters["levels"]]
    masks = [None if ratio is None else (height * ratio, width * ratio) for ratio in ratios]
    return {**parameters, "confidence_sizes": masks, "blend": [mask is not None and draw(FLAG) for mask in masks]}


PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "affine_mixture": st.fixed_dictionaries(
        {
            "anchors": ANCHORS,
            "size": SIZE | st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 40)),
            "jacobians": FLAG,
            "background": FLAG,
            "align_corners": FLAG,
            "threshold": st.sampled_from([0.0, 0.01, 0.045]),
        }
    ),
    "upsample_motion": st.fixed_dictionaries({"size": SIZE, "confidence": FLAG}),
    "confidence_warp": st.fixed_dictionaries(
        {
            "channels": CHANNELS,
            "size": COARSE,
            "ratio": RATIO,
            "confidence": FLAG,
            "padding_mode": PADDING,
            "align_corners": FLAG,
        }
    )
    .filter(lambda p: not p["align_corners"] or (p["ratio"] == 1 and min(p["size"]) > 1))
    .flatmap(lambda p: st.just(p) | INTERPOLATED.map(lambda sizes: p | sizes))
    .flatmap(lambda p: st.just(p) | st.just({**p, "confidence": True, "blend": True})),
    "pyramid_warp": st.fixed_dictionaries(
        {
            "levels": st.lists(st.tuples(CHANNELS, RATIO), min_size=1, max_size=3),
            "size": COARSE,
            "confidence": FLAG,
            "padding_mode": PADDING,
        }
    ).flatmap(lambda p: st.just(p) | masks_and_blends(p)),
    "volume_warp": st.fixed_dictionaries(
        {
            "channels": st.integers(1, 20),
            "size": VOLUME,
            "out": VOLUME,
            "confidence": FLAG,
            "padding_mode": PADDING,
            "align_corners": FLAG,
        }
    ).filter(lambda p: not p["align_corners"] or min(p["size"]) > 1),
    "masked_backwarp_loss": st.builds(
        lambda sizes, others: {**sizes, **others},
        frames_and_mask(),
        st.fixed_dictionaries(
            {
                "channels": CHANNELS,
                "norm": st.sampled_from(["l1", "l2", "charbonnier"]),
                "reduction": st.sampled_from(["sum", "none"]),  # the mean of an empty batch is NaN
                "padding_mode": st.sampled_from(["border", "zeros", "valid"]),
            }
        ),
    ),
    "flow_confidence": st.fixed_dictionaries(
        {"size": SIZE, "boundary": st.sampled_from([None, (0.01, 0.002), (0.0, 0.01)])}
    ),
    "soft_argmax": st.fixed_dictionaries(
        {
            "anchors": st.just(3),
            "size": SIZE | VOLUME,
            "jacobian_maps": st.sampled_from([0, 1, 3]),
            "covariance": FLAG,
            "align_corners": FLAG,
        }
    ),
    "anchor_features": st.fixed_dictionaries(
        {
            "anchors": st.integers(0, 3),
            "channels": CHANNELS,
            "size": COARSE | st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)),
            "jacobians": FLAG,
            "background": FLAG,
            "covariances": FLAG,
            "grid_align_corners": FLAG,
        }
    ),
}


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_any_shape(operator: str, backend: str) -> None:
    require(backend, operator)

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(
        parameters=PARAMETERS[operator],
        batch=BATCH,
        layout=st.sampled_from(list(samples.LAYOUTS)),
        seed=st.integers(0, 9),
    )
    def check(parameters: dict[str, Any], batch: int, layout: str, seed: int) -> None:
        sample = samples.build(operator, torch.float64, batch=batch, layout=layout, seed=seed, **parameters)
        got, expected = evaluate(sample, backend), evaluate(sample.upcast(), "reference")
        assert_all_close(got, expected, [torch.float64] * len(got))
        if operator in DIFFERENTIABLE:
            got, expected = differentiate(sample, backend), differentiate(sample.upcast(), "reference")
            assert_all_close(got, expected, [torch.float64] * len(got), "gradient")

    check()
