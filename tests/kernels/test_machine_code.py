"""The machine code of every kernel and tile on this machine: see check_code."""

from __future__ import annotations

import warnings

import pytest
from code_check import check_code
from numba import types
from tiles import kernel_tiles, tile_id

from bench.assembly import AARCH64, SSE, X86, Function
from fastdw import jit
from fastdw.kernels.spec import KernelSpec
from fastdw.machine import host
from fastdw.tile import TileShape

VECTORISED = [(spec, tile) for spec, tile in kernel_tiles() if not spec.is_reference and tile.lanes >= 4]  # else no registers are full


def assembly_and_symbol(spec: KernelSpec, tile: TileShape) -> tuple[str, str]:
    signature = (tile._numba_type_, types.intp, types.intp)
    spec.task.pointer(tile)
    dispatcher = spec.task.dispatcher
    try:
        with warnings.catch_warnings(action="error"):
            dispatcher.inspect_asm(signature)
    except UserWarning:  # loaded from a cache that was kept, which holds no assembly
        dispatcher = jit._dispatcher(spec.task.function, cached=False)
        dispatcher.compile(signature)
    return dispatcher.inspect_asm(signature), dispatcher.overloads[signature].fndesc.mangled_name


def check_compiled(spec: KernelSpec, tile: TileShape) -> None:
    names = {"aarch64": AARCH64, "x86_64": X86 if "fma" in host().features else SSE}.get(host().architecture)
    if names is None:
        pytest.skip(f"no table of the instructions of {host().architecture}")
    check_code(Function(*assembly_and_symbol(spec, tile), names), spec, tile)


@pytest.mark.parametrize(("spec", "tile"), VECTORISED, ids=tile_id)
def test_machine_code(spec, tile):
    check_compiled(spec, tile)
