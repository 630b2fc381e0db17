"""Element by element: y = act(x * weight + residual), and softmax. The layers of networks between convolutions; no problem of a planner.

x is images of rows of channels. weight and residual may be missing; each is as large as x, or one row for an image, or for all.
out may be x, so the last tile of a row, which steps back, is computed before anything is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fastdw.jit import Inlined, Task
from fastdw.kernels.blocks import block_start
from fastdw.kernels.spec import float_bits, lanes_for
from fastdw.machine import Machine
from fastdw.problem import Activation
from fastdw.tile import Context, TileShape, activate, add, exp, larger, load, multiply, reciprocal, store, subtract, view
from fastdw.tile.shapes import ARRAYS

CONTEXT = Context(
    "row_blocks",  # of an image, a task each
    "rows",
    "channels",
    "row",  # bytes of a row of x and out
    "other_image",  # of weight, or residual: bytes from what one image reads to what the next reads
    "other_row",
    "low",
    "high",
)
NUMBER = TileShape(1, 1, 1, 1)
WORK_A_TASK = 1 << 14  # numbers


@Inlined
def combined(shape, c, x, other):
    y = load(shape, x, 0, 4 * shape.lanes, 0)
    if c.weight != 0:
        y = multiply(y, load(shape, c.weight + other, 0, 4 * shape.lanes, 0))
    if c.residual != 0:
        y = add(y, load(shape, c.residual + other, 0, 4 * shape.lanes, 0))
    return activate(shape, y, c.low, c.high)


@Task
def elementwise(shape, context, index):
    c = view(CONTEXT, context)
    image = index // c.row_blocks
    block = index % c.row_blocks
    step = 4 * shape.cols * shape.lanes
    last = 4 * c.channels - step
    for row in range(block_start(block, c.row_blocks, c.rows, 1), block_start(block + 1, c.row_blocks, c.rows, 1)):
        start = (image * c.rows + row) * c.row
        other = image * c.other_image + row * c.other_row
        end = combined(shape, c, c.x + start + last, other + last)
        for at in range(0, last, step):
            store(combined(shape, c, c.x + start + at, other + at), c.out + start + at, 0, 4 * shape.lanes, 0)
        store(end, c.out + start + last, 0, 4 * shape.lanes, 0)


@Task
def softmax(shape, context, index):
    """exp(beta * (x - the largest)) / their sum over a row; beta is the bias."""
    c = view(CONTEXT, context)
    x = c.x + index * c.row
    out = c.out + index * c.row
    beta = load(shape, c.bias, 0, 0, 0)
    top = multiply(load(shape, x, 0, 0, 0), beta)
    for at in range(4, c.row, 4):
        top = larger(top, multiply(load(shape, x + at, 0, 0, 0), beta))
    total = subtract(top, top)
    for at in range(0, c.row, 4):
        y = exp(subtract(multiply(load(shape, x + at, 0, 0, 0), beta), top))
        total = add(total, y)
        store(y, out + at, 0, 0, 0)
    factor = reciprocal(total)
    for at in range(0, c.row, 4):
        store(multiply(load(shape, out + at, 0, 0, 0), factor), out + at, 0, 0, 0)


@dataclass(frozen=True)
class Extents:
    """images x rows x channels of x, and whether the other input has images and rows of its own."""

    images: int
    rows: int
    channels: int
    other_images: bool = False
    other_rows: bool = False


def extents_of(x_shape: tuple[int, ...], other_shape: tuple[int, ...] | None = None) -> Extents | None:
    """None where the other input is no row for each image, no row for all, and not as large as x."""
    if other_shape is None or other_shape == x_shape:
        rows = prod(x_shape[:-2]) if len(x_shape) > 1 else 1
        return Extents(1, rows, prod(x_shape) // rows, other_rows=True)
    shape = (1,) * (len(x_shape) - len(other_shape)) + other_shape
    if len(shape) != len(x_shape) or shape[-1] != x_shape[-1] or prod(shape[1:-1]) != 1 or len(shape) < 2:
        return None
    if shape[0] == 1:
        return Extents(1, prod(x_shape[:-1]), x_shape[-1])
    return Extents(x_shape[0], prod(x_shape[1:-1]), x_shape[-1], other_images=True) if shape[0] == x_shape[0] else None


def count_row_blocks(rows: int, numbers: int, threads: int) -> int:
    """Of rows with so many numbers in all."""
    return max(1, min(rows, 2 * threads, numbers // WORK_A_TASK)) if threads > 1 else 1


def bind(extents: Extents, activation: Activation, machine: Machine, threads: int) -> tuple[TileShape, np.ndarray, int]:
    """The tile, the context and the tasks of `elementwise`."""
    e = extents
    lanes = lanes_for(e.channels, machine)
    vectors = next(count for count in (4, 2, 1) if count * lanes <= e.channels)
    blocks = count_row_blocks(e.rows, e.rows * e.channels, threads)
    fields = {
        "row_blocks": blocks,
        "rows": e.rows,
        "channels": e.channels,
        "row": 4 * e.channels,
        "other_image": 4 * e.channels * (e.other_images if not e.other_rows else e.rows),
        "other_row": 4 * e.channels * e.other_rows,
        "low": float_bits(activation.low),
        "high": float_bits(activation.high),
    }
    return TileShape(1, vectors, 1, lanes, activation=activation.name), CONTEXT.pack(fields), e.images * blocks


def bind_softmax(shape: tuple[int, ...]) -> tuple[TileShape, np.ndarray, int]:
    fields = dict.fromkeys(CONTEXT.fields[len(ARRAYS) :], 0) | {"row": 4 * shape[-1]}
    return NUMBER, CONTEXT.pack(fields), prod(shape[:-1])
