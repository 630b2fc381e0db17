"""What measures the machine's limits: the task that multiplies and adds, and plausible numbers."""

import numpy as np
import pytest

from fastdw import probes, roof
from fastdw.packing import aligned_empty
from fastdw.tile import TileShape
from fastdw.tile.shapes import ARRAYS


def test_the_task_multiplies_and_adds():
    shape, rounds = TileShape(1, 2, 1, 4), 5
    x, weight, out = aligned_empty((16,)), aligned_empty((4,)), aligned_empty((2, 4))
    x[:], weight[:] = np.arange(1, 17), [1, 2, 3, 4]
    context = probes.CONTEXT.pack({"rounds": rounds, "bytes": 0})
    for name, array in (("x", x), ("weight", weight), ("out", out)):
        context[ARRAYS.index(name)] = array.ctypes.data
    probes.multiply_add(shape, context.ctypes.data, 0)
    np.testing.assert_array_equal(out, np.outer([1 + rounds, 2 + rounds], [1, 2, 3, 4]))


@pytest.mark.parametrize("threads", [1, 2])
def test_measured(threads):
    found = roof.measure_roof(threads)
    assert 1e8 < found.flops_per_second < 1e13
    assert 1e7 < found.bytes_per_second < 1e13
