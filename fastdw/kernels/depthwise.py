"""Depthwise convolution of what is not served along rows: unusual padding of columns, phases that lie differently beside the image,
rows of one output or short ones without padding, filters too wide for registers.

A tile of rows x cols output pixels holds vecs vectors of channels each. For each filter row it loads the window of input
pixels under the tile and slides the filter row along it:

    window   x[row*stride + r - top ...][col*stride - left ... + (cols - 1)*stride + taps][n ... n + width]
    taps     weight[r][0 ... taps][n ... n + width]

With a multiplier each channel of the window is repeated as it is loaded: see multipliers.py.
Dilation splits the outputs into phases, each a convolution without dilation: see phases.py.

Filter columns are unrolled, filter rows are a loop: straight-line taps make LLVM hoist loads until it spills. Filters
wider than a tile takes at once go in chunks of columns and a rest. A tile that hangs over the image reads zeros there
through a pointer select, so nothing is read outside and nothing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels import depthwise_rows
from fastdw.kernels.depthwise_rows import LINE_FLOATS, PASSED, WAY_BYTES
from fastdw.kernels.epilogue import EPILOGUE, finish
from fastdw.kernels.multipliers import expansion
from fastdw.kernels.phases import (
    BLOCKS,
    PHASES,
    bind_blocks,
    default_blocking,
    grid_inside,
    grid_stride,
    least_outputs,
    mean_tiles,
    most_outputs,
    phase_addresses,
    phase_outputs,
    task_block,
)
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, last_taps, load_row, load_taps, load_window, load_window_clipped, slide_fma, view, zeros

MAX_TAPS = 7  # filter columns that one tile takes at once
FEW_VECS = 2  # more spill where a filter row takes several chunks, or without a fused multiply-add
WIDE_TAPS = 5  # from here on loads cost beside the multiply-adds; with more, tiles of one row come first, and multipliers have strips
MAX_STRIDE = 2

CONTEXT = Context(
    *EPILOGUE,
    *PHASES,
    *BLOCKS,
    "whole_taps",  # filter columns before the rest
)


@Task
def depthwise(shape, context, index):
    c = view(CONTEXT, context)
    rest = last_taps(shape)
    whole_taps = c.whole_taps if shape.rest > 0 else shape.taps  # known to the compiler where one chunk is all
    image, row_phase, row_begin, row_end, begin, end = task_block(shape, c, index)
    top, bottom = grid_inside(row_phase * c.stride_row - c.top, c.height, c.dilation_row)
    height = bottom - top
    row_step = c.grid_stride_row * c.grid_row
    window_rows = (shape.rows - 1) * c.grid_stride_row + 1
    window_cols = shape.window_cols - shape.taps + whole_taps + shape.rest
    for tile_row in range(row_begin, row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        x_row = row * c.grid_stride_row - top
        rows_inside = x_row >= 0 and x_row + c.kernel_rows - 1 + window_rows <= height
        for col_phase in range(c.col_phases):
            x_image, out_image, residual_image = phase_addresses(c, image, row_phase, col_phase)
            cols = phase_outputs(c.cols, col_phase, c.col_phases)
            left, right = grid_inside(col_phase * c.stride_col - c.left, c.width, c.dilation_col)
            width = right - left
            x_image += top * c.grid_row + left * c.grid_col
            for tile_col in range(0, cols, shape.cols):
                col = min(tile_col, cols - shape.cols)
                x_col = col * shape.stride - left
                inside = rows_inside and x_col >= 0 and x_col + window_cols <= width
                x_tile = x_image + x_row * c.grid_row + x_col * c.grid_col
                out = out_image + row * c.out_row + col * c.out_col
                residual = residual_image + row * c.residual_row + col * c.residual_col
                for tile_n in range(begin, end, shape.width):
                    n = min(tile_n, end - shape.width)
                    x = x_tile + 4 * (n // shape.expand)
                    weight = c.weight + 4 * n
                    acc = zeros(shape)
                    if inside:
                        for _ in range(c.kernel_rows):
                            for q in range(0, whole_taps, shape.taps):
                                window = load_window(shape, x + q * c.grid_col, row_step, c.grid_col)
                                acc = slide_fma(shape, acc, window, load_taps(shape, weight + q * c.weight_col, c.weight_col))
                            window = load_window(rest, x + whole_taps * c.grid_col, row_step, c.grid_col)
                            acc = slide_fma(rest, acc, window, load_taps(rest, weight + whole_taps * c.weight_col, c.weight_col))
                            x += c.grid_row
                            weight += c.weight_row
                    else:
                        for r in range(c.kernel_rows):
                            first = x_row + r
                            if first + window_rows > 0 and first < height:
                                for q in range(0, whole_taps, shape.taps):
                                    first_col = x_col + q
                                    # but for chunks beside the image
                                    if shape.rest == 0 or (first_col + shape.window_cols > 0 and first_col < width):
                                        at = x + q * c.grid_col
                                        window = load_window_clipped(
                                            shape, at, row_step, c.grid_col, first, c.grid_stride_row, height, first_col, width, c.blank
                                        )
                                        acc = slide_fma(shape, acc, window, load_taps(shape, weight + q * c.weight_col, c.weight_col))
                                at, first_col = x + whole_taps * c.grid_col, x_col + whole_taps
                                window = load_window_clipped(
                                    rest, at, row_step, c.grid_col, first, c.grid_stride_row, height, first_col, width, c.blank
                                )
                                acc = slide_fma(rest, acc, window, load_taps(rest, weight + whole_taps * c.weight_col, c.weight_col))
                            x += c.grid_row
                            weight += c.weight_row
                    bias = load_row(shape, c.bias + n * c.bias_channel, shape.last_vec)
                    finish(shape, acc, bias, c, shape.last_vec, residual + 4 * n, out + 4 * n)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if grid_stride(problem, 1) > MAX_STRIDE:
        return f"column stride {problem.stride[1]} with dilation {problem.dilation[1]}, more than {MAX_STRIDE} on its grid"
    if depthwise_rows.refuses(problem, machine) is None:
        return "served along rows"
    needs_strip = expansion(problem, machine).expand == 0 or problem.kernel[1] > WIDE_TAPS or not any(shapes(problem, machine))
    if problem.multiplier > 1 and needs_strip:
        return f"multiplier {problem.multiplier} with {problem.kernel[1]} filter columns, column stride {problem.stride[1]}"
    return None


# rows, columns and vectors of the tiles, the most useful first: a network should compile few of them
TILES = (
    *((2, 4, 2), (1, 7, 2), (2, 2, 4)),
    *((4, 4, 1), (2, 4, 1), (2, 7, 1), (1, 7, 1), (1, 4, 1), (2, 2, 1), (1, 1, 1)),
    *((4, 2, 2), (1, 4, 2), (2, 2, 2), (1, 2, 2), (1, 1, 2)),
    *((1, 4, 4), (1, 2, 4), (1, 1, 4)),
)
# what the cost model does not see
PAIRED = 2.0  # cores that issue in order: several vectors, where neighbours are loaded in pairs
HALVES = 1.2  # where tiles are small anyway, for want of registers: to read lines of cache in halves; twice in quarters
BULKY = 1.1  # elsewhere: more than 8 pixels, or vectors of outputs where images come from memory or columns are strided
CROWDED = 1.1  # few vectors of pixels that share sets of the first cache
SEVERAL_ROWS = 1.1  # under wide filters: a row of outputs shares most of a window
FEW_COLS = 1.2  # where pixels lie apart: several rows of few columns
UNSUITED = 1.2  # where pixels lie apart: many vectors of a pixel, or few where pixels share sets
WIDE_VECS = 8  # of a block of channels under wide filters
TOLERANCE = 1.02  # the first tile within this of the least cost is taken


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Every tile whose machine code does not spill."""
    taps, stride = chunk_taps(problem.kernel[1]), grid_stride(problem, 1)
    expand, lanes, unit, most_vecs = expansion(problem, machine)
    rest, width = rest_taps(problem.kernel[1]), least_outputs(problem, 1)
    for rows, cols, vecs in TILES:
        vecs *= unit
        fits = rows <= least_outputs(problem, 0) and cols <= width and vecs <= most_vecs
        fits = fits and (vecs <= FEW_VECS * unit or (rest == 0 and machine.is_fused))
        most = most_accumulators(machine, taps, stride, rows, vecs)
        if fits and rows * cols * vecs <= (most if expand == 1 else min(most, most_repeated(machine, taps, stride, rows, vecs))):
            yield TileShape(rows, cols, vecs, lanes, taps, stride, rest, expand)


