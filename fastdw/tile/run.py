"""Vectors that run along a row of pixels, over pixels and channels alike."""

from __future__ import annotations

import numpy as np

from fastdw.tile.operations import Operation, Tile, floats, gather
from fastdw.tile.shapes import TileShape


def _run_offsets(shape: TileShape) -> np.ndarray:
    """Where the inputs of a row's neighbouring outputs lie, in floats: output f is channel f % period of pixel f // period."""
    outputs = np.arange(shape.width)
    return outputs // shape.period * shape.stride * shape.period + outputs % shape.period


@Operation
def load_run(shape: TileShape, address: int, row_step: int) -> Tile:
    """Vectors along rows of pixels: tile[i, 0] = the float at address + i*row_step + 4*(f // period * stride * period + f % period)"""
    addresses = address + np.arange(shape.rows)[:, None] * row_step + 4 * _run_offsets(shape)
    return gather(addresses, 1).reshape(shape.rows, 1, shape.vecs, shape.lanes)


@Operation
def load_run_clipped(
    shape: TileShape, address: int, row_step: int, row: int, row_stride: int, height: int, position: int, length: int, blank: int
) -> Tile:
    """load_run that reads zeros, those at blank, outside the image.

    Tile row i is image row `row + i*row_stride`, which has `length` floats; address is float `position` of image row `row`.
    """
    at = position + _run_offsets(shape)
    rows = row + np.arange(shape.rows)[:, None] * row_stride
    inside = (at >= 0) & (at < length) & (rows >= 0) & (rows < height)
    addresses = np.where(inside, address + np.arange(shape.rows)[:, None] * row_step + 4 * _run_offsets(shape), blank)
    return gather(addresses, 1).reshape(shape.rows, 1, shape.vecs, shape.lanes)


@Operation
def load_period(shape: TileShape, address: int) -> Tile:
    """A row of the same few floats again and again: row[f] = the float at address + 4*(f % period)"""
    return floats(address, shape.period)[np.arange(shape.width) % shape.period].reshape(1, 1, shape.vecs, shape.lanes)
