"""The machine code of a kernel for another CPU: Numba's intermediate code, through LLVM's passes and code generator for that CPU.

Not to the last instruction what Numba makes there, but close: the same intermediate code, the same passes.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
import numba
from numba import types
from numba.core.registry import cpu_target

from bench.assembly import AARCH64, SSE, X86, Function, InstructionSet
from fastdw import jit
from fastdw.jit import Inlined, Task
from fastdw.machine import Machine
from fastdw.tile import TileShape

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Core:
    """A CPU core as LLVM names it, and the machine that the planner sees there.

    simulated_as: the core whose model llvm-mca uses. Vectors a cycle that it can multiply and add, and that it can load, are what
    the vendor's optimisation guide says, not the model.
    """

    cpu: str
    machine: Machine
    names: InstructionSet
    simulated_as: str
    fused_a_cycle: int
    loads_a_cycle: int

    @property
    def triple(self) -> str:
        return f"{self.machine.architecture}-unknown-linux-gnu"


def _x86(cpu: str, features: set[str], names: InstructionSet, fused_a_cycle: int) -> Core:
    machine = Machine(cpu, "x86_64", frozenset({"sse2"} | features), 4, 32 << 10, 512 << 10)
    return Core(cpu, machine, names, cpu, fused_a_cycle, 2)


def _arm(cpu: str, part: str, caches: tuple[int, int], rates: tuple[int, int], simulated_as: str | None = None) -> Core:
    machine = Machine(cpu, "aarch64", frozenset({"asimd"}), 4, caches[0] << 10, caches[1] << 10, (f"0x41-{part}",))
    return Core(cpu, machine, AARCH64, simulated_as or cpu, *rates)


CORES = {
    core.cpu: core
    for core in (
        _x86("x86-64-v2", set(), SSE, 1),
        _x86("x86-64-v3", {"avx2", "fma"}, X86, 2),
        _x86("x86-64-v4", {"avx2", "fma", "avx512f", "avx512vl"}, X86, 2),
        _arm("cortex-a53", "0xd03", (32, 512), (1, 1), simulated_as="cortex-a55"),
        _arm("cortex-a55", "0xd05", (32, 128), (1, 1)),
        _arm("cortex-a72", "0xd08", (32, 1024), (1, 1)),
        _arm("cortex-a76", "0xd0b", (64, 512), (2, 2), simulated_as="neoverse-n1"),
        _arm("neoverse-n1", "0xd0c", (64, 1024), (2, 2)),
    )
}


def compile_for(core: Core, task: Task, tile: TileShape) -> Function:
    """The function that a task becomes for a tile."""
    code, symbol = _unoptimised(task, tile)
    machine = _target_machine(core.triple, core.cpu)
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = core.triple, str(machine.target_data)
    _optimise(module, machine)
    return Function(machine.emit_assembly(module), symbol, core.names)


@cache
def _unoptimised(task: Task, tile: TileShape) -> tuple[str, str]:
    """LLVM's intermediate code before any pass, without what ties it to this machine, and the name of the function."""
    with _LOCK, _without_passes():
        dispatcher = jit._dispatcher(task.function, cached=False)
        signature = (tile._numba_type_, types.intp, types.intp)
        dispatcher.compile(signature)
    code = re.sub(r'^target (triple|datalayout) = ".*"$', "", dispatcher.inspect_llvm(signature), flags=re.MULTILINE)
    return re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", code), dispatcher.overloads[signature].fndesc.mangled_name


@contextmanager
def _without_passes() -> Iterator[None]:
    """What is inlined is compiled anew too: passes for this machine may have seen what it was compiled to before."""
    codegen = cpu_target.target_context.codegen()
    kept = numba.config.OPT, codegen._opt_level  # type: ignore[attr-defined]
    inlined = {id(value): value for module in list(sys.modules.values()) for value in vars(module).values() if type(value) is Inlined}
    dispatchers = {number: value.__dict__.pop("dispatcher", None) for number, value in inlined.items()}
    numba.config.OPT, codegen._opt_level = type(kept[0])(0), 0  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.config.OPT, codegen._opt_level = kept  # type: ignore[attr-defined]
        for number, value in inlined.items():
            value.__dict__.pop("dispatcher", None)
            if dispatchers[number] is not None:
                value.__dict__["dispatcher"] = dispatchers[number]


@cache
def _target_machine(triple: str, cpu: str) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3, reloc="pic")


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
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
