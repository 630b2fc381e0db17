"""What moves numbers between the layers of networks: copies of rows, zeros, and images of another size. No problem of a planner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastdw.jit import Inlined, Task
from fastdw.kernels.blocks import block_start
from fastdw.kernels.elementwise import NUMBER, count_row_blocks
from fastdw.kernels.spec import lanes_for
from fastdw.machine import Machine
from fastdw.tile import Context, TileShape, add, load_pixel, load_row, move, multiply, peek, store, subtract, view, zeros
from fastdw.tile.shapes import ARRAYS

CONTEXT = Context(
    "row_blocks",  # of an image, a task each
    "rows",  # of the output that are written
    "cols",
    "channels",
    "x_image",  # bytes
    "x_row",
    "out_image",
    "out_row",
    "row",  # bytes of a row that is copied
)
# of an output row or column, in tables: bytes to the input before it, and to that after it, and a float32: how far between them it lies
BEFORE, AFTER, FRACTION, ENTRY = 0, 8, 16, 24

Bound = tuple[TileShape, np.ndarray, int]


@Task
def copy_rows(shape, context, index):
    c = view(CONTEXT, context)
    image, block = index // c.row_blocks, index % c.row_blocks
    for row in range(block_start(block, c.row_blocks, c.rows, 1), block_start(block + 1, c.row_blocks, c.rows, 1)):
        move(c.out + image * c.out_image + row * c.out_row, c.x + image * c.x_image + row * c.x_row, c.row)


@Task
def fill_zeros(shape, context, index):
    c = view(CONTEXT, context)
    end = block_start(index + 1, c.row_blocks, c.cols, shape.width)
    for at in range(block_start(index, c.row_blocks, c.cols, shape.width), end, shape.width):
        store(zeros(shape), c.out + 4 * min(at, end - shape.width), 0, 0, 0)


@Inlined
def between(shape, first, second, fraction):
    return add(first, multiply(subtract(second, first), fraction))


@Task
def resize(shape, context, index):
    """Rows first, then columns; the table of rows is the weight, that of columns the bias."""
    c = view(CONTEXT, context)
    image, block = index // c.row_blocks, index % c.row_blocks
    x = c.x + image * c.x_image
    for row in range(block_start(block, c.row_blocks, c.rows, 1), block_start(block + 1, c.row_blocks, c.rows, 1)):
        above, below = x + peek(c.weight + row * ENTRY + BEFORE), x + peek(c.weight + row * ENTRY + AFTER)
        down = load_pixel(shape, c.weight + row * ENTRY + FRACTION)
        out = c.out + image * c.out_image + row * c.out_row
        for col in range(c.cols):
            left, right = peek(c.bias + col * ENTRY + BEFORE), peek(c.bias + col * ENTRY + AFTER)
            across = load_pixel(shape, c.bias + col * ENTRY + FRACTION)
            for tile in range(0, c.channels, shape.width):
                n = 4 * min(tile, c.channels - shape.width)
                first = between(shape, load_row(shape, above + left + n, 0), load_row(shape, below + left + n, 0), down)
                second = between(shape, load_row(shape, above + right + n, 0), load_row(shape, below + right + n, 0), down)
                store(between(shape, first, second, across), out + n, 0, 0, 0)
            out += 4 * c.channels


def packed(**fields: int) -> np.ndarray:
    return CONTEXT.pack(dict.fromkeys(CONTEXT.fields[len(ARRAYS) :], 0) | fields)


def bind_copy(images: int, rows: int, row: int, x: Sequence[int], out: Sequence[int], threads: int) -> Bound:
    """row: floats. x and out: floats from image to image and from row to row."""
    blocks = count_row_blocks(rows, rows * row, threads)
    steps = {"x_image": 4 * x[0], "x_row": 4 * x[1], "out_image": 4 * out[0], "out_row": 4 * out[1]}
    return NUMBER, packed(row_blocks=blocks, rows=rows, row=4 * row, **steps), images * blocks


def bind_zeros(count: int, machine: Machine, threads: int) -> Bound:
    shape = TileShape(1, 1, 1, lanes_for(count, machine))
    blocks = count_row_blocks(count // shape.width, count, threads)
    return shape, packed(row_blocks=blocks, cols=count), blocks


def bind_resize(x_shape: tuple[int, ...], out_shape: tuple[int, ...], machine: Machine, threads: int) -> Bound:
    images, rows, cols, channels = out_shape
    blocks = count_row_blocks(rows, rows * cols * channels, threads)
    row = 4 * cols * channels
    extents = {"rows": rows, "cols": cols, "channels": channels}
    steps = {"x_image": 4 * x_shape[1] * x_shape[2] * channels, "out_image": rows * row, "out_row": row}
    shape = TileShape(1, 1, 1, lanes_for(channels, machine), expand=0)
    return shape, packed(row_blocks=blocks, **extents, **steps), images * blocks


def table(before: np.ndarray, after: np.ndarray, fraction: np.ndarray, step: int) -> np.ndarray:
    """Of rows or columns that lie so many bytes apart in the input; floats by type alone, as parameters are."""
    entries = np.zeros((before.size, ENTRY // 8), np.int64)
    entries[:, BEFORE // 8], entries[:, AFTER // 8] = before * step, after * step
    entries.view(np.float32)[:, FRACTION // 4] = fraction
    return entries.view(np.float32)
