"""Depthwise convolution along rows: tiles of one row, which know which of their taps fall beside the image.

A tile is `cols` neighbouring outputs of a row. For each filter row the pixels under it are loaded once and multiplied with the taps
of the outputs that read them, as many in a row as registers hold:

    acc[j]   += x[j*stride + s - left] * weight[s]      where the pixel lies in the image

How far the first tile of a row hangs over the image, and the last, is known to the compiler, and so is whether they are one and the
same. So no multiply-add is wasted on padding, however much wider than the image a filter is, and no pixel is selected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from fastdw.jit import Inlined, Task
from fastdw.kernels.blocks import block_start, count_blocks
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.phases import grid_before
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan, lanes_for
from fastdw.machine import Machine
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, load_row, one_row, slide_row, view, without_left, without_right, zeros

CONTEXT = Context(
    *EPILOGUE,
    "height",
    "rows",  # of the output
    "cols",
    "channels",
    "top",
    "left",
    "kernel_rows",
    "stride_row",
    "dilation_row",
    "x_image",
    "x_row",
    "x_col",
    "weight_row",
    "weight_col",
    "row_blocks",
    "channel_blocks",
)


@Inlined
def compute(shape, c, taps, x, weight, bias, residual, out):
    acc = zeros(shape)
    for _ in range(taps):
        acc = slide_row(shape, acc, x, c.stride_row * c.x_row, c.x_col, weight, c.weight_col)
        x += c.dilation_row * c.x_row
        weight += c.weight_row
    finish(shape, acc, load_row(shape, bias, shape.last_vec), c, shape.last_vec, residual, out)


@Inlined
def compute_along(shape, c, col, taps, x, weight, bias, residual, out):
    if shape.whole:
        compute(shape, c, taps, x, weight, bias, residual, out)
    elif col == 0:
        compute(without_right(shape), c, taps, x, weight, bias, residual, out)
    elif col == c.cols - shape.cols:
        compute(without_left(shape), c, taps, x, weight, bias, residual, out)
    else:
        compute(without_left(without_right(shape)), c, taps, x, weight, bias, residual, out)


@Inlined
def compute_rows(shape, c, image, row, begin, end):
    first_row = row * c.stride_row - c.top
    first_tap = min(c.kernel_rows, grid_before(first_row, c.dilation_row))
    taps = min(c.kernel_rows, grid_before(first_row - c.height, c.dilation_row)) - first_tap
    x_row = c.x + image * c.x_image + (first_row + first_tap * c.dilation_row) * c.x_row - c.left * c.x_col
    for tile_col in range(0, c.cols, shape.cols):
        col = min(tile_col, c.cols - shape.cols)
        x_tile = x_row + col * shape.stride * c.x_col
        residual_tile = c.residual + image * c.residual_image + row * c.residual_row + col * c.residual_col
        out_tile = c.out + image * c.out_image + row * c.out_row + col * c.out_col
        for tile_n in range(begin, end, shape.width):
            n = min(tile_n, end - shape.width)
            x, weight, bias = x_tile + 4 * n, c.weight + first_tap * c.weight_row + 4 * n, c.bias + n * c.bias_channel
            compute_along(shape, c, col, taps, x, weight, bias, residual_tile + 4 * n, out_tile + 4 * n)


@Task
def depthwise_rows(shape, context, index):
    c = view(CONTEXT, context)
    channel_block = index % c.channel_blocks
    index //= c.channel_blocks
    row_block = index % c.row_blocks
    image = index // c.row_blocks
    begin = block_start(channel_block, c.channel_blocks, c.channels, shape.width)
    end = block_start(channel_block + 1, c.channel_blocks, c.channels, shape.width)
    row_end = block_start(row_block + 1, c.row_blocks, c.rows, shape.rows)
    for tile_row in range(block_start(row_block, c.row_blocks, c.rows, shape.rows), row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        x_row = row * c.stride_row - c.top
        last_row = x_row + (shape.rows - 1) * c.stride_row + (c.kernel_rows - 1) * c.dilation_row
        if shape.rows == 1 or (x_row >= 0 and last_row < c.height):
            compute_rows(shape, c, image, row, begin, end)
        else:
            for i in range(shape.rows):
                compute_rows(one_row(shape), c, image, row + i, begin, end)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if problem.multiplier != 1 or problem.dilation[1] != 1:
        return "a multiplier or dilated columns"
    if not any(shapes(problem, machine)):
        return f"rows of {problem.out_width} outputs with {problem.kernel[1]} filter columns, stride {problem.stride[1]}"
    return None


# rows, columns and vectors of the tiles
TILES = ((2, 7, 1), (2, 4, 1), (2, 2, 4), (2, 2, 2), (1, 7, 1), (1, 7, 2), (1, 14, 1), (1, 4, 2), (1, 4, 1))
MOST_COLS = 14  # of an image whose rows are a tile
MAX_STRIDE = 2


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Rows of narrow images, and parts of others, where registers hold the sums and a filter row beside them."""
    taps, stride, left, width = problem.kernel[1], problem.stride[1], problem.padding[1][0], problem.out_width
    if problem.multiplier != 1 or problem.dilation[1] != 1 or stride > MAX_STRIDE:
        return
    right = max(0, (width - 1) * stride + taps - left - problem.width)
    lanes = lanes_for(problem.channels, machine)
    whole = ((1, width, 1), (1, width, 2)) if width <= MOST_COLS else ()
    for rows, cols, vecs in dict.fromkeys((*whole, *TILES)):
        tile = TileShape(rows, cols, vecs, lanes, taps, stride, left=left, right=right, whole=cols == width)
        if fits(problem, tile) and is_held(tile, machine):
            yield tile


