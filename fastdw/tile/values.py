"""Tiles as LLVM values: their Numba types, and what the lowerings are built from.

A lowering has the name of the operation it stands for. It takes the Numba types of the arguments and gives the result's type
and a code generator. An access states the alignment of one element, so arrays may start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, models, register_model

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


def tile_type(shape: ConstantsType, rows: int, cols: int) -> TileType:
    return TileType(rows, cols, shape.fields["vecs"], shape.fields["lanes"])


def window_type(shape: ConstantsType) -> TileType:
    return tile_type(shape, shape.fields["rows"], shape.fields["window_cols"])


def pack(builder, typ: TileType, vectors: list) -> ir.Value:
    tile = ir.Constant(ir.ArrayType(typ.vector, typ.count), ir.Undefined)
    for i, vector in enumerate(vectors):
        tile = builder.insert_value(tile, vector, i)
    return tile


def unpack(builder, typ: TileType, tile) -> list:
    return [builder.extract_value(tile, i) for i in range(typ.count)]


def pointer(builder, address, offset, to) -> ir.Value:
    base = builder.inttoptr(address, I8.as_pointer())
    return builder.bitcast(builder.gep(base, [offset]), to.as_pointer())


def load_value(builder, address, offset, to) -> ir.Value:
    value = builder.load(pointer(builder, address, offset, to))
    value.align = 4
    return value


def vector_offsets(builder, typ: TileType, row_step, col_step, last_vec=None) -> Iterator[ir.Value]:
    """Byte offsets of a tile's vectors, in order."""
    vectors = [I64(4 * typ.lanes * v) for v in range(typ.vecs)]
    if typ.vecs > 1 and last_vec is not None:
        vectors[-1] = last_vec
    for i in range(typ.rows):
        for j in range(typ.cols):
            at = builder.add(builder.mul(row_step, I64(i)), builder.mul(col_step, I64(j)))
            for vector in vectors:
                yield builder.add(at, vector)


def load_vectors(builder, typ: TileType, address, row_step, col_step, last_vec=None) -> ir.Value:
    offsets = vector_offsets(builder, typ, row_step, col_step, last_vec)
    return pack(builder, typ, [load_value(builder, address, at, typ.vector) for at in offsets])


def pixel_vectors(builder, typ: TileType, expand: int, address, offset) -> list:
    """The vectors of one pixel, each of its channels repeated `expand` times; 0: one channel in all lanes."""
    if expand == 1:
        return [load_value(builder, address, builder.add(offset, I64(4 * typ.lanes * v)), typ.vector) for v in range(typ.vecs)]
    if expand == 0:
        return [splat(builder, load_value(builder, address, offset, F32), typ.vector)] * typ.vecs
    channels = ir.VectorType(F32, typ.vecs * typ.lanes // expand)
    loaded, undefined = load_value(builder, address, offset, channels), ir.Constant(channels, ir.Undefined)
    masks = ([(v * typ.lanes + lane) // expand for lane in range(typ.lanes)] for v in range(typ.vecs))
    return [builder.shuffle_vector(loaded, undefined, ir.Constant(ir.VectorType(I32, typ.lanes), mask)) for mask in masks]


def splat(builder, scalar, vector) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, I32(0)), undefined, everywhere)


def multiply_adder(builder, typ: TileType) -> Callable:
    """llvm.fmuladd: fused wherever the CPU can."""
    kind = ir.FunctionType(typ.vector, [typ.vector] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{typ.lanes}f32")
    return lambda a, b, c: builder.call(function, [a, b, c])


def is_inside(builder, index, extent) -> ir.Value:
    """0 <= index < extent: a negative index is a large unsigned one."""
    return builder.icmp_unsigned("<", index, extent)