def chunk_taps(taps: int) -> int:
    """Filter columns that a tile takes at once: all of a narrow filter, else the chunk that leaves the fewest over."""
    if taps <= MAX_TAPS:
        return taps
    return min(range(MAX_TAPS, 3, -1), key=lambda chunk: taps % chunk)


def rest_taps(taps: int) -> int:
    """Filter columns after the whole chunks, at least one; 0 where one chunk is all of the filter."""
    chunk = chunk_taps(taps)
    return 0 if chunk == taps else (taps - 1) % chunk + 1


def most_accumulators(machine: Machine, taps: int, stride: int, rows: int, vecs: int) -> int:
    """Vectors of outputs that leave room for a window and its taps, as the compiled loops show.

    Wide windows need more room, and so do four window rows at once. Where a multiply-add cannot read memory, all of the
    window and the taps pass through registers. For cores that issue in order LLVM repeats the body of the loop.
    """
    if taps == 4 and rows > 1:  # two filter rows at once are unrolled
        return machine.registers // 8
    if (taps == 1 and machine.registers < 32) or (rows > 2 and machine.is_in_order):
        return machine.registers // 4
    is_wide = taps > 5 or (taps > 3 and (stride > 1 or rows > 2)) or (stride > 1 and machine.is_in_order)
    if is_wide or not machine.is_fused or (not machine.is_memory_operand and vecs > 1):
        return machine.registers // 4
    return machine.registers // 2


