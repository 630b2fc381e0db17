"""Depthwise convolution along rows: tiles that know which of their taps fall beside the image.

A tile is `cols` neighbouring outputs of a row. For each filter row the pixels under it are loaded once and multiplied with the taps
of the outputs that read them, as many in a row as registers hold:

    acc[j]   += x[j*stride + s - left] * weight[s]      where the pixel lies in the image

How far the first tile of a row hangs over the image, and the last, is known to the compiler, and so is whether they are one and the
same. So no multiply-add is wasted on padding, however much wider than the image a filter is, and no pixel is selected.

Channels are taken forwards, but backwards where the output lies close ahead of x within a page: where pixels are 4 KB apart, or a
part of that, stores have the low address bits of loads, and a CPU that tells them apart by these alone makes the load wait. So
what is loaded next must not lie where something was just stored.

With a multiplier each channel is repeated as it is loaded: see multipliers.py. Dilation splits the outputs into phases, each a
convolution without dilation: see phases.py. Where the rows of phases are whole tiles, those that are a column shorter have a tile of
their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastdw.jit import Inlined, Task
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
    phases,
    task_block,
)
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.packing import ALIGNMENT_BYTES
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, load_row, narrower, one_row, slide_row, view, without_left, without_right, zeros

PLACES = (
    "alike",  # the low bits that the addresses of all pixels share, as a mask
    "close",  # bytes ahead of x where backwards is better; 0: nowhere
)
CONTEXT = Context(*EPILOGUE, *PHASES, *BLOCKS, *PLACES)


@Inlined
def tile_start(tile, tiles, outputs, cols):
    """The first output of a tile of a row: evenly, so that only the outer two hang over the edges of the image."""
    return tile * (outputs - cols) // max(1, tiles - 1)


@Inlined
def sums(shape, c, filter_rows, x, weight):
    """The tile's sums over so many filter rows."""
    acc = zeros(shape)
    for _ in range(filter_rows):
        acc = slide_row(shape, acc, x, c.grid_stride_row * c.grid_row, c.grid_col, weight, c.weight_col)
        x += c.grid_row
        weight += c.weight_row
    return acc


