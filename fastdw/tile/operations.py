"""The tile operations, each with its meaning in NumPy.

Called from Python an operation runs its meaning, so a kernel can be read, run and tested without compiling anything;
inside a compiled kernel it becomes the LLVM code that lowering.py gives for it. A tile is [rows, cols, vecs, lanes] of
float32, a row is [1, 1, vecs, lanes]. Addresses and steps are in bytes.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, update_wrapper

import numpy as np

from fastdw.tile.shapes import SCRATCH_BYTES, Context, TileShape

Tile = np.ndarray


class Operation:
    """A function with two bodies: its NumPy meaning, and a lowering of the same name."""

    def __init__(self, meaning: Callable):
        self.meaning = meaning
        update_wrapper(self, meaning)

    def __call__(self, *args):
        return self.meaning(*args)

    @cached_property
    def _numba_type_(self):
        from fastdw.tile.lowering import operation_type

        return operation_type(self)


def floats(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def gather(addresses: np.ndarray, lanes: int) -> Tile:
    vectors = [floats(int(address), lanes) for address in addresses.reshape(-1)]
    return np.array(vectors, np.float32).reshape(*addresses.shape, lanes)


def _pixels(shape: TileShape, addresses: np.ndarray) -> Tile:
    """The vectors of pixels: output n of a pixel reads its channel n // expand, or its only channel where expand is 0."""
    channels = np.arange(shape.width) // shape.expand if shape.expand else np.zeros(shape.width, int)
    values = gather(addresses, channels[-1] + 1)[..., channels]
    return values.reshape(*addresses.shape, shape.vecs, shape.lanes)


def _grid(address: int, rows: int, cols: int, vectors: np.ndarray, row_step: int, col_step: int) -> np.ndarray:
    i, j = np.ogrid[:rows, :cols]
    return address + (i * row_step + j * col_step)[..., None] + vectors


def _vectors(vecs: int, lanes: int, last_vec: int | None = None) -> np.ndarray:
    """Where the vectors of a pixel lie: one after the other, but for the last of several where it is told."""
    offsets = 4 * lanes * np.arange(vecs)
    if vecs > 1 and last_vec is not None:
        offsets[-1] = last_vec
    return offsets


def fused_multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 with one rounding."""
    with np.errstate(all="ignore"):
        product = np.multiply(a, b, dtype=np.float64)  # exact: 24 + 24 bits
        total = product + c
        part = total - product
        error = (product - (total - part)) + (c - part)
        odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))  # round to odd, so that the second rounding is right
        even = (total.view(np.int64) & 1) == 0
        total = np.where(even & (error != 0) & np.isfinite(error), odd, total)
        return total.astype(np.float32)


@Operation
def view(fields: Context, address: int):
    """The context at an address, with its fields as attributes."""
    return fields.read(address)


@Operation
def zeros(shape: TileShape) -> Tile:
    return np.zeros((shape.rows, shape.cols, shape.vecs, shape.lanes), np.float32)


@Operation
def load(shape: TileShape, address: int, row_step: int, col_step: int, last_vec: int) -> Tile:
    """tile[i, j, v] = the v-th vector at address + i*row_step + j*col_step; the last of several is last_vec bytes further on"""
    return gather(_grid(address, shape.rows, shape.cols, _vectors(shape.vecs, shape.lanes, last_vec), row_step, col_step), shape.lanes)


@Operation
def last_taps(shape: TileShape) -> TileShape:
    """The shape for the filter columns that are left over."""
    return replace(shape, taps=shape.rest)


@Operation
def without_repeats(shape: TileShape) -> TileShape:
    """The shape for pixels whose channels are repeated already."""
    return replace(shape, expand=1)


@Operation
def without_left(shape: TileShape) -> TileShape:
    """The shape for tiles to the right of the left edge of the image."""
    return replace(shape, left=0)


@Operation
def without_right(shape: TileShape) -> TileShape:
    """The shape for tiles to the left of the right edge of the image."""
    return replace(shape, right=0)


@Operation
def one_row(shape: TileShape) -> TileShape:
    """The shape for a row of the tile by itself."""
    return replace(shape, rows=1)


@Operation
def narrower(shape: TileShape) -> TileShape:
    """The shape for phases whose output is a column less, where there are such."""
    return replace(shape, cols=shape.cols - shape.uneven, uneven=False)


@Operation
def scratch(shape: TileShape) -> int:
    """The address of SCRATCH_BYTES that the task has to itself, aligned to a cache line; they hold anything. For the task itself to
    call: what an inlined function calls it for ends with that function."""
    block = np.full(SCRATCH_BYTES // 4 + 16, np.nan, np.float32)
    _scratches.append(block)
    return -(-block.ctypes.data // 64) * 64


_scratches: deque[np.ndarray] = deque(maxlen=1)  # the last one lives on while its task runs


@Operation
def load_row(shape: TileShape, address: int, last_vec: int) -> Tile:
    """row[v] = the v-th vector at address; the last of several is at address + last_vec"""
    return gather(_grid(address, 1, 1, _vectors(shape.vecs, shape.lanes, last_vec), 0, 0), shape.lanes)


@Operation
def load_pixel(shape: TileShape, address: int) -> Tile:
    """row[v] = the v-th vector of the channels at address, each repeated as the shape says"""
    return _pixels(shape, np.array([[address]]))


@Operation
def load_pixels(shape: TileShape, address: int, col_step: int) -> Tile:
    """A tile's row of neighbouring pixels: tile[0, j] = load_pixel at address + j*col_step"""
    return _pixels(shape, address + np.arange(shape.cols)[None] * col_step)


