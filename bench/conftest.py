"""What the pytest-benchmark suites share."""

from __future__ import annotations

import time
from functools import cache

import pytest

from bench.peak import Peak
from fastdw.limits import usable_cores

PEAK_CALLS = 20
THREADS = sorted({1, usable_cores()})


@pytest.fixture(params=THREADS, ids="{}-threads".format)
def threads(request):
    return request.param


@cache
def _peak(threads):
    return Peak(threads)


@pytest.fixture
def peak_flops(threads):
    """A function that measures the FMA peak now, in FLOP/s."""
    peak = _peak(threads)

    def seconds():
        start = time.perf_counter()
        peak.call()
        return time.perf_counter() - start

    return lambda: peak.flops / min(seconds() for _ in range(PEAK_CALLS))
