"""A small storm: the whole one is python -m tests.storm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import storm


@pytest.mark.parametrize("layer", storm.LAYERS)
def test_threads_and_forks(layer, request):
    done = storm.storm_process(layer, 4, 40, 2, request.config.getoption("--seed"), Path(os.environ["FASTDW_CACHE_DIR"]))
    if done is None:
        pytest.skip(f"Numba cannot load its {layer} layer here")
    assert done["calls"] == 160
    assert done["forks"] >= 1


def test_a_kill_while_compiling(request):
    seed = request.config.getoption("--seed")
    assert any(storm.kills(1, seed + turn)["killed"] for turn in range(5)), "nothing was killed"
