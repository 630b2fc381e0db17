"""How shapes, contexts and tile operations become LLVM code.

Every function below with a name of operations.py is its lowering: it takes the Numba types of the arguments and gives the
result's type and a code generator. An access states the alignment of one element, so arrays may start anywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate, make_intrinsic_template
from numba.extending import infer_getattr, lower_getattr_generic, models, register_model

from fastdw.machine import tuned_core
from fastdw.tile.activations import CLAMP, FUNCTIONS
from fastdw.tile.shapes import SCRATCH_BYTES

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()


# ---- types ----------------------------------------------------------------------------------------------------------
class ConstantsType(types.Type):
    """A type whose attributes are compile-time integers; names are for the lowerings alone."""

    def __init__(self, name: str, fields: dict[str, Any]):
        self.fields = fields
        super().__init__(f"{name}({', '.join(f'{k}={v}' for k, v in fields.items())})")


class ContextType(types.Type):
    """The address of a context."""

    def __init__(self, fields: tuple[str, ...]):
        self.fields = fields
        super().__init__(f"Context({', '.join(fields)})")


class TileType(types.Type):
    """rows x cols x vecs vectors of lanes floats."""

    def __init__(self, rows: int, cols: int, vecs: int, lanes: int):
        self.rows, self.cols, self.vecs, self.lanes = rows, cols, vecs, lanes
        self.count = rows * cols * vecs
        self.vector = ir.VectorType(F32, lanes)
        super().__init__(f"Tile({rows}x{cols}x{vecs}x{lanes})")


register_model(ConstantsType)(models.OpaqueModel)
register_model(ContextType)(lambda manager, typ: models.PrimitiveModel(manager, typ, I64))
register_model(TileType)(lambda manager, typ: models.PrimitiveModel(manager, typ, ir.ArrayType(typ.vector, typ.count)))
lower_constant(ConstantsType)(lambda context, builder, typ, value: context.get_dummy_value())


@infer_getattr
class _ConstantsAttributes(AttributeTemplate):
    key = ConstantsType

    def generic_resolve(self, typ, attr):
        if isinstance(typ.fields.get(attr), int):
            return types.literal(typ.fields[attr])


@lower_getattr_generic(ConstantsType)
def _lower_constants_attribute(context, builder, typ, value, attr):
    return context.get_constant(types.intp, typ.fields[attr])


@infer_getattr
class _ContextAttributes(AttributeTemplate):
    key = ContextType

    def generic_resolve(self, typ, attr):
        if attr in typ.fields:
            return types.intp


@lower_getattr_generic(ContextType)
def _lower_context_attribute(context, builder, typ, value, attr):
    return builder.load(builder.gep(builder.inttoptr(value, I64.as_pointer()), [I64(typ.fields.index(attr))]))


# ---- building blocks ------------------------------------------------------------------------------------------------
Lowering = tuple[types.Type, Callable]
LOWERINGS: dict[str, Callable[..., Lowering]] = {}


def lowering(function: Callable[..., Lowering]) -> Callable[..., Lowering]:
    LOWERINGS[function.__name__] = function
    return function


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


def _tile(shape: ConstantsType, rows: int, cols: int) -> TileType:
    return TileType(rows, cols, shape.fields["vecs"], shape.fields["lanes"])


def _window(shape: ConstantsType) -> TileType:
    f = shape.fields
    return _tile(shape, f["rows"], (f["cols"] - 1) * f["stride"] + f["taps"] if f["taps"] else 0)


def _pack(builder, typ: TileType, vectors: list) -> ir.Value:
    tile = ir.Constant(ir.ArrayType(typ.vector, typ.count), ir.Undefined)
    for i, vector in enumerate(vectors):
        tile = builder.insert_value(tile, vector, i)
    return tile


def _unpack(builder, typ: TileType, tile) -> list:
    return [builder.extract_value(tile, i) for i in range(typ.count)]


def _pointer(builder, address, offset, to) -> ir.Value:
    base = builder.inttoptr(address, I8.as_pointer())
    return builder.bitcast(builder.gep(base, [offset]), to.as_pointer())


def _load(builder, address, offset, to) -> ir.Value:
    value = builder.load(_pointer(builder, address, offset, to))
    value.align = 4
    return value


def _offsets(builder, typ: TileType, row_step, col_step, last_vec=None) -> Iterator[ir.Value]:
    """Byte offsets of a tile's vectors, in order."""
    vectors = [I64(4 * typ.lanes * v) for v in range(typ.vecs)]
    if typ.vecs > 1 and last_vec is not None:
        vectors[-1] = last_vec
    for i in range(typ.rows):
        for j in range(typ.cols):
            at = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(j)))
            for vector in vectors:
                yield builder.add(at, vector)


