"""What this machine can do at most, measured: the roof that a layer's time is held against."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter

import numpy as np

from fastdw import probes
from fastdw.cost import Roof
from fastdw.packing import aligned_empty

SAMPLING_SECONDS = 0.3  # threads wake up and move between cores late
COPIED_FLOATS = 1 << 16  # 256 KB read and as many written: a second-level cache holds both
COPIES = 200


class Copies:
    """Copies inside the second-level cache."""

    def __init__(self) -> None:
        self._source, self._target = (aligned_empty((COPIED_FLOATS,)) for _ in range(2))
        self._source[:] = 1
        self.n_bytes = 2 * COPIES * self._source.nbytes  # read and written

    def __call__(self) -> None:
        for _ in range(COPIES):
            np.copyto(self._target, self._source)


def measure_roof(threads: int = 1) -> Roof:
    """The rate of multiply-adds in registers, and that of copying inside the second-level cache, each on so many threads at once."""
    return Roof(probes.peak_flops(threads), copied_bytes(threads))


def copied_bytes(threads: int) -> float:
    """Bytes a second, each thread with copies of its own, in the best of many samples."""
    own, *others = work = [Copies() for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        end = perf_counter() + SAMPLING_SECONDS
        while (start := perf_counter()) < end:
            running = [pool.submit(each) for each in others]
            own()
            wait(running)
            best = max(best, sum(each.n_bytes for each in work) / (perf_counter() - start))
    return best
