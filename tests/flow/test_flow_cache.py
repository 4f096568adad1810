"""The cache of optical flow: found by content, complete at any time, equal to the estimator's results."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from internet.flow import FlowCache, FlowEstimator
from internet.utils.files import OutputError


class Counted:
    """A flow that is a function of both images, and counts how often it is computed."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.calls += 1
        return torch.cat([first[:, :1] - second[:, :1], first[:, 1:2] + second[:, :1]], 1) * 10


def frames(seed: int, count: int = 2) -> Tensor:
    """(count, 3, 20, 24) in 8-bit levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 20, 24), generator=generator) / 255


@pytest.fixture
def function() -> Counted:
    return Counted()


@pytest.fixture
def cache(tmp_path: Path, function: Counted) -> FlowCache:
    return FlowCache(tmp_path / "flows", FlowEstimator("counted:1", function))


def test_a_flow_is_computed_once(cache: FlowCache, function: Counted) -> None:
    fresh, kept = cache(frames(0), frames(1)), cache(frames(0), frames(1))
    assert function.calls == 2  # a batch of two pairs
    assert torch.equal(fresh, kept)
    torch.testing.assert_close(kept, function(frames(0), frames(1)), rtol=1e-3, atol=1e-3)


def test_either_frame_the_order_and_the_estimator_matter(cache: FlowCache, function: Counted) -> None:
    a, b, c = frames(0, 3).split(1)
    other = FlowCache(cache.folder, FlowEstimator("counted:2", function))
    for caching, first, second in [(cache, a, b), (cache, b, a), (cache, a, c), (cache, c, b), (other, a, b)]:
        before = function.calls
        caching(first, second)
        assert function.calls == before + 1


def test_a_frame_of_another_shape_with_the_same_bytes_is_another(cache: FlowCache) -> None:
    image = frames(0, 1)
    assert cache.path(image, image) != cache.path(image.reshape(1, 3, 24, 20), image.reshape(1, 3, 24, 20))


def test_pixels_count_and_not_their_dtype_or_strides(cache: FlowCache) -> None:
    a, b = frames(0, 1), frames(1, 1)
    strided = a.contiguous(memory_format=torch.channels_last)
    assert cache.path(a, b) == cache.path(a.double(), b) == cache.path(strided, b)


@pytest.mark.parametrize("damage", [b"", b"not a flow", b"PK\x03\x04 the start of one"])
def test_a_damaged_file_is_computed_again_and_replaced(cache: FlowCache, function: Counted, damage: bytes) -> None:
    a, b = frames(0, 1), frames(1, 1)
    expected = cache(a, b)
    cache.path(a, b).write_bytes(damage)
    assert torch.equal(cache(a, b), expected)
    assert function.calls == 2
    assert torch.equal(cache(a, b), expected)
    assert function.calls == 2


def test_an_empty_batch_is_the_estimators(cache: FlowCache) -> None:
    empty = torch.zeros(0, 3, 20, 24)
    assert cache(empty, empty).shape == (0, 2, 20, 24)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, function: Counted) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        FlowCache(tmp_path / "file", FlowEstimator("counted", function))


WORKER = """
import sys, torch
from internet.flow import FlowCache, FlowEstimator
generator = torch.Generator().manual_seed(0)
frames = torch.randint(0, 256, (12, 3, 20, 24), generator=generator) / 255
cache = FlowCache(sys.argv[1], FlowEstimator("sum", lambda a, b: (a + b)[:, :2]))
for _ in range(3):
    for a, b in zip(frames[:-1].split(1), frames[1:].split(1)):
        assert torch.allclose(cache(a, b), (a + b)[:, :2], atol=1e-3)
"""


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)]) for _ in range(3)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    assert len(list(tmp_path.glob("*/*.npz"))) == 11
    assert not list(tmp_path.glob("*/.*"))  # no incomplete file is left
