"""From Python to machine code: a compiled launcher copies a context, fills in the arrays' addresses and runs its tasks.

Every context begins with the addresses of x, weight, bias, residual and out; the launcher writes them into a copy of its
own on the stack, so concurrent calls share nothing. A template is that context followed by the span of each array.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir
from numba import carray, config, get_num_threads, prange, set_num_threads, threading_layer, types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

from fastdw import forks, jit
from fastdw.machine import usable_cores
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

LOG = logging.getLogger("fastdw")
I8, I64 = ir.IntType(8), ir.IntType(64)
RESIDUAL, OUT = ARRAYS.index("residual"), ARRAYS.index("out")
SPANS = CONTEXT_FIELDS  # where the spans begin in a template: two fields an array, first and last byte past its address
COUNTER = CONTEXT_FIELDS + 8  # the next task, on a cache line of its own


class ArrayAddress(types.Type):
    """A NumPy array of any rank and layout, unboxed to the address of its data alone."""

    def __init__(self):
        super().__init__("ArrayAddress")


ARRAY_DATA = object.__basicsize__  # PyArrayObject, a part of NumPy's ABI: the object's header, then the pointer to the data
register_model(ArrayAddress)(lambda manager, typ: models.PrimitiveModel(manager, typ, I64))


@unbox(ArrayAddress)
def _unbox_address(typ, array, c):
    return NativeValue(
        c.builder.load(c.builder.bitcast(c.builder.gep(c.builder.bitcast(array, I8.as_pointer()), [I64(ARRAY_DATA)]), I64.as_pointer()))
    )


@intrinsic
def address_of(typing_context, array):
    return types.intp(array), lambda context, builder, signature, args: args[0]


@intrinsic
def _call_task(typing_context, function, context_address, index):
    def codegen(context, builder, signature, args):
        opaque = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [opaque, I64, I64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [ir.Constant(opaque, None), args[1], args[2]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def _copy_context(typing_context, template):
    """A copy of a template's context on the caller's stack, with room for the counter; its address."""

    def codegen(context, builder, signature, args):
        block = cgutils.alloca_once(builder, ir.ArrayType(I64, COUNTER + 8))
        block.align = 64
        cgutils.raw_memcpy(
            builder, builder.bitcast(block, I64.as_pointer()), builder.inttoptr(args[0], I64.as_pointer()), I64(CONTEXT_FIELDS), 8
        )
        return builder.ptrtoint(block, I64)

    return types.intp(types.intp), codegen


def _at(builder, address, field):
    return builder.gep(builder.inttoptr(address, I64.as_pointer()), [field])


@intrinsic
def _get(typing_context, address, field):
    return types.intp(types.intp, types.intp), lambda context, builder, signature, args: builder.load(_at(builder, *args))


@intrinsic
def _set(typing_context, address, field, value):
    def codegen(context, builder, signature, args):
        builder.store(args[2], _at(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@intrinsic
def _next(typing_context, address, field):
    """Fetch and add one, atomically."""
    return types.intp(types.intp, types.intp), lambda context, builder, signature, args: builder.atomic_rmw(
        "add", _at(builder, *args), I64(1), "monotonic"
    )


def _bind(context, x, weight, bias, residual, out, template, check):
    """Write the addresses into a context; the number of the input that out overlaps, or zero."""
    for i, address in enumerate((address_of(x), address_of(weight), address_of(bias), address_of(residual), address_of(out))):
        _set(context, i, address)
    if _get(template, RESIDUAL) == 0:
        _set(context, RESIDUAL, 0)
    if check:
        first = _get(context, OUT) + _get(template, SPANS + 2 * OUT)
        last = _get(context, OUT) + _get(template, SPANS + 2 * OUT + 1)
        for i in range(OUT):
            address = _get(context, i)
            if first < address + _get(template, SPANS + 2 * i + 1) and address + _get(template, SPANS + 2 * i) < last:
                return i + 1
    return 0


_bind = jit.Inlined(_bind)


def _serial(x, weight, bias, residual, out, template, check, function, tasks, workers):
    context = _copy_context(template)
    overlap = _bind(context, x, weight, bias, residual, out, template, check)
    if overlap:
        return overlap
    for index in range(tasks):
        _call_task(function, context, index)
    return 0


def _parallel(x, weight, bias, residual, out, template, check, function, tasks, workers):
    context = _copy_context(template)
    overlap = _bind(context, x, weight, bias, residual, out, template, check)
    if overlap:
        return overlap
    _set(context, COUNTER, 0)
    for _ in prange(workers):
        index = _next(context, COUNTER)
        while index < tasks:
            _call_task(function, context, index)
            index = _next(context, COUNTER)
    return 0


def _signature() -> tuple:
    return (ArrayAddress(),) * len(ARRAYS) + (types.intp,) * 5


@cache
def serial() -> Callable[..., int]:
    return jit.entry_point(_serial, _signature())


def _finite(array, count):
    """Whether no exponent is all ones. Integers, so that the loop becomes vectors without reordering sums."""
    bits = carray(_integers(address_of(array)), count)
    largest = np.int32(0)
    for i in range(count):
        largest = max(largest, bits[i] & np.int32(0x7FFFFFFF))
    return largest < np.int32(0x7F800000)


@intrinsic
def _integers(typing_context, address):
    """The address of floats as that of 32-bit integers."""
    result = types.CPointer(types.int32)
    return result(address), lambda context, builder, signature, args: builder.inttoptr(args[0], context.get_value_type(result))


@cache
def finite() -> Callable[..., bool]:
    """finite()(array, count): are the first count elements of a contiguous array free of infinities and NaNs?"""
    return jit.entry_point(_finite, (ArrayAddress(), types.intp))


# ---- arrays as a prepared call expects them -----------------------------------------------------------------------------
class ObjectAddress(types.Type):
    """Any Python object, unboxed to its address."""

    def __init__(self):
        super().__init__("ObjectAddress")


register_model(ObjectAddress)(lambda manager, typ: models.PrimitiveModel(manager, typ, I64))


@unbox(ObjectAddress)
def _unbox_object(typ, value, c):
    return NativeValue(c.builder.ptrtoint(value, I64))


# Where an array keeps its facts, in int64 fields from its address: PyArrayObject is a part of NumPy's ABI.
TYPE = ARRAY_DATA // 8 - 1
RANK, EXTENTS, DTYPE, FLAGS = (ARRAY_DATA // 8 + field for field in (1, 2, 5, 6))
MOST_AXES = 4
EXPECTED_FIELDS = 4 + MOST_AXES  # of one array: type, dtype, flags, rank, extents


def expectation(*arrays: tuple[tuple[int, ...], bool]) -> np.ndarray:
    """What `usual` compares arrays with: each a shape, and whether it will be written to."""
    expected = np.zeros((len(arrays), EXPECTED_FIELDS), np.int64)
    for row, (shape, written) in zip(expected, arrays, strict=True):
        flags = CONTIGUOUS | ALIGNED | (WRITEABLE if written else 0)
        row[: 4 + len(shape)] = (id(np.ndarray), id(np.dtype(np.float32)), flags, len(shape), *shape)
    return expected


CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400  # NumPy's flags


def _as_expected(array, expected):
    array = address_of(array)
    if _get(array, TYPE) != _get(expected, 0) or _get(array, DTYPE) != _get(expected, 1):
        return False
    rank, flags = _get(array, RANK) & 0xFFFFFFFF, _get(expected, 2)
    if rank != _get(expected, 3) or _get(array, FLAGS) & flags != flags:
        return False
    extents = _get(array, EXTENTS)
    for axis in range(rank):  # noqa: SIM110 (compiled: there is no all())
        if _get(extents, axis) != _get(expected, 4 + axis):
            return False
    return True


_as_expected = jit.Inlined(_as_expected)


def _usual(x, residual, out, expected):
    row = 8 * EXPECTED_FIELDS
    return _as_expected(x, expected) and _as_expected(residual, expected + row) and _as_expected(out, expected + 2 * row)


@cache
def usual() -> Callable[..., bool]:
    """usual()(x, residual, out, address): are these the NumPy arrays, contiguous and aligned, that an expectation is for?"""
    compiled = jit.entry_point(_usual, (ObjectAddress(),) * 3 + (types.intp,))
    sample = np.zeros((2, 3), np.float32)
    expected = expectation(*[(sample.shape, True)] * 3)
    if compiled(sample, sample, sample, expected.ctypes.data):
        return compiled
    return lambda *arguments: False  # arrays are laid out otherwise than known here: each call takes the slower checks


# ---- threads --------------------------------------------------------------------------------------------------------
_busy = threading.Lock()


@cache
def _parallel_entry() -> Callable[..., int]:
    return jit.entry_point(_parallel, _signature(), parallel=True)


def parallel(*arguments) -> int:
    """The parallel launcher on as many threads as the plan and Numba's current mask allow."""
    return on_threads(serial, _parallel_entry, arguments)