def most_repeated(machine: Machine, taps: int, stride: int, rows: int, vecs: int) -> int:
    """The same for repeated channels: all of the window passes through registers. 0: leave it to strips, as where registers are
    few, or permutations take turns with multiply-adds."""
    if machine.registers < 32 or not machine.is_memory_operand:
        return 0
    if taps > 3 or stride > 1:
        return machine.registers // (8 if taps > 3 and rows > 1 else 4)
    return machine.registers // 2 - (2 if rows > 1 or vecs > 4 else 0)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    most_rows = most_outputs(problem, 0)
    for rows in sorted({shape.rows, 2 * shape.rows, 4 * shape.rows, most_rows}):
        for channels in sorted({min(problem.out_channels, blocks * shape.width) for blocks in (1, 2, 4, 8)} | {problem.out_channels}):
            if rows <= most_rows:
                yield Blocking(rows, channels)


def touching(problem: Problem, rows: int) -> float:
    """The share of filter rows that fall on the image for some of a tile of so many rows."""
    beside = sum(sum(range(side // problem.dilation[0] - rows + 1, 0, -rows)) for side in problem.padding[0])
    return max(0, 1 - beside / (mean_tiles(problem, 0, rows) * problem.kernel[0]))


def cost(problem: Problem, shape: TileShape) -> float:
    """Estimated cycles: for each tile its multiply-adds and loads, the vectors that no earlier tile of the row has brought to L1, edges.

    The less busy of the two units adds some; all of it under wide filters, whose loads many multiply-adds wait for. Rows of a tile
    lie apart, which costs a little. Filter rows that fall beside the image for all of a tile are left out. The coefficients are
    fitted to times of every tile on 45 layers, with vectors of 16 and of 8 lanes.
    """
    taps_high, taps_wide = problem.kernel
    window_rows = (shape.rows - 1) * grid_stride(problem, 0) + taps_high
    window_cols = (shape.cols - 1) * shape.stride + taps_wide
    outputs = shape.pixels * shape.vecs
    multiply_adds = outputs * taps_high * taps_wide
    loads = taps_high * shape.vecs * (shape.rows * window_cols + taps_wide)
    fresh = window_rows * shape.cols * shape.stride * shape.vecs
    tile_rows, tile_cols = mean_tiles(problem, 0, shape.rows), mean_tiles(problem, 1, shape.cols)
    inner = max(0, tile_rows - 2) * max(0, tile_cols - 2) / (tile_rows * tile_cols)
    edge = (1 - inner) * taps_high * shape.rows * window_cols
    less, more = sorted((multiply_adds, loads))
    busy = (more + (1 if taps_wide >= WIDE_TAPS else 0.6) * less) / 2
    tiles = tile_rows * tile_cols * -(-problem.out_channels // shape.width)
    several_rows = 0.97 + 0.03 * shape.rows
    return tiles * several_rows * (touching(problem, shape.rows) * (busy + 0.4 * fresh + 0.6 * edge) + 0.5 * outputs + 5)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    is_dilated, is_wide = max(problem.dilation) > 1, problem.kernel[1] > WIDE_TAPS
    is_crowded = any(4 * channels * problem.dilation[1] % WAY_BYTES == 0 for channels in (problem.channels, problem.out_channels))
    is_slow = problem.bytes_moved > 2 * machine.l2_size or problem.stride[1] > 1

    def factor(shape: TileShape) -> float:
        is_few = shape.vecs <= FEW_VECS
        if is_dilated:
            return (FEW_COLS if shape.rows > 1 and shape.cols < 4 else 1) * (UNSUITED if is_few == is_crowded else 1)
        if is_wide and shape.rows > 1:
            return SEVERAL_ROWS
        if machine.registers < 32:
            return HALVES ** max(0, math.log2(LINE_FLOATS / shape.width))
        if not machine.is_memory_operand:
            return 1 if shape.vecs == 1 else PAIRED if machine.is_in_order else PASSED
        is_bulky = shape.pixels * (shape.vecs if is_slow else 1) > 8
        return (BULKY if is_bulky else 1) * (CROWDED if is_crowded and is_few else 1)

    costs = {shape: cost(problem, shape) * factor(shape) for shape in shapes(problem, machine)}
    tolerance = 1 if is_dilated else TOLERANCE
    shape = next(shape for shape in costs if costs[shape] <= tolerance * min(costs.values()))
    channels = WIDE_VECS * shape.lanes if is_wide else problem.out_channels  # taps that all pixels of a block share stay in a cache
    return shape, default_blocking(problem, shape, threads, channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    fields, tasks = bind_blocks(plan, layout)
    return fields | {"whole_taps": plan.problem.kernel[1] - plan.shape.rest}, tasks


SPEC = KernelSpec(
    name="depthwise",
    kind=DEPTHWISE,
    task=depthwise,
    context=CONTEXT,
    refuses=refuses,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: tuple(shape.pixels * shape.vecs * taps for taps in (shape.taps, shape.rest) if taps),
    cost=cost,
)
