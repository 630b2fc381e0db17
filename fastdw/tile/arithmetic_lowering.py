"""The LLVM code of arithmetic on tiles, and of activations."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastdw.tile import activations
from fastdw.tile.activations import CLAMP, FUNCTIONS
from fastdw.tile.values import F32, I32, Lowering, TileType, lowering, multiply_adder, pack, splat, unpack


class VectorArithmetic:
    """What an activation computes with, as LLVM code: see activations.Arithmetic."""

    def __init__(self, builder, typ: TileType):
        self.builder, self.typ = builder, typ
        self.integers = ir.VectorType(I32, typ.lanes)
        self.fused = multiply_adder(builder, typ)

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


def of_two(tile, other, combine: Callable) -> Lowering:
    def generate(builder, left, right):
        rights = unpack(builder, other, right)
        return pack(
            builder, tile, [combine(builder, value, rights[i % other.count]) for i, value in enumerate(unpack(builder, tile, left))]
        )

    return tile, generate


def of_one(tile, formula: Callable) -> Lowering:
    def generate(builder, values):
        arithmetic = VectorArithmetic(builder, tile)
        return pack(builder, tile, [formula(arithmetic, value) for value in unpack(builder, tile, values)])

    return tile, generate


@lowering
def add(tile, other) -> Lowering:
    return of_two(tile, other, lambda builder, x, y: builder.fadd(x, y))


@lowering
def multiply(tile, other) -> Lowering:
    return of_two(tile, other, lambda builder, x, y: builder.fmul(x, y))


@lowering
def subtract(tile, other) -> Lowering:
    return of_two(tile, other, lambda builder, x, y: builder.fsub(x, y))


@lowering
def larger(tile, other) -> Lowering:
    return of_two(tile, other, lambda builder, x, y: builder.select(builder.fcmp_ordered("<", x, y), y, x))


@lowering
def exp(tile) -> Lowering:
    return of_one(tile, activations.exp)


@lowering
def reciprocal(tile) -> Lowering:
    return of_one(tile, activations.reciprocal)


@lowering
def divide(tile, count) -> Lowering:
    def generate(builder, values, count):
        divisor = splat(builder, builder.sitofp(count, F32), tile.vector)
        return pack(builder, tile, [builder.fdiv(value, divisor) for value in unpack(builder, tile, values)])

    return tile, generate


@lowering
def positive_zero(tile) -> Lowering:
    zero = ir.Constant(tile.vector, [0.0] * tile.lanes)
    return tile, lambda builder, values: pack(builder, tile, [builder.fadd(value, zero) for value in unpack(builder, tile, values)])


@lowering
def activate(shape, tile, low, high) -> Lowering:
    def generate(builder, shape_value, values, low, high):
        arithmetic = VectorArithmetic(builder, tile)
        if shape.fields["activation"] == CLAMP:
            bottom, top = (splat(builder, builder.bitcast(builder.trunc(bits, I32), F32), tile.vector) for bits in (low, high))
            activated = [arithmetic.at_most(arithmetic.at_least(value, bottom), top) for value in unpack(builder, tile, values)]
        else:
            function = FUNCTIONS[shape.fields["activation"]]
            activated = [function(arithmetic, value) for value in unpack(builder, tile, values)]
        return pack(builder, tile, activated)

    return tile, generate