def _load_all(builder, typ: TileType, address, row_step, col_step, last_vec=None) -> ir.Value:
    offsets = _offsets(builder, typ, row_step, col_step, last_vec)
    return _pack(builder, typ, [_load(builder, address, at, typ.vector) for at in offsets])


def _load_pixel(builder, typ: TileType, expand: int, address, offset) -> list:
    """The vectors of one pixel, each of its channels repeated `expand` times; 0: one channel in all lanes."""
    if expand == 1:
        return [_load(builder, address, builder.add(offset, I64(4 * typ.lanes * v)), typ.vector) for v in range(typ.vecs)]
    if expand == 0:
        return [_splat(builder, _load(builder, address, offset, F32), typ.vector)] * typ.vecs
    channels = ir.VectorType(F32, typ.vecs * typ.lanes // expand)
    loaded, undefined = _load(builder, address, offset, channels), ir.Constant(channels, ir.Undefined)
    masks = ([(v * typ.lanes + lane) // expand for lane in range(typ.lanes)] for v in range(typ.vecs))
    return [builder.shuffle_vector(loaded, undefined, ir.Constant(ir.VectorType(I32, typ.lanes), mask)) for mask in masks]


def _splat(builder, scalar, vector) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, I32(0)), undefined, everywhere)


def _multiply_add(builder, typ: TileType) -> Callable:
    """llvm.fmuladd: fused wherever the CPU can."""
    kind = ir.FunctionType(typ.vector, [typ.vector] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{typ.lanes}f32")
    return lambda a, b, c: builder.call(function, [a, b, c])


def _inside(builder, index, extent) -> ir.Value:
    """0 <= index < extent: a negative index is a large unsigned one."""
    return builder.icmp_unsigned("<", index, extent)


# ---- lowerings ------------------------------------------------------------------------------------------------------
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
    typ = _tile(shape, shape.fields["rows"], shape.fields["cols"])
    zero = ir.Constant(typ.vector, [0.0] * typ.lanes)
    return typ, lambda builder, shape: _pack(builder, typ, [zero] * typ.count)


@lowering
def load(shape, address, row_step, col_step, last_vec) -> Lowering:
    typ = _tile(shape, shape.fields["rows"], shape.fields["cols"])
    return typ, lambda builder, shape, *where: _load_all(builder, typ, *where)


@lowering
def last_taps(shape) -> Lowering:
    return ConstantsType("TileShape", shape.fields | {"taps": shape.fields["rest"]}), lambda builder, shape: shape


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
    typ, expand = _tile(shape, 1, 1), shape.fields["expand"]
    return typ, lambda builder, shape, address: _pack(builder, typ, _load_pixel(builder, typ, expand, address, I64(0)))


@lowering
def load_pixels(shape, address, col_step) -> Lowering:
    typ, expand = _tile(shape, 1, shape.fields["cols"]), shape.fields["expand"]

    def generate(builder, shape, address, col_step):
        pixels = (_load_pixel(builder, typ, expand, address, builder.mul(col_step, I64(j))) for j in range(typ.cols))
        return _pack(builder, typ, [vector for pixel in pixels for vector in pixel])

    return typ, generate


@lowering
def load_row(shape, address, last_vec) -> Lowering:
    typ = _tile(shape, 1, 1)
    return typ, lambda builder, shape, address, last_vec: _load_all(builder, typ, address, I64(0), I64(0), last_vec)


@lowering
def load_taps(shape, address, tap_step) -> Lowering:
    typ = _tile(shape, 1, shape.fields["taps"])
    return typ, lambda builder, shape, address, tap_step: _load_all(builder, typ, address, I64(0), tap_step)


@lowering
def load_window(shape, address, row_step, col_step) -> Lowering:
    typ = _window(shape)
    return typ, lambda builder, shape, address, row_step, col_step: _load_all(builder, typ, address, row_step, col_step)


@lowering
def load_window_clipped(shape, address, row_step, col_step, row, row_stride, height, col, width, blank) -> Lowering:
    typ = _window(shape)

    def generate(builder, shape, address, row_step, col_step, row, row_stride, height, col, width, blank):
        cols_inside = [_inside(builder, builder.add(col, I64(j)), width) for j in range(typ.cols)]
        vectors = []
        for i in range(typ.rows):
            row_inside = _inside(builder, builder.add(row, builder.mul(row_stride, I64(i))), height)
            for j in range(typ.cols):
                offset = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(j)))
                pixel = builder.select(builder.and_(row_inside, cols_inside[j]), builder.add(address, offset), blank)
                vectors += [_load(builder, pixel, I64(4 * typ.lanes * v), typ.vector) for v in range(typ.vecs)]
        return _pack(builder, typ, vectors)

    return typ, generate


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
    typ, stride, period = _tile(shape, shape.fields["rows"], 1), shape.fields["stride"], shape.fields["period"]

    def generate(builder, shape, address, row_step):
        vectors = []
        for i in range(typ.rows):
            row = builder.add(address, builder.mul(row_step, I64(i)))
            vectors += _run_vectors(builder, typ, stride, period, lambda first, row=row: _load(builder, row, I64(4 * first), typ.vector))
        return _pack(builder, typ, vectors)

    return typ, generate