@Inlined
def compute_row_of_tiles(shape, c, image, row_phase, row, top, bottom, begin, end, first_n, step):
    first = row * c.grid_stride_row
    first_filter_row = min(c.kernel_rows, max(0, top - first))
    filter_rows = min(c.kernel_rows, max(0, bottom - first)) - first_filter_row
    weight_row = c.weight + first_filter_row * c.weight_row
    for col_phase in range(c.col_phases):
        x_image, out_image, residual_image = phase_addresses(c, image, row_phase, col_phase)
        cols = phase_outputs(c.cols, col_phase, c.col_phases)
        if shape.whole and cols != shape.cols:
            continue
        tiles = (cols + shape.cols - 1) // shape.cols
        for tile in range(tiles):
            col = tile_start(tile, tiles, cols, shape.cols)
            x_tile = x_image + (first + first_filter_row) * c.grid_row + col * shape.stride * c.grid_col
            out_tile = out_image + row * c.out_row + col * c.out_col
            residual_tile = residual_image + row * c.residual_row + col * c.residual_col
            for tile_n in range(first_n, end if step > 0 else begin - shape.width, step):
                n = min(max(tile_n, begin), end - shape.width)
                x, weight = x_tile + 4 * (n // shape.expand), weight_row + 4 * n
                if shape.whole:
                    acc = sums(shape, c, filter_rows, x, weight)
                elif tile == 0:
                    acc = sums(without_right(shape), c, filter_rows, x, weight)
                elif tile == tiles - 1:
                    acc = sums(without_left(shape), c, filter_rows, x, weight)
                else:
                    acc = sums(without_left(without_right(shape)), c, filter_rows, x, weight)
                bias = load_row(shape, c.bias + n * c.bias_channel, shape.last_vec)
                finish(shape, acc, bias, c, shape.last_vec, residual_tile + 4 * n, out_tile + 4 * n)


@Task
def depthwise_rows(shape, context, index):
    c = view(CONTEXT, context)
    image, row_phase, row_begin, row_end, begin, end = task_block(shape, c, index)
    top, bottom = grid_inside(row_phase * c.stride_row - c.top, c.height, c.dilation_row)
    is_close_ahead = 0 < (c.out - c.x) & c.alike < c.close
    first_n, step = (end - shape.width, -shape.width) if is_close_ahead else (begin, shape.width)
    for tile_row in range(row_begin, row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        first = row * c.grid_stride_row
        window_rows = (shape.rows - 1) * c.grid_stride_row + c.kernel_rows
        if shape.rows == 1 or (first >= top and first + window_rows <= bottom):
            compute_row_of_tiles(shape, c, image, row_phase, row, top, bottom, begin, end, first_n, step)
            if shape.uneven:  # then there is one row
                compute_row_of_tiles(narrower(shape), c, image, row_phase, row, top, bottom, begin, end, first_n, step)
        else:
            for i in range(shape.rows):
                compute_row_of_tiles(one_row(shape), c, image, row_phase, row + i, top, bottom, begin, end, first_n, step)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if not any(shapes(problem, machine)):
        window = f"{problem.kernel[1]} filter columns, stride {problem.stride[1]}, dilation {problem.dilation[1]}"
        return f"rows of {problem.out_width} outputs with {window}"
    return None


# rows, columns and vectors of the tiles
TILES = ((2, 7, 1), (2, 4, 1), (2, 2, 4), (2, 2, 2), (1, 7, 1), (1, 7, 2), (1, 14, 1), (1, 4, 2), (1, 4, 1))
APART = ((1, 4, 4), (1, 2, 4))  # others where pixels of a row lie apart
WHOLE = range(2, 15)  # outputs of a row, or of a phase's, that may be one tile; each compiles
MAX_STRIDE = 2


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Rows of narrow images, and parts of others, where registers hold the sums and a filter row beside them.

    With dilation a row is one of a phase, and all phases hang over the image alike.
    """
    taps, stride = problem.kernel[1], grid_stride(problem, 1)
    expand, lanes, unit, _ = expansion(problem, machine)
    rows_of_phases = phases_of_columns(problem)
    edges = {(left, max(0, (outputs - 1) * stride + taps - end)) for outputs, left, end in rows_of_phases}
    if stride > MAX_STRIDE or len(edges) > 1 or expand == 0 or (expand > 1 and not repeats(problem, machine)):
        return
    (left, right), widths = edges.pop(), {outputs for outputs, _, _ in rows_of_phases}
    if not is_usual(left, right, taps):
        return
    width, is_uneven = max(widths), len(widths) > 1
    is_narrow = width in WHOLE and (left, right) != (0, 0)
    whole = ((1, width, 1), (1, width, 2), (1, width, 4)) if is_narrow else ()
    for rows, cols, vecs in dict.fromkeys((*whole, *TILES, *(APART if problem.dilation[1] > 1 else ()))):
        is_whole = is_narrow and cols == width and (rows == 1 or not is_uneven)
        tile = TileShape(
            rows,
            cols,
            vecs * unit,
            lanes,
            taps,
            stride,
            expand=expand,
            left=left,
            right=right,
            whole=is_whole,
            uneven=is_whole and is_uneven,
        )
        if fits(problem, tile) and is_held(tile, machine):
            yield tile


def is_usual(left: int, right: int, taps: int) -> bool:
    """No padding, as much as the filter takes on both sides, or all of it before the row: other edges are not worth compiling for."""
    reach = taps - 1
    around = left + right >= reach - 1 and max(left, right) <= (reach + 1) // 2
    return around or (left, right) in ((0, 0), (reach, 0))


def repeats(problem: Problem, machine: Machine) -> bool:
    """Whether channels are repeated as they are loaded: else strips serve, as where permutations take turns with multiply-adds."""
    return problem.kernel[1] <= 5 and machine.registers >= 32 and machine.is_memory_operand


def phases_of_columns(problem: Problem) -> set[tuple[int, int, int]]:
    """Of each phase its outputs in a row, and the first column of its grid that lies in the image and the first after it."""
    count, stride, dilation = phases(problem, 1), problem.stride[1], problem.dilation[1]
    starts = [phase * stride - problem.padding[1][0] for phase in range(count)]
    return {
        (phase_outputs(problem.out_width, phase, count), *grid_inside(start, problem.width, dilation)) for phase, start in enumerate(starts)
    }


def columns_read(tile: TileShape) -> int:
    """Pixels of a filter row that a tile loads."""
    return tile.window_cols - (tile.left + tile.right if tile.whole else 0)


def is_held(tile: TileShape, machine: Machine) -> bool:
    """Whether registers hold the sums, the taps or else the pixels of a filter row, and one of the others, as the compiled loops show.

    LLVM loads ahead where pixels lie apart: several rows, or a stride. It takes two filter rows at once where these are short.
    """
    ahead = 0
    if tile.stride > 1 and machine.is_in_order:
        ahead = tile.pixels
    elif tile.stride > 1 and tile.taps > (7 if machine.is_fused else 5):
        ahead = tile.taps
    spare = 0 if machine.is_memory_operand else 1 if machine.is_fused else 2
    spare += tile.vecs if tile.expand > 1 else 0
    used = (tile.pixels + min(tile.taps, columns_read(tile)) + 1) * tile.vecs + ahead + spare
    if tile.rows > 1 and (tile.taps * tile.stride > 6 or tile.taps in (2, 4)):
        return False
    if tile.taps > 5 and tile.pixels < 7 and not tile.whole:
        return False
    if tile.vecs > 1 and machine.is_in_order:  # where neighbours are loaded in pairs
        return False
    return used <= machine.registers and tile.pixels * tile.vecs <= machine.registers - 4


def fits(problem: Problem, tile: TileShape) -> bool:
    """Whether it lies within the output, and, where it is not all of a row, only the first of a row hangs over the left edge of the image
    and only the last over the right."""
    if tile.rows > least_outputs(problem, 0) or tile.cols - tile.uneven > least_outputs(problem, 1) or tile.width > problem.out_channels:
        return False
    for outputs, left, end in phases_of_columns(problem) if not tile.whole else ():
        tiles = -(-outputs // tile.cols)
        if tiles == 1:
            if tile.right > 0:
                return False
            continue
        second, before_last = (tile_start(number, tiles, outputs, tile.cols) for number in (1, tiles - 2))
        if second * tile.stride < left or before_last * tile.stride + tile.window_cols > end:
            return False
    return True


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    most_rows = most_outputs(problem, 0)
    for rows in sorted({shape.rows, 4 * shape.rows, most_rows}):
        for channels in sorted({min(problem.out_channels, blocks * shape.width) for blocks in (1, 4)} | {problem.out_channels}):
            if rows <= most_rows:
                yield Blocking(rows, channels)


WAYS, WAY_BYTES = 8, 4 << 10  # of the first cache
LINE_FLOATS = ALIGNMENT_BYTES // 4  # of a line of the cache
CROWDED = 1.7  # loads of lines that do not stay in their sets, where a tile takes all of a line; more where it comes back for the rest
WIDE_TAPS, WIDE_VECS = 7, 8  # under wider filters blocks of channels, whose taps stay in a cache
LEAST_PIXELS_IN_ORDER = {1: 7, 2: 8}  # of a tile, by stride, for cores that issue in order: loads are waited for
PASSED = 1.1  # cores where all that is loaded passes through registers: several vectors, which leave room for fewer outputs
HALVES = 1.13  # where tiles are small anyway, for want of registers: to read lines of cache in halves; twice in quarters
BULKY = 1.3  # elsewhere: more than 8 pixels, where memory is waited for (small filters, no phases) or a multiplier makes many outputs


def cost(problem: Problem, shape: TileShape) -> float:
    """Estimated cycles: for each tile its multiply-adds and loads, half of both, some of the vectors that no earlier tile of the row has
    brought to the first cache, and loads of lines that are lost from it before all of them is read. Several rows and vectors cost a
    little more than one. The coefficients are fitted to times of every tile on 100 layers, with vectors of 16 and of 8 lanes."""
    taps_high, taps_wide = problem.kernel
    window_rows = (shape.rows - 1) * grid_stride(problem, 0) + taps_high
    multiply_adds = shape.pixels * shape.vecs * taps_high * taps_wide
    x_loads = taps_high * shape.vecs * shape.rows * columns_read(shape)
    loads = x_loads + taps_high * shape.vecs * taps_wide
    fresh = window_rows * shape.cols * shape.stride * shape.vecs / shape.expand
    unshared = WAY_BYTES // math.gcd(WAY_BYTES, 4 * problem.channels * problem.dilation[1])  # pixels of a row that share no sets
    lost = max(0, 1 - 1.1 * WAYS * unshared / (window_rows * columns_read(shape) + shape.pixels)) if shape.expand == 1 else 0
    crowded = CROWDED * x_loads * lost * LINE_FLOATS / (shape.lanes * min(shape.vecs, 2))
    tiles = mean_tiles(problem, 0, shape.rows) * mean_tiles(problem, 1, shape.cols) * -(-problem.out_channels // shape.width)
    several = (0.98 + 0.02 * shape.rows) * (1 if problem.dilation[1] > 1 else 0.97 + 0.03 * shape.vecs)
    return tiles * several * ((multiply_adds + loads) / 2 + 0.7 * fresh + crowded + 3)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    is_slow = problem.bytes_moved > 2 * machine.l2_size and max(problem.dilation) == 1 and math.prod(problem.kernel) <= 9

    def factor(shape: TileShape) -> float:
        if machine.registers < 32:
            return HALVES ** max(0, math.log2(LINE_FLOATS / shape.width))
        if machine.is_memory_operand:
            return BULKY if (is_slow or shape.expand > 1) and shape.pixels * shape.stride > 8 else 1
        return PASSED if shape.vecs > 1 else 1

    found = list(shapes(problem, machine))
    if machine.is_in_order:
        enough = min(max(shape.pixels for shape in found), LEAST_PIXELS_IN_ORDER[grid_stride(problem, 1)])
        found = [shape for shape in found if shape.pixels >= enough]
    shape = min(found, key=lambda shape: cost(problem, shape) * factor(shape))
    channels = WIDE_VECS * shape.lanes if problem.kernel[1] > WIDE_TAPS else problem.out_channels
    return shape, default_blocking(problem, shape, threads, channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    fields, tasks = bind_blocks(plan, layout)
    alike, close = math.gcd(WAY_BYTES, fields["grid_col"], fields["out_col"]), 2 * 4 * plan.shape.width
    return fields | {"alike": alike - 1, "close": close if alike >= 4 * close else 0}, tasks


def turns(shape: TileShape) -> tuple[int, ...]:
    """Multiply-adds of a filter row, of each of the tiles that lie differently."""
    if shape.whole:
        along = [shape, narrower(shape)]
    else:
        along = [without_right(shape), without_left(shape), without_left(without_right(shape))]
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
