"""Whole kernels run in Python, where every tile operation is its NumPy meaning: the bits of the compiled code."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order
from tiles import VARIATIONS, Case, case_of_its_own, tile_id, tiles_of

from fastdw.call import Call
from fastdw.kernels.spec import KernelSpec, registry
from fastdw.machine import host
from fastdw.packing import BLANK
from fastdw.tile import ARRAYS, TileShape, operations
from fastdw.tile.shapes import CONTEXT_FIELDS


@pytest.fixture(autouse=True)
def rounds_like_this_machine(monkeypatch):
    """Twice, where the CPU has no fused multiply-add."""
    if stated_order.multiply_add is stated_order.multiply_then_add:
        monkeypatch.setattr(operations, "fused_multiply_add", stated_order.multiply_then_add)


def small_tiles(spec: KernelSpec) -> list[TileShape]:
    """With several pixels, where there is one: of each way of taking channels, and with and without a rest of the filter's columns."""
    tiles = sorted(tiles_of(spec, host()), key=lambda tile: (tile.pixels < 4, tile.pixels * tile.width), reverse=True)
    return list({(min(tile.expand, 2), tile.rest > 0): tile for tile in tiles}.values())


def run_in_python(call: Call, case: Case, out: np.ndarray) -> None:
    """What a launcher does: the addresses into a copy of the context, then every task."""
    x, weight, bias, residual = case.arrays()
    context = call.template[:CONTEXT_FIELDS].copy()
    wanted = {"x": x, "weight": weight, "bias": BLANK if bias is None else bias, "residual": residual, "out": out}
    for name, array in wanted.items():
        context[ARRAYS.index(name)] = 0 if array is None else array.ctypes.data
    for index in range(call.tasks):
        case.spec.task(call.plan.compiled_shape, context.ctypes.data, index)


@pytest.mark.parametrize("variation", VARIATIONS, ids=range(len(VARIATIONS)))
@pytest.mark.parametrize(("spec", "tile"), [(spec, tile) for spec in registry().values() for tile in small_tiles(spec)], ids=tile_id)
def test_python_and_compiled_code_give_the_same_bits(spec, tile, variation):
    case = case_of_its_own(spec, tile, variation)
    compiled, meant = np.zeros(case.out_shape, np.float32), np.zeros(case.out_shape, np.float32)
    call = case.bind(compiled)
    call(*case.arrays(), compiled)
    run_in_python(call, case, meant)
    stated_order.check_bits(compiled, meant, str(case))
