"""The machine code of a Raspberry Pi 4's default plans, through LLVM's passes and code generator for its CPU.

Not to the last instruction what Numba makes there, but close: the same intermediate code, the same passes.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import numba
import pytest
from assembly import AARCH64, Function
from code_check import check_code
from numba import types
from numba.core.registry import cpu_target
from tiles import tile_id

from fastdw import jit
from fastdw.kernels.spec import KernelSpec
from fastdw.machine import Machine
from fastdw.planner import candidates
from fastdw.problem import CONV, DEPTHWISE, POINTWISE, Problem
from fastdw.tile import TileShape

PI = Machine("Cortex-A72", "aarch64", frozenset({"asimd"}), 4, 32 << 10, 1 << 20)
TRIPLE = "aarch64-unknown-linux-gnu"
LAYERS = [  # of MobileNetV1
    *(Problem(DEPTHWISE, 1, 112 // n, 112 // n, 32 * n, 32 * n, (3, 3), padding=((1, 1), (1, 1))) for n in (1, 4, 8, 16)),
    *(Problem(DEPTHWISE, 1, 112 // n, 112 // n, 64 * n, 64 * n, (3, 3), (2, 2), padding=((0, 1), (0, 1))) for n in (1, 2, 4, 8)),
    *(Problem(POINTWISE, 1, 1, (112 // n) ** 2, 32 * n, 64 * n) for n in (1, 4, 8, 16)),
    Problem(CONV, 1, 224, 224, 3, 32, (3, 3), (2, 2), padding=((0, 1), (0, 1))),
]


def tiles_on_a_pi() -> list[tuple[KernelSpec, TileShape]]:
    firsts = [(candidates(layer, PI)[0][0], layer) for layer in LAYERS]
    return list(dict.fromkeys((spec, spec.choose(layer, PI, 1)[0]) for spec, layer in firsts))


@pytest.fixture
def unoptimised(monkeypatch):
    monkeypatch.setattr(numba.config, "OPT", type(numba.config.OPT)(0))
    monkeypatch.setattr(cpu_target.target_context.codegen(), "_opt_level", 0)


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """As Numba does: cheap passes first, then all."""
    for first in (True, False):
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = not first
        builder = llvm.create_pass_builder(machine, options)
        passes = builder.getModulePassManager()
        if first:
            passes.add_loop_rotate_pass()
            passes.add_instruction_combine_pass()
            passes.add_jump_threading_pass()
        passes.run(module, builder)


@pytest.mark.parametrize(("spec", "tile"), tiles_on_a_pi(), ids=tile_id)
def test_machine_code_on_a_pi(spec, tile, unoptimised):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu="cortex-a72", opt=3, reloc="pic")
    dispatcher = jit._dispatcher(spec.task.function, cached=False)
    signature = (tile._numba_type_, types.intp, types.intp)
    dispatcher.compile(signature)
    code = re.sub(r'^target (triple|datalayout) = ".*"$', "", dispatcher.inspect_llvm(signature), flags=re.MULTILINE)
    module = llvm.parse_assembly(re.sub(r'"target-(cpu|features)"="[^"]*"', "", code))
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    optimise(module, machine)
    symbol = dispatcher.overloads[signature].fndesc.mangled_name
    check_code(Function(machine.emit_assembly(module), symbol, AARCH64), spec, tile)
