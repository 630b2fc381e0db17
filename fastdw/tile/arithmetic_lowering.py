"""The LLVM code of arithmetic.py."""

from __future__ import annotations

from collections.abc import Callable

from fastdw.tile import activations
from fastdw.tile.lowering import Lowering, VectorArithmetic, _pack, _unpack, lowering


def of_two(tile, other, combine: Callable) -> Lowering:
    def generate(builder, left, right):
        rights = _unpack(builder, other, right)
        return _pack(
            builder, tile, [combine(builder, value, rights[i % other.count]) for i, value in enumerate(_unpack(builder, tile, left))]
        )

    return tile, generate


def of_one(tile, formula: Callable) -> Lowering:
    def generate(builder, values):
        arithmetic = VectorArithmetic(builder, tile)
        return _pack(builder, tile, [formula(arithmetic, value) for value in _unpack(builder, tile, values)])

    return tile, generate


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