@Operation
def load_taps(shape: TileShape, address: int, tap_step: int) -> Tile:
    """One filter row: taps[0, s, v] = the v-th vector at address + s*tap_step"""
    return gather(_grid(address, 1, shape.taps, _vectors(shape.vecs, shape.lanes), 0, tap_step), shape.lanes)


@Operation
def load_window(shape: TileShape, address: int, row_step: int, col_step: int) -> Tile:
    """The input pixels under one filter row: rows x ((cols - 1)*stride + taps), each as load_pixel loads it; row_step goes from one
    output row to the next."""
    i, j = np.ogrid[: shape.rows, : shape.window_cols]
    return _pixels(shape, address + i * row_step + j * col_step)


@Operation
def load_window_clipped(
    shape: TileShape,
    address: int,
    row_step: int,
    col_step: int,
    row: int,
    row_stride: int,
    height: int,
    col: int,
    width: int,
    blank: int,
) -> Tile:
    """load_window where pixels outside the image are read at blank.

    Window row i is row `row + i*row_stride` of the image, window column j its column `col + j`.
    """
    i, j = np.ogrid[: shape.rows, : shape.window_cols]
    rows, cols = row + i * row_stride, col + j
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    pixels = np.where(inside, address + i * row_step + j * col_step, blank)
    return _pixels(shape, pixels)


@Operation
def slide_fma(shape: TileShape, acc: Tile, x: Tile, taps: Tile) -> Tile:
    """acc[i, j] += x[i, j*stride + s] * taps[0, s] for s = 0, 1, ..."""
    for s in range(taps.shape[1]):
        columns = x[:, s : s + (shape.cols - 1) * shape.stride + 1 : shape.stride]
        acc = fused_multiply_add(columns, taps[:, s : s + 1], acc)
    return acc


@Operation
def slide_row(shape: TileShape, acc: Tile, address: int, row_step: int, col_step: int, weight: int, tap_step: int) -> Tile:
    """acc[i, j] += x[i, j*stride + s] * taps[s] for s = 0, 1, ..., where left <= j*stride + s < window_cols - right

    x[i, p] is load_pixel at address + i*row_step + p*col_step; pixels beside the image are not read. taps[s] is the row at
    weight + s*tap_step.
    """
    acc, taps = acc.copy(), load_taps(shape, weight, tap_step)
    for i in range(shape.rows):
        for j in range(shape.cols):
            for s in range(shape.taps):
                p = j * shape.stride + s
                if shape.left <= p < shape.window_cols - shape.right:
                    x = load_pixel(shape, address + i * row_step + p * col_step)[0, 0]
                    acc[i, j] = fused_multiply_add(x, taps[0, s], acc[i, j])
    return acc


@Operation
def outer_fma(acc: Tile, address: int, pixel_step: int, row: Tile) -> Tile:
    """acc[pixel] += x[pixel] * row, where x[pixel] is the float at address + pixel*pixel_step: a rank-1 update"""
    pixels = acc.shape[0] * acc.shape[1]
    x = np.array([floats(address + p * pixel_step, 1)[0] for p in range(pixels)], np.float32)
    return fused_multiply_add(x.reshape(*acc.shape[:2], 1, 1), row, acc)


@Operation
def outer_fma_deep(shape: TileShape, acc: Tile, address: int, pixel_step: int, weight: int, depth_step: int, last_vec: int) -> Tile:
    """outer_fma shape.depth times: with the floats that follow each other at each pixel, and rows of weights depth_step apart"""
    for k in range(shape.depth):
        acc = outer_fma(acc, address + 4 * k, pixel_step, load_row(shape, weight + k * depth_step, last_vec))
    return acc


@Operation
def outer_fma_clipped(acc: Tile, address: int, pixel_step: int, row: Tile, col: int, col_stride: int, width: int, blank: int) -> Tile:
    """outer_fma where pixels outside the image row are read at blank instead: pixel p is column col + p*col_stride"""
    pixels = acc.shape[0] * acc.shape[1]
    at = [address + p * pixel_step if 0 <= col + p * col_stride < width else blank for p in range(pixels)]
    x = np.array([floats(a, 1)[0] for a in at], np.float32)
    return fused_multiply_add(x.reshape(*acc.shape[:2], 1, 1), row, acc)


@Operation
def store(tile: Tile, address: int, row_step: int, col_step: int, last_vec: int) -> None:
    """Write tile[i, j, v] as the v-th vector at address + i*row_step + j*col_step; the last of several goes last_vec bytes further on"""
    rows, cols, vecs, lanes = tile.shape
    for at, vector in zip(
        _grid(address, rows, cols, _vectors(vecs, lanes, last_vec), row_step, col_step).reshape(-1), tile.reshape(-1, lanes), strict=True
    ):
        ctypes.memmove(int(at), vector.tobytes(), 4 * lanes)
