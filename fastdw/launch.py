"""From Python to machine code: a compiled launcher copies a context, fills in the arrays' addresses and runs its tasks.

Every context begins with the addresses of x, weight, bias, residual and out; the launcher writes them into a copy of its
own on the stack, so concurrent calls share nothing. A template is that context followed by the span of each array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastdw import arrays, jit
from fastdw.arrays import ArrayAddress, address_of
from fastdw.thread_pool import narrow, on_threads, started_layer, widen
from fastdw.tile import call, peek, poke, take
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

I64 = ir.IntType(64)
RESIDUAL, OUT = 8 * ARRAYS.index("residual"), 8 * ARRAYS.index("out")
SPANS = 8 * CONTEXT_FIELDS  # where the spans begin in a template: two fields an array, first and last byte past its address
COUNTER = 8 * CONTEXT_FIELDS + 64  # the next task, on a cache line of its own
N_INPUTS = ARRAYS.index("out")


@intrinsic
def _copy_context(typing_context, template):
    """A copy of a template's context on the caller's stack, with room for the counter; its address."""

    def codegen(context, builder, signature, args):
        block = cgutils.alloca_once(builder, ir.ArrayType(I64, COUNTER // 8 + 8))
        block.align = 64
        cgutils.raw_memcpy(
            builder, builder.bitcast(block, I64.as_pointer()), builder.inttoptr(args[0], I64.as_pointer()), I64(CONTEXT_FIELDS), 8
        )
        return builder.ptrtoint(block, I64)

    return types.intp(types.intp), codegen


def _bind(context, x, weight, bias, residual, out, template, check):
    """Write the addresses into a context; the number of the input that out overlaps, or zero."""
    for i, address in enumerate((address_of(x), address_of(weight), address_of(bias), address_of(residual), address_of(out))):
        poke(context + 8 * i, address)
    if peek(template + RESIDUAL) == 0:
        poke(context + RESIDUAL, 0)
    if check:
        spans = template + SPANS
        first = peek(context + OUT) + peek(spans + 2 * OUT)
        last = peek(context + OUT) + peek(spans + 2 * OUT + 8)
        for i in range(N_INPUTS):
            address = peek(context + 8 * i)
            if first < address + peek(spans + 16 * i + 8) and address + peek(spans + 16 * i) < last:
                return i + 1
    return 0


_bind = jit.Inlined(_bind)


def _serial(x, weight, bias, residual, out, template, check, function, tasks, workers):
    context = _copy_context(template)
    overlap = _bind(context, x, weight, bias, residual, out, template, check)
    if overlap:
        return overlap
    for index in range(tasks):
        call(function, context, index)
    return 0


def _parallel(x, weight, bias, residual, out, template, check, function, tasks, workers):
    context = _copy_context(template)
    overlap = _bind(context, x, weight, bias, residual, out, template, check)
    if overlap:
        return overlap
    before = narrow(workers)
    poke(context + COUNTER, 0)
    for _ in prange(min(workers, before)):
        index = take(context + COUNTER)
        while index < tasks:
            call(function, context, index)
            index = take(context + COUNTER)
    widen(before)
    return 0


def _signature() -> tuple:
    return (ArrayAddress(),) * len(ARRAYS) + (types.intp,) * 5


@cache
def serial() -> Callable[..., int]:
    return jit.entry_point(_serial, _signature())


@cache
def _parallel_entry() -> Callable[..., int]:
    return jit.entry_point(_parallel, _signature(), parallel=True)


def parallel(*arguments) -> int:
    """The parallel launcher on as many threads as the plan allows and can be had now."""
    return on_threads(serial, _parallel_entry, arguments)


def load_all() -> None:
    """Compile, or load, whatever calls need beside their kernels."""
    for load in (serial, arrays.finite, arrays.usual):
        load()
    if started_layer():  # where the symbols are that the parallel launcher is linked to
        _parallel_entry()