@lowering
def load_run_clipped(shape, address, row_step, row, row_stride, height, position, length, blank) -> Lowering:
    typ, stride, period = _tile(shape, shape.fields["rows"], 1), shape.fields["stride"], shape.fields["period"]
    lanes, masks = typ.lanes, ir.VectorType(ir.IntType(1), typ.lanes)
    kind = ir.FunctionType(typ.vector, [typ.vector.as_pointer(), I32, masks, typ.vector])

    def generate(builder, shape, address, row_step, row, row_stride, height, position, length, blank):
        masked_load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{lanes}f32.p0")
        wide = ir.VectorType(I64, lanes)
        zero = ir.Constant(typ.vector, [0.0] * lanes)

        def load(first, base, inside):
            at = builder.add(_splat(builder, builder.add(position, I64(first)), wide), ir.Constant(wide, list(range(lanes))))
            mask = builder.and_(builder.icmp_unsigned("<", at, _splat(builder, length, wide)), _splat(builder, inside, masks))
            return builder.call(masked_load, [_pointer(builder, base, I64(4 * first), typ.vector), I32(4), mask, zero])

        vectors = []
        for i in range(typ.rows):
            inside = _inside(builder, builder.add(row, builder.mul(row_stride, I64(i))), height)
            base = builder.add(address, builder.mul(row_step, I64(i)))
            vectors += _run_vectors(builder, typ, stride, period, lambda first, base=base, inside=inside: load(first, base, inside))
        return _pack(builder, typ, vectors)

    return typ, generate


