"""The LLVM code of operations on vectors that run along a row of pixels."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from fastdw.tile.values import F32, I32, I64, Lowering, TileType, is_inside, load_value, lowering, pack, pointer, splat, tile_type


def _run_vectors(builder, typ: TileType, stride: int, period: int, load: Callable) -> list:
    """A row's vectors along pixels; load(first) gives the inputs from float `first` on, and is never asked past the last one wanted."""
    vectors = []
    for v in range(typ.vecs):
        wanted = [f // period * stride * period + f % period for f in range(v * typ.lanes, (v + 1) * typ.lanes)]
        missing = set(range(typ.lanes))
        vector = ir.Constant(typ.vector, ir.Undefined)
        for first in range(wanted[0], wanted[-1] + 1, typ.lanes):
            first = min(first, wanted[-1] + 1 - typ.lanes)
            found = {lane for lane in missing if first <= wanted[lane] < first + typ.lanes}
            mask = [typ.lanes + wanted[lane] - first if lane in found else lane for lane in range(typ.lanes)]
            vector = builder.shuffle_vector(vector, load(first), ir.Constant(ir.VectorType(I32, typ.lanes), mask))
            missing -= found
        vectors.append(vector)
    return vectors


@lowering
def load_run(shape, address, row_step) -> Lowering:
    typ, stride, period = tile_type(shape, shape.fields["rows"], 1), shape.fields["stride"], shape.fields["period"]

    def generate(builder, shape, address, row_step):
        vectors = []
        for i in range(typ.rows):
            row = builder.add(address, builder.mul(row_step, I64(i)))
            vectors += _run_vectors(
                builder, typ, stride, period, lambda first, row=row: load_value(builder, row, I64(4 * first), typ.vector)
            )
        return pack(builder, typ, vectors)

    return typ, generate


@lowering
def load_run_clipped(shape, address, row_step, row, row_stride, height, position, length, blank) -> Lowering:
    typ, stride, period = tile_type(shape, shape.fields["rows"], 1), shape.fields["stride"], shape.fields["period"]
    lanes, masks = typ.lanes, ir.VectorType(ir.IntType(1), typ.lanes)
    kind = ir.FunctionType(typ.vector, [typ.vector.as_pointer(), I32, masks, typ.vector])

    def generate(builder, shape, address, row_step, row, row_stride, height, position, length, blank):
        masked_load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{lanes}f32.p0")
        wide = ir.VectorType(I64, lanes)
        zero = ir.Constant(typ.vector, [0.0] * lanes)

        def load(first, base, inside):
            at = builder.add(splat(builder, builder.add(position, I64(first)), wide), ir.Constant(wide, list(range(lanes))))
            mask = builder.and_(builder.icmp_unsigned("<", at, splat(builder, length, wide)), splat(builder, inside, masks))
            return builder.call(masked_load, [pointer(builder, base, I64(4 * first), typ.vector), I32(4), mask, zero])

        vectors = []
        for i in range(typ.rows):
            inside = is_inside(builder, builder.add(row, builder.mul(row_stride, I64(i))), height)
            base = builder.add(address, builder.mul(row_step, I64(i)))
            vectors += _run_vectors(builder, typ, stride, period, lambda first, base=base, inside=inside: load(first, base, inside))
        return pack(builder, typ, vectors)

    return typ, generate


@lowering
def load_period(shape, address) -> Lowering:
    typ, period = tile_type(shape, 1, 1), shape.fields["period"]

    def generate(builder, shape, address):
        few = ir.Constant(ir.VectorType(F32, typ.lanes), ir.Undefined)
        for channel in range(period):
            few = builder.insert_element(few, load_value(builder, address, I64(4 * channel), F32), I32(channel))
        masks = ([(v * typ.lanes + lane) % period for lane in range(typ.lanes)] for v in range(typ.vecs))
        return pack(builder, typ, [builder.shuffle_vector(few, few, ir.Constant(ir.VectorType(I32, typ.lanes), mask)) for mask in masks])

    return typ, generate
