"""fastdw's prepared calls beside its peers, on MobileNetV1's layers: as bench.compare times them, warm and cold, on one thread and on all.

Run it:  pytest bench/test_peers.py --benchmark-json=peers.json --benchmark-columns=min,median [-k 'warm and 1-threads']

Contestants of a layer take turns for --benchmark-max-time seconds in all. Results are checked before anything is timed; a peer that is
not installed, or does not serve the layer, is skipped with the reason.
"""

from __future__ import annotations

from argparse import Namespace
from functools import cache

import pytest

from bench import compare, peers
from bench.conftest import REPLAY
from bench.layers import layers
from bench.peak import Peak
from bench.report import OURS, LayerResult

pytestmark = pytest.mark.benchmark(timer=REPLAY)
peak = cache(Peak)


@cache
def results(layer, residency: str, threads: int, seconds: float) -> LayerResult:
    options = Namespace(peers=peers.names(), threads=threads, residency=residency, seconds=seconds, unaligned=False)
    return compare.compare(layer, options, peak(threads))


@pytest.mark.parametrize("contestant", [OURS, *peers.names()])
@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.id)
@pytest.mark.parametrize("residency", list(compare.MEANING))
def test_layer(replay, layer, residency, threads, seconds, contestant):
    found = results(layer, residency, threads, seconds)
    if contestant in found.absent:
        pytest.skip(found.absent[contestant])
    timed = found.timed[contestant]
    replay(
        f"{layer.id}, {residency}, threads {threads}",
        timed.samples.seconds,
        layer=layer.id,
        residency=residency,
        threads=threads,
        contestant=contestant,
        form=timed.form,
        error=timed.error,
        flops=layer.flops,
        bytes=layer.bytes,
        peak_flops=found.peak_flops,
    )
