"""Samples that are fair to every contestant.

A sample is the mean of a batch of calls that takes at least a millisecond, after one call that does not count. With one thread the
contestants take turns sample by sample. With more they take turns by blocks of samples, each block after 100 ms of calls that do not
count: threads of a pool wake up late and move between cores late (50 ms were seen), and until then some systems look twice as slow as
they are. Each round begins with another contestant.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastdw.tuning.timing import collection_paused

SAMPLE_SECONDS = 1e-3
WARM_SECONDS = 0.1
BLOCK_SAMPLES = 10
LEAST_ROUNDS = 3

Call = Callable[[], object]


@dataclass(frozen=True)
class Samples:
    """Seconds of one call, sample by sample, in the order in which they were taken."""

    calls_per_sample: int
    seconds: tuple[float, ...]

    @property
    def minimum(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How the times of two contestants of one run compare: by their minima, by their medians, and sample by sample (deciles 1 and 9)."""

    of_minima: float
    of_medians: float
    low: float
    high: float


def ratio(one: Samples, other: Samples) -> Ratio:
    pairs = [a / b for a, b in zip(one.seconds, other.seconds, strict=True)]
    low, *_, high = statistics.quantiles(pairs, n=10, method="inclusive")
    return Ratio(one.minimum / other.minimum, one.median / other.median, low, high)


def measure(calls: dict[str, Call], seconds: float, threads: int = 1) -> dict[str, Samples]:
    """Times the functions of a dictionary for about `seconds` in all; the same number of samples for each, so that they pair up."""
    names = list(calls)
    found: dict[str, list[float]] = {name: [] for name in names}
    with collection_paused():
        counts = {name: _calls_per_sample(calls[name], threads) for name in names}
        end = time.perf_counter() + seconds
        rounds = 0
        while rounds < LEAST_ROUNDS or time.perf_counter() < end:
            first = rounds % len(names)
            for name in names[first:] + names[:first]:
                found[name] += _block(calls[name], counts[name], threads)
            rounds += 1
    return {name: Samples(counts[name], tuple(found[name])) for name in names}


def warm(call: Call, seconds: float = WARM_SECONDS) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        call()


def _block(call: Call, count: int, threads: int) -> list[float]:
    if threads == 1:
        call()
        return [_sample(call, count)]
    warm(call)
    return [_sample(call, count) for _ in range(BLOCK_SAMPLES)]


def _sample(call: Call, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def _calls_per_sample(call: Call, threads: int) -> int:
    warm(call, WARM_SECONDS if threads > 1 else SAMPLE_SECONDS)
    count = 1
    while (elapsed := count * min(_sample(call, count) for _ in range(3))) < SAMPLE_SECONDS:
        count = max(count + 1, math.ceil(1.1 * count * SAMPLE_SECONDS / elapsed))
    return count
