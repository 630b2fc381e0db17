"""Operations on tiles, number by number: what layers that are no convolutions compute with. Each is rounded once unless said."""

from __future__ import annotations

import numpy as np

from fastdw.tile import activations
from fastdw.tile.operations import NumpyArithmetic, Operation, Tile


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
