"""What a fresh process pays, in seconds to the result, compilations and memory: as bench.cold_start measures it.

Run it:  pytest bench/test_cold_start.py --benchmark-json=cold_start.json --benchmark-columns=min,median
"""

from __future__ import annotations

import pytest

from bench import cold_start
from bench.conftest import REPLAY

pytestmark = pytest.mark.benchmark(timer=REPLAY)
NETWORK = cold_start.NETWORK.format(name="mobilenet_v2")
RUNS = {
    "import fastdw": (cold_start.IMPORT, 10),
    "first call, kernels cached": (cold_start.FIRST_CALL, 10),
    "mobilenet_v2, kernels cached": (NETWORK, 5),
    "mobilenet_v2, empty cache": (NETWORK, 2),
}


@pytest.mark.parametrize("what", RUNS)
def test_process(replay, tmp_path, what, seconds):
    source, runs = RUNS[what]
    if what.endswith("cached"):
        cold_start.run(source, str(tmp_path))
    facts = [cold_start.run(source, str(tmp_path / str(i) if "empty" in what else tmp_path)) for i in range(runs if seconds else 1)]
    replay(
        "fresh processes",
        tuple(one["seconds" if source == cold_start.IMPORT else "to_result"] for one in facts),
        what=what,
        compilations=max(len(one["compiled"]) for one in facts),
        peak_bytes=max(one["peak_bytes"] for one in facts),
    )
