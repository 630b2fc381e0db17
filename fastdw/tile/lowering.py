"""The LLVM code of operations.py: loads, stores and multiply-adds; the rest lies in the modules that are imported here."""

from __future__ import annotations

import dataclasses
import inspect
from functools import cache

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import make_intrinsic_template

from fastdw.machine import tuned_core
from fastdw.tile import arithmetic_lowering, memory_lowering, run_lowering
from fastdw.tile.shapes import SCRATCH_BYTES, TileShape
from fastdw.tile.values import (
    F32,
    I8,
    I32,
    I64,
    LOWERINGS,
    ContextType,
    Lowering,
    TileType,
    is_inside,
    load_value,
    load_vectors,
    lowering,
    multiply_adder,
    pack,
    pixel_vectors,
    pointer,
    splat,
    tile_type,
    unpack,
    vector_offsets,
    window_type,
)

DECLARED = arithmetic_lowering, memory_lowering, run_lowering  # by being imported


def operation_type(operation) -> types.Function:
    """The Numba type of an operation object met in a kernel."""
    lower = LOWERINGS[operation.__name__]

    def definition(typing_context, *args):
        result, generate = lower(*args)

        def codegen(context, builder, signature, values):
            made = generate(builder, *values)
            return context.get_dummy_value() if made is None else made

        return result(*args), codegen

    declared = inspect.signature(lower).parameters.values()
    leading = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    definition.__signature__ = inspect.Signature([leading, *declared])  # type: ignore[attr-defined]
    return types.Function(make_intrinsic_template(operation, definition, operation.__name__, prefer_literal=True))


@lowering
def view(fields, address) -> Lowering:
    def generate(builder, fields, address):
        core = tuned_core()
        if core is not None:  # past llvmlite's list of the attributes that it knows
            set.add(builder.function.attributes, f'"tune-cpu"="{core}"')
        return address

    return ContextType(tuple(fields.fields)), generate


@lowering
def zeros(shape) -> Lowering:
    typ = tile_type(shape, shape.fields["rows"], shape.fields["cols"])
    zero = ir.Constant(typ.vector, [0.0] * typ.lanes)
    return typ, lambda builder, shape: pack(builder, typ, [zero] * typ.count)


@lowering
def load(shape, address, row_step, col_step, last_vec) -> Lowering:
    typ = tile_type(shape, shape.fields["rows"], shape.fields["cols"])
    return typ, lambda builder, shape, *where: load_vectors(builder, typ, *where)


def _changed(shape, **fields) -> Lowering:
    """The shape with other fields, and all that follows from them, as dataclasses.replace gives in the meaning."""
    given = {field.name: shape.fields[field.name] for field in dataclasses.fields(TileShape)}
    return TileShape(**(given | fields))._numba_type_, lambda builder, shape: shape


@lowering
def last_taps(shape) -> Lowering:
    return _changed(shape, taps=shape.fields["rest"])


@lowering
def without_repeats(shape) -> Lowering:
    return _changed(shape, expand=1)


@lowering
def without_left(shape) -> Lowering:
    return _changed(shape, left=0)


@lowering
def without_right(shape) -> Lowering:
    return _changed(shape, right=0)


@lowering
def one_row(shape) -> Lowering:
    return _changed(shape, rows=1)


@lowering
def narrower(shape) -> Lowering:
    return _changed(shape, cols=shape.fields["cols"] - shape.fields["uneven"], uneven=False)


@lowering
def scratch(shape) -> Lowering:
    def generate(builder, shape):
        with builder.goto_entry_block():
            block = builder.alloca(ir.ArrayType(I8, SCRATCH_BYTES))
            block.align = 64
        kept = cgutils.alloca_once(builder, I64)  # read back as a volatile: an address that comes from nowhere is kept in a register
        builder.store(builder.ptrtoint(block, I64), kept)
        address = builder.load(kept)
        address.volatile = True
        return address

    return types.intp, generate


