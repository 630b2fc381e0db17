"""The task that measures the roof, and what it measures: plausible numbers."""

import numpy as np
import pytest

from fastdw import roof
from fastdw.packing import aligned_empty
from fastdw.tile import TileShape
from fastdw.tile.shapes import ARRAYS


def test_the_task_multiplies_and_adds():
    shape, rounds = TileShape(1, 2, 1, 4), 5
    x, weight, out = aligned_empty((16,)), aligned_empty((4,)), aligned_empty((2, 4))
    x[:], weight[:] = np.arange(16), [1, 2, 3, 4]
    context = roof.CONTEXT.pack({"rounds": rounds})
    for name, array in (("x", x), ("weight", weight), ("out", out)):
        context[ARRAYS.index(name)] = array.ctypes.data
    roof.multiply_add(shape, context.ctypes.data, 0)
    np.testing.assert_array_equal(out, rounds * np.outer([0, 1], [1, 2, 3, 4]))


@pytest.mark.parametrize("threads", [1, 2])
def test_measured(threads):
    found = roof.measure_roof(threads)
    assert 1e8 < found.flops_per_second < 1e13
    assert 1e7 < found.bytes_per_second < 1e13
