"""The cache of decoded frames in a reader of clips."""

import pickle

import torch
from torch import Tensor

from internet.data.frame_cache import FrameCache

BYTES = 4 * 8


def reader(asked: list[list[int]]):
    def read(numbers: list[int]) -> list[Tensor]:
        asked.append(numbers)
        return [torch.full((8,), float(number)) for number in numbers]

    return read


def test_a_frame_is_read_once_and_comes_in_the_order_asked():
    asked: list[list[int]] = []
    cache = FrameCache(10 * BYTES)
    assert [int(frame[0]) for frame in cache.read("a", [5, 2, 5], reader(asked))] == [5, 2, 5]
    assert [int(frame[0]) for frame in cache.read("a", [2, 7, 5], reader(asked))] == [2, 7, 5]
    cache.read("a", [7, 2], reader(asked))
    cache.read("b", [7], reader(asked))
    assert asked == [[2, 5], [7], [7]]
    assert cache.size == 4 * BYTES


def test_what_was_not_asked_for_longest_is_forgotten_first():
    asked: list[list[int]] = []
    cache = FrameCache(2 * BYTES)
    for number in (1, 2, 1, 3):
        cache.read(0, [number], reader(asked))
    assert cache.size == 2 * BYTES
    cache.read(0, [1, 3], reader(asked))
    assert asked == [[1], [2], [3]]
    cache.read(0, [2], reader(asked))
    assert asked[-1] == [2]


def test_more_than_fits_is_read_all_the_same():
    asked: list[list[int]] = []
    cache = FrameCache(0)
    assert [int(frame[0]) for frame in cache.read(0, [1, 2], reader(asked))] == [1, 2]
    cache.read(0, [1], reader(asked))
    assert asked == [[1, 2], [1]]
    assert cache.size == 0


def test_a_worker_begins_with_nothing():
    cache = FrameCache(100 * BYTES)
    cache.read(0, [1], reader([]))
    assert pickle.loads(pickle.dumps(cache)).size == 0
