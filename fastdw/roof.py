"""What this machine can do at most, measured: the roof that a layer's time is held against."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter

import numpy as np

from fastdw.cost import Roof
from fastdw.jit import Task
from fastdw.machine import host
from fastdw.packing import aligned_empty
from fastdw.tile import Context, TileShape, load_row, outer_fma, store, view, zeros
from fastdw.tile.shapes import ARRAYS

CONTEXT = Context("rounds")
ROUNDS = 100_000
SAMPLING_SECONDS = 0.3  # threads wake up and move between cores late
COPIED_FLOATS = 1 << 16  # 256 KB read and as many written: a second-level cache holds both
COPIES = 200


@Task
def multiply_add(shape, context, index):
    """The multiply-adds of a pointwise tile, on one row and one vector of the first cache."""
    c = view(CONTEXT, context)
    acc = zeros(shape)
    row = load_row(shape, c.weight, shape.last_vec)
    for _ in range(c.rounds):
        acc = outer_fma(acc, c.x, 4, row)
    store(acc, c.out, 0, 4 * shape.width, shape.last_vec)


class MultiplyAdds:
    """Rounds of multiply-adds that stay in registers, in more chains than the units and their latency need."""

    def __init__(self) -> None:
        machine = host()
        shape = TileShape(1, 6 if machine.registers >= 32 else 5, 2, machine.lanes)
        self.units = 2 * ROUNDS * shape.pixels * shape.width
        self._task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(multiply_add.pointer(shape))
        self._given, self._out = aligned_empty((2 * shape.width,)), aligned_empty((shape.pixels, shape.width))
        self._given[:] = 0.5
        self._context = CONTEXT.pack({"rounds": ROUNDS})
        for name, array in (("x", self._given), ("weight", self._given), ("out", self._out)):
            self._context[ARRAYS.index(name)] = array.ctypes.data

    def __call__(self) -> None:
        self._task(None, self._context.ctypes.data, 0)


class Copies:
    """Copies inside the second-level cache; units are bytes, read and written."""

    def __init__(self) -> None:
        self._source, self._target = (aligned_empty((COPIED_FLOATS,)) for _ in range(2))
        self._source[:] = 1
        self.units = 2 * COPIES * self._source.nbytes

    def __call__(self) -> None:
        for _ in range(COPIES):
            np.copyto(self._target, self._source)


def measure_roof(threads: int = 1) -> Roof:
    """The rate of multiply-adds in registers, and that of copying inside the second-level cache, each on so many threads at once."""
    return Roof(best_rate([MultiplyAdds() for _ in range(threads)]), best_rate([Copies() for _ in range(threads)]))


def best_rate(work: Sequence[MultiplyAdds | Copies]) -> float:
    """Units a second, each piece of work on a thread of its own, in the best of many samples."""
    own, *others = work
    units = sum(each.units for each in work)
    best = 0.0
    with ThreadPoolExecutor(len(work)) as pool:
        end = perf_counter() + SAMPLING_SECONDS
        while (start := perf_counter()) < end:
            running = [pool.submit(each) for each in others]
            own()
            wait(running)
            best = max(best, units / (perf_counter() - start))
    return best