@lowering
def load_period(shape, address) -> Lowering:
    typ, period = _tile(shape, 1, 1), shape.fields["period"]

    def generate(builder, shape, address):
        few = ir.Constant(ir.VectorType(F32, typ.lanes), ir.Undefined)
        for channel in range(period):
            few = builder.insert_element(few, _load(builder, address, I64(4 * channel), F32), I32(channel))
        masks = ([(v * typ.lanes + lane) % period for lane in range(typ.lanes)] for v in range(typ.vecs))
        return _pack(builder, typ, [builder.shuffle_vector(few, few, ir.Constant(ir.VectorType(I32, typ.lanes), mask)) for mask in masks])

    return typ, generate


@lowering
def slide_fma(shape, acc, x, taps) -> Lowering:
    stride = shape.fields["stride"]

    def generate(builder, shape, *tiles):
        multiply_add = _multiply_add(builder, acc)
        sums, xs, ws = (_unpack(builder, typ, tile) for typ, tile in zip((acc, x, taps), tiles, strict=True))
        for s in range(taps.cols):
            for i in range(acc.rows):
                for j in range(acc.cols):
                    for v in range(acc.vecs):
                        at = (i * acc.cols + j) * acc.vecs + v
                        from_x = xs[(i * x.cols + j * stride + s) * acc.vecs + v]
                        sums[at] = multiply_add(from_x, ws[s * acc.vecs + v], sums[at])
        return _pack(builder, acc, sums)

    return acc, generate


def _rank_one(builder, acc: TileType, row: TileType, tile, columns, scalars) -> ir.Value:
    multiply_add = _multiply_add(builder, acc)
    sums, vectors = _unpack(builder, acc, tile), _unpack(builder, row, columns)
    for p, scalar in enumerate(scalars):
        spread = _splat(builder, scalar, acc.vector)
        for v in range(acc.vecs):
            sums[p * acc.vecs + v] = multiply_add(spread, vectors[v], sums[p * acc.vecs + v])
    return _pack(builder, acc, sums)


@lowering
def outer_fma(acc, address, pixel_step, row) -> Lowering:
    def generate(builder, tile, address, pixel_step, columns):
        scalars = (_load(builder, address, builder.mul(pixel_step, I64(p)), F32) for p in range(acc.rows * acc.cols))
        return _rank_one(builder, acc, row, tile, columns, scalars)

    return acc, generate


@lowering
def outer_fma_deep(shape, acc, address, pixel_step, weight, depth_step, last_vec) -> Lowering:
    row, depth = _tile(shape, 1, 1), shape.fields["depth"]

    def generate(builder, shape, tile, address, pixel_step, weight, depth_step, last_vec):
        pixels = (builder.mul(pixel_step, I64(p)) for p in range(acc.rows * acc.cols))
        if depth == 1:
            columns = _load_all(builder, row, weight, I64(0), I64(0), last_vec)
            return _rank_one(builder, acc, row, tile, columns, (_load(builder, address, at, F32) for at in pixels))
        runs = [_load(builder, address, at, ir.VectorType(F32, depth)) for at in pixels]
        for k in range(depth):
            columns = _load_all(builder, row, builder.add(weight, builder.mul(depth_step, I64(k))), I64(0), I64(0), last_vec)
            tile = _rank_one(builder, acc, row, tile, columns, (builder.extract_element(run, I32(k)) for run in runs))
        return tile

    return acc, generate


@lowering
def outer_fma_clipped(acc, address, pixel_step, row, col, col_stride, width, blank) -> Lowering:
    def generate(builder, tile, address, pixel_step, columns, col, col_stride, width, blank):
        scalars = []
        for p in range(acc.rows * acc.cols):
            pixel = builder.add(address, builder.mul(pixel_step, I64(p)))
            inside = _inside(builder, builder.add(col, builder.mul(col_stride, I64(p))), width)
            scalars.append(_load(builder, builder.select(inside, pixel, blank), I64(0), F32))
        return _rank_one(builder, acc, row, tile, columns, scalars)

    return acc, generate


