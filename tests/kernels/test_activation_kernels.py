"""Every kernel with activations that are functions: the stated bits, in code that calls nothing. Some tiles stand for all."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from test_machine_code import check_compiled
from test_registry import inside_a_line, inside_rows, run_and_check
from tiles import VARIATIONS, case_of_its_own, tile_id, tiles_of

from fastdw.kernels.spec import KernelSpec, registry
from fastdw.machine import host
from fastdw.problem import POOL, Activation
from fastdw.tile import TileShape
from fastdw.tile.activations import FUNCTIONS


def kernels_with_functions() -> list[tuple[KernelSpec, TileShape, str]]:
    """A large tile and a small one of each kernel, the functions in turn."""
    names = cycle(FUNCTIONS)
    found = []
    for spec in registry().values():
        if spec.kind != POOL:
            tiles = sorted(tiles_of(spec, host()), key=lambda tile: tile.pixels * tile.width)
            found += [(spec, tile, next(names)) for tile in dict.fromkeys((tiles[-1], tiles[0]))]
    return found


@pytest.mark.parametrize(("spec", "tile", "name"), kernels_with_functions(), ids=tile_id)
def test_tile_with_function(spec, tile, name):
    variation = replace(VARIATIONS[1], activation=Activation(name))
    case = case_of_its_own(spec, tile, variation)
    call = case.bind(np.empty(case.out_shape, np.float32))
    assert call.plan.compiled_shape == replace(tile, activation=name)
    assert name in call.plan.id
    assert name in call.plan.problem.key
    run_and_check(case, inside_rows if tile.period else inside_a_line, {})


@pytest.mark.parametrize(
    ("spec", "tile", "name"), [one for one in kernels_with_functions() if not one[0].is_reference and one[1].lanes >= 4], ids=tile_id
)
def test_machine_code_with_function(spec, tile, name):
    check_compiled(spec, replace(tile, activation=name))
