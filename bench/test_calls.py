"""What a call costs above its kernel: on a problem so small that the kernel takes next to nothing, and in bytes allocated.

Run it:  pytest bench/test_calls.py --benchmark-columns=min,median

`launch` is the entry into machine code alone: it binds the addresses and runs the kernel. The difference from it is what checks, look-up
and Python cost; the JSON's `extra_info` states it as `above_launch_seconds`.
"""

from __future__ import annotations

import timeit
import tracemalloc
from functools import partial

import numpy as np
import pytest

import fastdw
from bench import ours
from bench.data import aligned_copy, aligned_empty, make_case
from bench.layers import conv, dense, depthwise, pointwise

TINY = [depthwise(4, 16), pointwise(4, 16, 16), conv(4, 3, 16, kernel=3, stride=1), dense(16, 16)]
LARGER = [depthwise(56, 128), pointwise(28, 128, 256), conv(112, 3, 32, kernel=3, stride=2), dense(1024, 1000)]
MOST_BYTES = 4096


class Calls:
    """The ways to run one layer on the same arrays."""

    def __init__(self, layer, threads=1):
        case = make_case(layer)
        weight, self.bias = case.weights[0], case.biases[0]
        self.x = aligned_copy(case.x.reshape(ours.fastdw_shape(layer, layer.in_shape)))
        self.out = aligned_empty(ours.fastdw_shape(layer, layer.out_shape))
        self.layer = ours.prepare(layer, weight, self.bias, threads)
        self.prepared = partial(self.layer, self.x, self.out)
        function, keywords = ours.functional(layer)
        pack = {"depthwise": fastdw.pack_depthwise, "conv": fastdw.pack_conv2d}.get(layer.kind, fastdw.pack_pointwise)
        self.functional = partial(function, self.x, pack(weight), self.bias, out=self.out, threads=threads, **keywords)

    @property
    def launch(self):
        """The prepared call's machine code, without its checks."""
        call = self.layer._usual
        arrays = (self.x, self.layer._weight, self.bias, self.x, self.out)
        return partial(call.launch, *arrays, call.address, 1, call.function, call.tasks, call.workers)


@pytest.mark.parametrize("layer", TINY, ids=lambda layer: layer.id)
@pytest.mark.parametrize("way", ["launch", "prepared", "functional"])
def test_overhead(benchmark, layer, way):
    calls = Calls(layer)
    call = getattr(calls, way)
    benchmark.group = layer.id
    benchmark(call)
    benchmark.extra_info["above_launch_seconds"] = _quickest(call) - _quickest(calls.launch)


@pytest.mark.parametrize("layer", LARGER, ids=lambda layer: layer.id)
@pytest.mark.parametrize("way", ["prepared", "functional"])
def test_bytes_allocated_with_out(layer, way, threads):
    call = getattr(Calls(layer, threads), way)
    call()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < MOST_BYTES


def test_all_ways_agree():
    for layer in TINY:
        calls = Calls(layer)
        results = []
        for call in (calls.launch, calls.prepared, calls.functional):
            calls.out[...] = np.nan
            call()
            results.append(calls.out.copy())
        assert np.array_equal(results[0], results[1])
        assert np.array_equal(results[0], results[2])


def _quickest(call, calls=2000, repeats=20):
    return min(timeit.repeat(call, number=calls, repeat=repeats)) / calls
