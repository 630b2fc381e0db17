"""fastdw's networks beside LiteRT, ONNX Runtime and OpenVINO, with the same weights: as `python -m bench.networks` times them.

Run it:  pytest bench/test_networks.py --benchmark-json=networks.json --benchmark-columns=min,median [-k mobilenet_v1]
"""

from __future__ import annotations

from argparse import Namespace
from functools import cache

import pytest

from bench.conftest import REPLAY
from bench.networks.__main__ import compare
from bench.networks.contestants import CONTESTANTS
from fastdw.networks import ARCHITECTURES

pytestmark = pytest.mark.benchmark(timer=REPLAY)


@cache
def results(network: str, threads: int, seconds: float) -> dict:
    return compare(network, Namespace(contestants=list(CONTESTANTS), threads=threads, seconds=seconds))


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("network", ARCHITECTURES)
def test_network(replay, network, threads, seconds, contestant):
    found = results(network, threads, seconds)
    if contestant in found["absent"]:
        pytest.skip(found["absent"][contestant])
    group = f"{network}, threads {threads}"
    replay(group, found["samples"][contestant]["seconds"], network=network, threads=threads, contestant=contestant)
