"""Samples that are fair to every contestant.

A sample is the mean of a batch of calls that takes a millisecond or so, after calls that do not count. Contestants take turns sample by
sample, each round beginning with another one, so that drift of the clock frequency meets all of them alike.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fastdw.profile import Times

SAMPLE_SECONDS = 1e-3
UNCOUNTED_SECONDS = 0.2e-3  # of calls before each sample: a pool of threads wakes up late
Clock = Callable[[], float]
Run = Callable[[int], object]  # makes so many calls


def measure(runs: Sequence[Run], rounds: int, seconds: float = math.inf, clock: Clock = time.perf_counter) -> list[list[float]]:
    """Seconds of a call, sample by sample, of each contestant; all have the same number of samples, so that they pair up.

    Rounds end after so many seconds, but there is one at least.
    """
    end = clock() + seconds
    with collection_paused():
        counts = [calls_per_sample(run, clock) for run in runs]
        found: list[list[float]] = [[] for _ in runs]
        for number in range(rounds):
            for turn in range(len(runs)):
                index = (number + turn) % len(runs)
                found[index].append(sample(runs[index], counts[index], clock))
            if clock() >= end:
                break
    return found


def calls_per_sample(run: Run, clock: Clock = time.perf_counter) -> int:
    run(1)
    start = clock()
    run(1)
    one = clock() - start
    if one >= SAMPLE_SECONDS:
        return 1
    few = max(1, int(UNCOUNTED_SECONDS / max(one, 1e-7)))
    start = clock()
    run(few)
    return max(1, math.ceil(SAMPLE_SECONDS * few / max(clock() - start, 1e-9)))


def sample(run: Run, count: int, clock: Clock = time.perf_counter) -> float:
    run(max(1, int(count * UNCOUNTED_SECONDS / SAMPLE_SECONDS)))
    start = clock()
    run(count)
    return (clock() - start) / count


def summary(seconds: Sequence[float]) -> Times:
    if len(seconds) == 1:
        return Times(seconds[0], seconds[0], 0.0)
    low, *_, high = statistics.quantiles(seconds, n=10, method="inclusive")
    return Times(min(seconds), statistics.median(seconds), high - low)


@contextmanager
def collection_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