@lowering
def add(tile, other) -> Lowering:
    def generate(builder, left, right):
        rights = _unpack(builder, other, right)
        lefts = enumerate(_unpack(builder, tile, left))
        return _pack(builder, tile, [builder.fadd(value, rights[i % other.count]) for i, value in lefts])

    return tile, generate


@lowering
def divide(tile, count) -> Lowering:
    def generate(builder, values, count):
        divisor = _splat(builder, builder.sitofp(count, F32), tile.vector)
        return _pack(builder, tile, [builder.fdiv(value, divisor) for value in _unpack(builder, tile, values)])

    return tile, generate


@lowering
def positive_zero(tile) -> Lowering:
    zero = ir.Constant(tile.vector, [0.0] * tile.lanes)
    return tile, lambda builder, values: _pack(builder, tile, [builder.fadd(value, zero) for value in _unpack(builder, tile, values)])


class VectorArithmetic:
    """What an activation computes with, as LLVM code: see activations.Arithmetic."""

    def __init__(self, builder, typ: TileType):
        self.builder, self.typ = builder, typ
        self.integers = ir.VectorType(I32, typ.lanes)
        self.fused = _multiply_add(builder, typ)

    def _vector(self, value) -> ir.Value:
        if isinstance(value, ir.Value):
            return value
        return ir.Constant(self.typ.vector, [float(value)] * self.typ.lanes)

    def _bits(self, x) -> ir.Value:
        return self.builder.bitcast(self._vector(x), self.integers)

    def _number(self, bits) -> ir.Value:
        return self.builder.bitcast(bits, self.typ.vector)

    def _everywhere(self, integer: int) -> ir.Constant:
        return ir.Constant(self.integers, [integer] * self.typ.lanes)

    def add(self, x, y):
        return self.builder.fadd(self._vector(x), self._vector(y))

    def multiply(self, x, y):
        return self.builder.fmul(self._vector(x), self._vector(y))

    def multiply_add(self, x, y, z):
        return self.fused(*map(self._vector, (x, y, z)))

    def negative(self, x):
        return self.builder.fneg(self._vector(x))

    def absolute(self, x):
        return self._number(self.builder.and_(self._bits(x), self._everywhere(0x7FFFFFFF)))

    def with_sign_of(self, x, y):
        sign = self.builder.and_(self._bits(y), self._everywhere(0x80000000))
        return self._number(self.builder.or_(self._bits(self.absolute(x)), sign))

    def at_least(self, x, low):
        low = self._vector(low)
        return self.builder.select(self.builder.fcmp_ordered("<", x, low), low, x)

    def at_most(self, x, high):
        high = self._vector(high)
        return self.builder.select(self.builder.fcmp_ordered(">", x, high), high, x)

    def bits_minus(self, bits, x):
        return self._number(self.builder.sub(self._everywhere(bits), self._bits(x)))

    def shift_left(self, x, count):
        return self._number(self.builder.shl(self._bits(x), self._everywhere(count)))


@lowering
def activate(shape, tile, low, high) -> Lowering:
    def generate(builder, shape_value, values, low, high):
        arithmetic = VectorArithmetic(builder, tile)
        if shape.fields["activation"] == CLAMP:
            bottom, top = (_splat(builder, builder.bitcast(builder.trunc(bits, I32), F32), tile.vector) for bits in (low, high))
            activated = [arithmetic.at_most(arithmetic.at_least(value, bottom), top) for value in _unpack(builder, tile, values)]
        else:
            function = FUNCTIONS[shape.fields["activation"]]
            activated = [function(arithmetic, value) for value in _unpack(builder, tile, values)]
        return _pack(builder, tile, activated)

    return tile, generate


@lowering
def store(tile, address, row_step, col_step, last_vec) -> Lowering:
    def generate(builder, values, address, *steps):
        for vector, at in zip(_unpack(builder, tile, values), _offsets(builder, tile, *steps), strict=True):
            builder.store(vector, _pointer(builder, address, at, tile.vector)).align = 4

    return types.void, generate
