"""The samples are reproducible, have the named layouts, and avoid the kinks of sampling."""

import pytest
import torch

from tests.support import samples
from tests.support.compare import assert_identical
from tests.support.samples import DTYPES, LAYOUTS, OPERATORS
from tests.support.samples.source import MARGIN, Source, distance_to_pixels
from tests.support.samples.warping import warp_positions


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_every_time(operator: str) -> None:
    for wild in (False, True):
        pairs = zip(*(samples.samples(operator, torch.float32, wild=wild) for _ in range(2)), strict=True)
        for first, second in pairs:
            assert_identical(first.tensors(), second.tensors(), str(first))


@pytest.mark.parametrize("operator", OPERATORS)
def test_notes_are_unique(operator: str) -> None:
    notes = [s.note for wild in (False, True) for s in samples.samples(operator, torch.float64, wild=wild)]
    assert len(notes) == len(set(notes))
    assert all(notes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_upcast_keeps_the_numbers(operator: str, dtype: torch.dtype) -> None:
    for sample in samples.samples(operator, dtype):
        for given, upcast in zip(sample.tensors(), sample.upcast().tensors(), strict=True):
            assert given.isfinite().all(), f"{sample}: NaN from between the elements"
            assert upcast.is_contiguous()
            assert torch.equal(given.double(), upcast)


def test_layouts_keep_the_numbers_and_differ_in_memory() -> None:
    values = torch.randn(2, 3, 4, 5)
    laid_out = [layout(values) for layout in LAYOUTS.values()]
    assert len({(tensor.stride(), tensor.storage_offset()) for tensor in laid_out}) == len(LAYOUTS)
    for name, layout in LAYOUTS.items():
        expected = values[:1].expand_as(values) if name == "expanded" else values
        assert torch.equal(layout(values), expected), name


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_positions_keep_clear_of_pixels(ratio: int, align_corners: bool) -> None:
    sample = samples.build("confidence_warp", torch.float32, ratio=ratio, align_corners=align_corners)
    features, field, _ = sample.args
    positions = warp_positions(field.double(), [features.shape[2:]], {"align_corners": align_corners})
    assert distance_to_pixels(positions) > MARGIN / 2


def test_impossible_margins_are_refused() -> None:
    source = Source(torch.float32, "contiguous", seed=0)
    with pytest.raises(ValueError, match="too many sample positions"):
        source.clear_of_pixels(lambda: torch.zeros(3), lambda values: values)
