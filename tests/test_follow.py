"""Following links: ends, lengths and marks of ways, and rings that have no end."""

import numpy as np
import pytest

from wse.follow import follow


def one_by_one(onward, marked, node):
    links, met = 0, marked[node]
    while onward[node] != node and links < len(onward):
        node, links = onward[node], links + 1
        met |= marked[node]
    return node, links, met


@pytest.mark.parametrize("num", [1, 2, 3, 8, 9, 100])
def test_random_ways_as_walked_one_by_one(num):
    rng = np.random.default_rng(num)
    for _ in range(20):
        onward, marked = rng.integers(0, num, num), rng.random(num) < 0.2
        onward = np.where(rng.random(num) < 0.2, np.arange(num), onward)
        last, links, met = follow(onward, marked)
        for node in range(num):
            end, count, seen = one_by_one(onward, marked, node)
            assert (links[node] >= num) == (count >= num) and met[node] == seen
            if count < num:
                assert (last[node], links[node]) == (end, count)


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_a_ring_has_no_end_whatever_its_size(size):
    onward = np.append(np.roll(np.arange(size), 1), [size, size])  # a ring, an end, and a node that leads there
    assert (follow(onward)[1] >= size + 2).tolist() == [True] * size + [False] * 2
