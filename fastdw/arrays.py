"""NumPy arrays in machine code: their addresses, and whether they are as a call expects them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

from fastdw import jit
from fastdw.tile import peek

I8, I64 = ir.IntType(8), ir.IntType(64)


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


# ---- whether values are finite ------------------------------------------------------------------------------------------
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


# Where an array keeps its facts, in bytes from its address: PyArrayObject is a part of NumPy's ABI.
TYPE = ARRAY_DATA - 8
RANK, EXTENTS, DTYPE, FLAGS = (ARRAY_DATA + 8 * field for field in (1, 2, 5, 6))
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
    if peek(array + TYPE) != peek(expected) or peek(array + DTYPE) != peek(expected + 8):
        return False
    rank, flags = peek(array + RANK) & 0xFFFFFFFF, peek(expected + 16)
    if rank != peek(expected + 24) or peek(array + FLAGS) & flags != flags:
        return False
    extents = peek(array + EXTENTS)
    for axis in range(rank):  # noqa: SIM110 (compiled: there is no all())
        if peek(extents + 8 * axis) != peek(expected + 32 + 8 * axis):
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
