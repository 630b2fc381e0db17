"""fastdw's prepared calls on MobileNetV1's layers: batch 1, warm, aligned arrays.

Run it:  pytest bench/test_layers.py --benchmark-group-by=param:threads --benchmark-columns=min,median --benchmark-json=layers.json

The JSON's `extra_info` holds threads, FLOP, GFLOP/s and the share of the FMA peak that was measured beside each layer.
"""

from __future__ import annotations

import pytest

from bench import ours
from bench.data import TOLERANCE, largest_error, make_case, reference
from bench.layers import layers
from bench.timing import warm


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.id)
def test_layer(benchmark, layer, threads, peak_flops):
    case = make_case(layer)
    runner = ours.make(layer, case.weights, case.biases, threads)
    runner.set_input(case.x)
    warm(runner.call)
    assert largest_error(runner.output_nhwc(0), reference(layer, case.x, case.weights[0], case.biases[0])) <= TOLERANCE

    benchmark(runner.call)
    if benchmark.stats is None:  # --benchmark-disable
        return
    flops_per_second = layer.flops / benchmark.stats.stats.min
    benchmark.extra_info.update(
        threads=threads,
        flops=layer.flops,
        bytes=layer.bytes,
        gflops_per_second=flops_per_second / 1e9,
        share_of_peak=flops_per_second / peak_flops(),
        alignment="64 bytes",
    )