def is_held(tile: TileShape, machine: Machine) -> bool:
    """Whether registers hold the sums, the taps or else the pixels of a filter row, and one of the others, as the compiled loops show.

    LLVM loads ahead, above all where pixels lie apart: several rows, and wide filters with a stride, spill long before.
    """
    pixels = tile.window_cols - (tile.left + tile.right if tile.whole else 0)
    ahead = tile.taps if tile.stride > 1 and tile.taps > (7 if machine.is_fused else 5) else 0
    ahead += 0 if machine.is_memory_operand else 1 if machine.is_fused else 2
    used = (tile.pixels + min(tile.taps, pixels) + 1) * tile.vecs + ahead
    return (
        used <= machine.registers and tile.pixels * tile.vecs <= machine.registers - 4 and (tile.rows == 1 or tile.taps * tile.stride <= 6)
    )


def fits(problem: Problem, tile: TileShape) -> bool:
    """Whether it lies within the output, and only the first of a row hangs over the left edge of the image, only the last over the
    right."""
    if tile.rows > problem.out_height or tile.cols > problem.out_width or tile.width > problem.channels:
        return False
    last = problem.out_width - tile.cols
    before_last = (last - 1) // tile.cols * tile.cols
    at_left = tile.left <= min(tile.cols, last) * tile.stride
    return tile.whole or (last > 0 and at_left and before_last * tile.stride + tile.window_cols - tile.left <= problem.width)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    for rows in sorted({shape.rows, 4 * shape.rows, problem.out_height}):
        for channels in sorted({min(problem.channels, blocks * shape.width) for blocks in (1, 4)} | {problem.channels}):
            if rows <= problem.out_height:
                yield Blocking(rows, channels)


WAYS, WAY_BYTES = 8, 4 << 10  # of the first cache
CROWDED = 4.0  # loads of pixels that share its sets, and fetch each other's neighbours in vain; half of it for several vectors
WIDE_TAPS, WIDE_VECS = 7, 8  # under wider filters blocks of channels, whose taps stay in a cache
BULKY = 1.3  # more than 8 pixels, where the image comes from memory


def cost(problem: Problem, shape: TileShape) -> float:
    """Estimated cycles: for each tile its multiply-adds and loads, half of both, and some of the vectors that no earlier tile of the
    row has brought to the first cache. Several rows and vectors cost a little more than one. The coefficients are fitted to times of
    every tile on 52 layers, with vectors of 16 and of 8 lanes."""
    taps_high, taps_wide = problem.kernel
    window_rows = (shape.rows - 1) * problem.stride[0] + taps_high
    multiply_adds = shape.pixels * shape.vecs * taps_high * taps_wide
    x_loads = taps_high * shape.vecs * shape.rows * shape.window_cols
    loads = x_loads + taps_high * shape.vecs * taps_wide
    fresh = window_rows * shape.cols * shape.stride * shape.vecs
    apart = WAY_BYTES // math.gcd(WAY_BYTES, 4 * problem.channels)  # pixels of a row that share no sets
    is_crowded = window_rows * shape.window_cols + shape.pixels > 1.3 * WAYS * apart
    crowded = CROWDED * x_loads / min(shape.vecs, 2) if is_crowded else 0
    tiles = -(-problem.out_height // shape.rows) * -(-problem.out_width // shape.cols) * -(-problem.channels // shape.width)
    several = (0.98 + 0.02 * shape.rows) * (0.97 + 0.03 * shape.vecs)
    return tiles * several * ((multiply_adds + loads) / 2 + 0.7 * fresh + crowded + 4)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    is_slow = problem.bytes_moved > 2 * machine.l2_size and math.prod(problem.kernel) <= 9

    def factor(shape: TileShape) -> float:
        return BULKY if is_slow and shape.pixels * shape.stride > 8 else 1

    shape = min(shapes(problem, machine), key=lambda shape: cost(problem, shape) * factor(shape))
    rows, channels = problem.out_height, problem.channels
    if threads > 1:
        rows = max(shape.rows, rows // (4 * threads))
    if problem.kernel[1] > WIDE_TAPS:
        channels = min(channels, WIDE_VECS * shape.lanes)
    return shape, Blocking(rows, channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p = plan.problem
    row_blocks = count_blocks(p.out_height, plan.shape.rows, plan.blocking.rows)
    channel_blocks = count_blocks(p.channels, plan.shape.width, plan.blocking.channels)
    fields = epilogue_fields(plan, layout) | {
        "height": p.height,
        "rows": p.out_height,
        "cols": p.out_width,
        "channels": p.channels,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "stride_row": p.stride[0],
        "dilation_row": p.dilation[0],
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "weight_row": layout.weight[0],
        "weight_col": layout.weight[1],
        "row_blocks": row_blocks,
        "channel_blocks": channel_blocks,
    }
    return fields, p.batch * row_blocks * channel_blocks


def turns(shape: TileShape) -> tuple[int, ...]:
    """Multiply-adds of a filter row, of each of the tiles that lie differently."""
    first, last = replace(shape, right=0), replace(shape, left=0)
    along = [shape] if shape.whole else [first, last, replace(last, right=0)]
    return tuple({rows * tile.vecs * tile.taps_inside for tile in along for rows in (1, shape.rows)} - {0})


SPEC = KernelSpec(
    name="depthwise_rows",
    kind=DEPTHWISE,
    task=depthwise_rows,
    context=CONTEXT,
    refuses=refuses,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=turns,
    cost=cost,
    rank=-1,
)