@lowering
def load_pixel(shape, address) -> Lowering:
    typ, expand = tile_type(shape, 1, 1), shape.fields["expand"]
    return typ, lambda builder, shape, address: pack(builder, typ, pixel_vectors(builder, typ, expand, address, I64(0)))


@lowering
def load_pixels(shape, address, col_step) -> Lowering:
    typ, expand = tile_type(shape, 1, shape.fields["cols"]), shape.fields["expand"]

    def generate(builder, shape, address, col_step):
        pixels = (pixel_vectors(builder, typ, expand, address, builder.mul(col_step, I64(j))) for j in range(typ.cols))
        return pack(builder, typ, [vector for pixel in pixels for vector in pixel])

    return typ, generate


@lowering
def load_row(shape, address, last_vec) -> Lowering:
    typ = tile_type(shape, 1, 1)
    return typ, lambda builder, shape, address, last_vec: load_vectors(builder, typ, address, I64(0), I64(0), last_vec)


@lowering
def load_taps(shape, address, tap_step) -> Lowering:
    typ = tile_type(shape, 1, shape.fields["taps"])
    return typ, lambda builder, shape, address, tap_step: load_vectors(builder, typ, address, I64(0), tap_step)


@lowering
def load_window(shape, address, row_step, col_step) -> Lowering:
    typ, expand = window_type(shape), shape.fields["expand"]

    def generate(builder, shape, address, row_step, col_step):
        vectors = []
        for i in range(typ.rows):
            for j in range(typ.cols):
                offset = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(j)))
                vectors += pixel_vectors(builder, typ, expand, address, offset)
        return pack(builder, typ, vectors)

    return typ, generate


@lowering
def load_window_clipped(shape, address, row_step, col_step, row, row_stride, height, col, width, blank) -> Lowering:
    typ, expand = window_type(shape), shape.fields["expand"]

    def generate(builder, shape, address, row_step, col_step, row, row_stride, height, col, width, blank):
        cols_inside = [is_inside(builder, builder.add(col, I64(j)), width) for j in range(typ.cols)]
        vectors = []
        for i in range(typ.rows):
            row_inside = is_inside(builder, builder.add(row, builder.mul(row_stride, I64(i))), height)
            for j in range(typ.cols):
                offset = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(j)))
                pixel = builder.select(builder.and_(row_inside, cols_inside[j]), builder.add(address, offset), blank)
                vectors += pixel_vectors(builder, typ, expand, pixel, I64(0))
        return pack(builder, typ, vectors)

    return typ, generate


@lowering
def slide_fma(shape, acc, x, taps) -> Lowering:
    stride = shape.fields["stride"]

    def generate(builder, shape, *tiles):
        multiply_add = multiply_adder(builder, acc)
        sums, xs, ws = (unpack(builder, typ, tile) for typ, tile in zip((acc, x, taps), tiles, strict=True))
        for s in range(taps.cols):
            for i in range(acc.rows):
                for j in range(acc.cols):
                    for v in range(acc.vecs):
                        at = (i * acc.cols + j) * acc.vecs + v
                        from_x = xs[(i * x.cols + j * stride + s) * acc.vecs + v]
                        sums[at] = multiply_add(from_x, ws[s * acc.vecs + v], sums[at])
        return pack(builder, acc, sums)

    return acc, generate


