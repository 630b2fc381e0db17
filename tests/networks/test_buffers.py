"""Memory between layers: never shared by two values that are needed together."""

import random

import pytest

from fastdw.networks.buffers import Lifetime, place
from fastdw.packing import ALIGNMENT_BYTES


@pytest.mark.parametrize("seed", range(200))
def test_random_lifetimes(seed):
    rng = random.Random(seed)
    values = {}
    for index in range(rng.randint(1, 40)):
        first = rng.randint(0, 30)
        values[str(index)] = Lifetime(
            rng.choice([1, 15, 16, 17, 100, 4096, rng.randint(1, 10_000)]), first, first + rng.choice([0, 1, 1, 2, 30])
        )
    offsets, total = place(values)
    assert offsets.keys() == values.keys()
    for name, offset in offsets.items():
        assert 4 * offset % ALIGNMENT_BYTES == 0
        assert offset >= 0
        assert offset + values[name].n_floats <= total
        for other in offsets.keys() - {name}:
            if values[name].overlaps(values[other]):
                assert offset + values[name].n_floats <= offsets[other] or offsets[other] + values[other].n_floats <= offset
    assert total <= sum(value.n_floats + ALIGNMENT_BYTES // 4 for value in values.values())


def test_a_chain_takes_its_two_largest_neighbours():
    sizes = [1600, 3200, 800, 1600, 400]
    values = {str(step): Lifetime(size, step, step + 1) for step, size in enumerate(sizes)}
    assert place(values)[1] == 1600 + 3200


def test_nothing():
    assert place({}) == ({}, 0)