def on_threads(alone: Callable[[], Callable[..., int]], together: Callable[[], Callable[..., int]], arguments: tuple) -> int:
    """together()(*arguments), the last of which is the number of threads; alone()(*arguments) where Numba's threads cannot be
    used now: after a fork, or, on workqueue, while another Python thread uses them."""
    if forks.threads_lost:
        return alone()(*arguments)
    launch = together()
    mask = get_num_threads()
    workers = min(arguments[-1], mask)
    if workers == 1:
        return alone()(*arguments)
    if threading_layer() == "workqueue":
        if not _busy.acquire(blocking=False):
            return alone()(*arguments)
        try:
            return _masked(launch, arguments[:-1], workers, mask)
        finally:
            _busy.release()
    return _masked(launch, arguments[:-1], workers, mask)


def _masked(launch: Callable[..., int], arguments: tuple, workers: int, mask: int) -> int:
    if workers == mask:
        return launch(*arguments, workers)
    set_num_threads(workers)
    try:
        return launch(*arguments, workers)
    finally:
        set_num_threads(mask)


def load_all() -> None:
    """Compile, or load, whatever calls need beside their kernels."""
    for load in (serial, _parallel_entry, finite, usual):
        load()


def layer_in_use() -> str:
    """Numba's threading layer; empty before the first parallel launch."""
    try:
        return threading_layer()
    except ValueError:
        return ""


@cache
def thread_limit() -> int:
    """How many threads a call may use: those of Numba's pool, bounded by affinity and quota."""
    return min(config.NUMBA_NUM_THREADS, usable_cores())  # type: ignore[attr-defined]


@cache
def say_clamped(threads: int, limit: int) -> None:
    """Once for each pair of numbers."""
    LOG.warning("threads: got %d, and %d can be used; %d are", threads, limit, limit)