@lowering
def slide_row(shape, acc, address, row_step, col_step, weight, tap_step) -> Lowering:
    """Pixel after pixel with the taps in registers, or tap after tap with the pixels there, whichever are fewer."""
    fields, row, expand = shape.fields, tile_type(shape, 1, 1), shape.fields["expand"]
    n_taps, stride = fields["taps"], fields["stride"]
    inside = range(fields["left"], fields["window_cols"] - fields["right"])
    by_pixel = n_taps <= len(inside)

    def generate(builder, shape, tile, address, row_step, col_step, weight, tap_step):
        multiply_add = multiply_adder(builder, acc)
        sums = unpack(builder, acc, tile)

        @cache
        def pixel(i, p):
            offset = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(p)))
            return pixel_vectors(builder, row, expand, address, offset)

        @cache
        def tap(s):
            return pixel_vectors(builder, row, 1, weight, builder.mul(tap_step, I64(s)))

        steps = [(i, j, s) for i in range(acc.rows) for s in range(n_taps) for j in range(acc.cols) if j * stride + s in inside]
        if by_pixel:
            steps.sort(key=lambda step: (step[1] * stride + step[2], step[0]))
        for i, j, s in steps:
            for v in range(acc.vecs):
                at = (i * acc.cols + j) * acc.vecs + v
                sums[at] = multiply_add(pixel(i, j * stride + s)[v], tap(s)[v], sums[at])
        return pack(builder, acc, sums)

    return acc, generate


def _rank_one(builder, acc: TileType, row: TileType, tile, columns, scalars) -> ir.Value:
    multiply_add = multiply_adder(builder, acc)
    sums, vectors = unpack(builder, acc, tile), unpack(builder, row, columns)
    for p, scalar in enumerate(scalars):
        spread = splat(builder, scalar, acc.vector)
        for v in range(acc.vecs):
            sums[p * acc.vecs + v] = multiply_add(spread, vectors[v], sums[p * acc.vecs + v])
    return pack(builder, acc, sums)


@lowering
def outer_fma(acc, address, pixel_step, row) -> Lowering:
    def generate(builder, tile, address, pixel_step, columns):
        scalars = (load_value(builder, address, builder.mul(pixel_step, I64(p)), F32) for p in range(acc.rows * acc.cols))
        return _rank_one(builder, acc, row, tile, columns, scalars)

    return acc, generate


@lowering
def outer_fma_deep(shape, acc, address, pixel_step, weight, depth_step, last_vec) -> Lowering:
    row, depth = tile_type(shape, 1, 1), shape.fields["depth"]

    def generate(builder, shape, tile, address, pixel_step, weight, depth_step, last_vec):
        pixels = (builder.mul(pixel_step, I64(p)) for p in range(acc.rows * acc.cols))
        if depth == 1:
            columns = load_vectors(builder, row, weight, I64(0), I64(0), last_vec)
            return _rank_one(builder, acc, row, tile, columns, (load_value(builder, address, at, F32) for at in pixels))
        runs = [load_value(builder, address, at, ir.VectorType(F32, depth)) for at in pixels]
        for k in range(depth):
            columns = load_vectors(builder, row, builder.add(weight, builder.mul(depth_step, I64(k))), I64(0), I64(0), last_vec)
            tile = _rank_one(builder, acc, row, tile, columns, (builder.extract_element(run, I32(k)) for run in runs))
        return tile

    return acc, generate


@lowering
def outer_fma_clipped(acc, address, pixel_step, row, col, col_stride, width, blank) -> Lowering:
    def generate(builder, tile, address, pixel_step, columns, col, col_stride, width, blank):
        scalars = []
        for p in range(acc.rows * acc.cols):
            pixel = builder.add(address, builder.mul(pixel_step, I64(p)))
            inside = is_inside(builder, builder.add(col, builder.mul(col_stride, I64(p))), width)
            scalars.append(load_value(builder, builder.select(inside, pixel, blank), I64(0), F32))
        return _rank_one(builder, acc, row, tile, columns, scalars)

    return acc, generate


@lowering
def store(tile, address, row_step, col_step, last_vec) -> Lowering:
    def generate(builder, values, address, *steps):
        for vector, at in zip(unpack(builder, tile, values), vector_offsets(builder, tile, *steps), strict=True):
            builder.store(vector, pointer(builder, address, at, tile.vector)).align = 4

    return types.void, generate
