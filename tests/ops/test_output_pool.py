"""Memory of freed outputs is reused, never while it is still referenced, and never beyond the limit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from internet import ops

pytestmark = pytest.mark.skipif(
    not ops.backends()["cpu"].ready or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11),
    reason="the output pool needs the CPU library and torch >= 2.11",
)

MEGABYTE = 1 << 20
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _empty_pool():
    ops.clear_output_pool()
    yield
    ops.clear_output_pool()


def field(megabytes: int) -> torch.Tensor:
    """A motion field of this many megabytes, computed by an operator."""
    return ops.affine_mixture(
        torch.zeros(megabytes, 2, 256, 512), torch.zeros(megabytes, 1, 2), torch.zeros(megabytes, 1, 2)
    )


def run(code: str, limit: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INTERNET_OUTPUT_POOL_MB": limit}
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)


def test_a_freed_output_is_the_next_one():
    first = field(1)
    address = first.data_ptr()
    del first
    assert field(1).data_ptr() == address


def test_a_view_keeps_the_memory():
    first = field(1)
    view, before = first[0, 0, :4], first[0, 0, :4].clone()
    del first
    second = field(1)
    assert second.data_ptr() != view.data_ptr()
    torch.testing.assert_close(view, before, rtol=0, atol=0)


def test_what_is_cleared_was_held():
    kept = field(1)
    assert ops.clear_output_pool() == 0
    del kept
    assert ops.clear_output_pool() == MEGABYTE
    assert ops.clear_output_pool() == 0


def test_the_oldest_memory_goes_when_the_limit_is_reached():
    code = (
        "from tests.ops.test_output_pool import field, ops\n"
        "fields = [field(megabytes) for megabytes in (1, 2, 3)]\n"
        "while fields: fields.pop(0)\n"
        "print(ops.clear_output_pool() >> 20)"
    )
    assert run(code, "5").stdout.split() == ["5"]  # 1 was freed first, 2 + 3 fit
    assert run(code, "4").stdout.split() == ["3"]
    assert run(code, "0").stdout.split() == ["0"]


def test_results_can_be_resized_where_the_pool_is_off():
    code = "from tests.ops.test_output_pool import field\nstorage = field(1).untyped_storage()\nstorage.resize_(0)"
    assert "Trying to resize storage that is not resizable" in run(code, "512").stderr  # as docs/conventions.md says
    assert run(code, "0").returncode == 0


def test_a_limit_that_is_not_a_number_is_an_error():
    code = "import torch\nfrom internet import ops\nops.upsample_motion(torch.zeros(1, 256, 256, 2))"
    result = run(code, "lots")
    assert result.returncode != 0
    assert "INTERNET_OUTPUT_POOL_MB=lots: expected a number of megabytes" in result.stderr


def test_threads_share_the_pool_without_mixing_outputs():
    from concurrent.futures import ThreadPoolExecutor

    def constant(value: float) -> bool:
        image = torch.full((1, 4, 256, 256), value)
        grid = torch.zeros(1, 256, 256, 2)
        return all(bool((ops.confidence_warp(image, grid) == value).all()) for _ in range(20))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(constant, [1.0, 2.0, 3.0, 4.0]))
