"""Operations on tiles, number by number: what the epilogue and other layers compute with. Each is rounded once unless said."""

from __future__ import annotations

import numpy as np

from fastdw.tile import activations, operations
from fastdw.tile.activations import CLAMP, FUNCTIONS
from fastdw.tile.operations import Operation, Tile
from fastdw.tile.shapes import TileShape


@Operation
def add(tile: Tile, other: Tile) -> Tile:
    """tile + other; a row is added to every pixel"""
    with np.errstate(all="ignore"):
        return tile + other


@Operation
def divide(tile: Tile, count: int) -> Tile:
    """tile / count"""
    with np.errstate(all="ignore"):
        return tile / np.float32(count)


@Operation
def positive_zero(tile: Tile) -> Tile:
    """-0 becomes +0; all else stays"""
    return tile + np.float32(0)


@Operation
def multiply(tile: Tile, other: Tile) -> Tile:
    """tile * other; a row is multiplied with every pixel"""
    with np.errstate(all="ignore"):
        return tile * other


@Operation
def subtract(tile: Tile, other: Tile) -> Tile:
    """tile - other; a row is subtracted from every pixel"""
    with np.errstate(all="ignore"):
        return tile - other


@Operation
def larger(tile: Tile, other: Tile) -> Tile:
    """other where tile < other; a NaN of the tile stays"""
    return np.where(tile < other, other, tile)


@Operation
def exp(tile: Tile) -> Tile:
    """e**x for x up to 88, within 2 units of the last digit; zero where that is no normal number"""
    with np.errstate(all="ignore"):
        return activations.exp(NumpyArithmetic(), tile)


@Operation
def reciprocal(tile: Tile) -> Tile:
    """1 / x for x from 2**-125 to 2**125, within a unit of the last digit"""
    with np.errstate(all="ignore"):
        return activations.reciprocal(NumpyArithmetic(), tile)


class NumpyArithmetic:
    """What an activation computes with, on float32 arrays: see activations.Arithmetic."""

    def add(self, x, y):
        return np.add(x, y, dtype=np.float32)

    def multiply(self, x, y):
        return np.multiply(x, y, dtype=np.float32)

    def multiply_add(self, x, y, z):
        return operations.fused_multiply_add(*(np.asarray(value, np.float32) for value in (x, y, z)))

    def negative(self, x):
        return np.negative(x)

    def absolute(self, x):
        return np.abs(x)

    def with_sign_of(self, x, y):
        return np.copysign(x, y)

    def at_least(self, x, low):
        return np.where(x < low, np.float32(low), x)

    def at_most(self, x, high):
        return np.where(x > high, np.float32(high), x)

    def bits_minus(self, bits, x):
        return (np.int32(bits) - x.view(np.int32)).view(np.float32)

    def shift_left(self, x, count):
        return (x.view(np.int32) << count).view(np.float32)


@Operation
def activate(shape: TileShape, tile: Tile, low: int, high: int) -> Tile:
    """The shape's activation of each number; NaN stays. A clamp is to bounds that are the bits of float32 numbers."""
    arithmetic = NumpyArithmetic()
    with np.errstate(all="ignore"):
        if shape.activation == CLAMP:
            bottom, top = np.array([low, high], np.int64).astype(np.int32).view(np.float32)
            return arithmetic.at_most(arithmetic.at_least(tile, bottom), top)
        return FUNCTIONS[shape.activation](arithmetic, tile)
