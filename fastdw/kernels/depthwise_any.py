"""Depthwise convolution with large strides or multipliers: tiles slide over a strip of the image, copied into a scratch on the stack.

Copying makes every problem the same dense one. Zeros surround the image, so no tile is clipped. Pixels of the strip follow each other
without a gap, whatever the strides of x. With a multiplier each channel is repeated, so that outputs c*m ... c*m + m-1 read channel c.
With dilation the strip holds the grid of one phase alone: see phases.py.

    strip    [strip rows][strip columns][n ... n + width]
    tile     rows x cols outputs; for each filter row it loads the window under it and slides the filter row along

Filters wider than a tile takes at once go in chunks of columns and a rest. Filter rows and chunks that fall beside the image for all of
a tile are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels import depthwise, depthwise_rows, multipliers
from fastdw.kernels.blocks import block_start, count_blocks, largest_block
from fastdw.kernels.epilogue import EPILOGUE, finish
from fastdw.kernels.phases import (
    PHASES,
    grid_before,
    grid_stride,
    least_outputs,
    mean_tiles,
    most_outputs,
    phase_addresses,
    phase_fields,
    phase_outputs,
    phases,
)
from fastdw.kernels.spec import MIN_LANES, Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import (
    SCRATCH_BYTES,
    Context,
    TileShape,
    last_taps,
    load_pixel,
    load_pixels,
    load_row,
    load_taps,
    load_window,
    scratch,
    slide_fma,
    store,
    view,
    without_repeats,
    zeros,
)

MAX_STRIDE = 4  # between the columns of a tile; with larger ones a tile has one column
FEW_ROWS = 8
TOLERANCE = 1.1  # the first tile within this of the least cost is taken

CONTEXT = Context(
    *EPILOGUE,
    *PHASES,
    "multiplier",
    "block_channels",
    "kernel_cols",
    "whole_taps",  # filter columns before the rest
    "row_blocks",
    "col_blocks",
    "channel_blocks",
)


@Task
def depthwise_any(shape, context, index):
    c = view(CONTEXT, context)
    copied = without_repeats(shape)
    rest = last_taps(copied)
    whole_taps = c.whole_taps if shape.rest > 0 else shape.taps  # known to the compiler where one chunk is all
    channel_block = index % c.channel_blocks
    index //= c.channel_blocks
    col_block = index % c.col_blocks
    index //= c.col_blocks
    row_block = index % c.row_blocks
    index //= c.row_blocks
    col_phase = index % c.col_phases
    index //= c.col_phases
    row_phase = index % c.row_phases
    image = index // c.row_phases
    rows = phase_outputs(c.rows, row_phase, c.row_phases)
    cols = phase_outputs(c.cols, col_phase, c.col_phases)
    row_begin = block_start(row_block, c.row_blocks, rows, shape.rows)
    row_end = block_start(row_block + 1, c.row_blocks, rows, shape.rows)
    col_begin = block_start(col_block, c.col_blocks, cols, shape.cols)
    col_end = block_start(col_block + 1, c.col_blocks, cols, shape.cols)
    begin = channel_block * c.block_channels
    end = c.channels if channel_block == c.channel_blocks - 1 else begin + c.block_channels

    strip_rows = (row_end - row_begin - 1) * c.grid_stride_row + c.kernel_rows
    strip_cols = (col_end - col_begin - 1) * c.grid_stride_col + c.kernel_cols
    first_row = (row_phase + row_begin * c.row_phases) * c.stride_row - c.top
    first_col = (col_phase + col_begin * c.col_phases) * c.stride_col - c.left
    x_image, out_image, residual_image = phase_addresses(c, image, row_phase, col_phase)
    rows_from = min(strip_rows, grid_before(first_row, c.dilation_row))
    rows_to = max(rows_from, min(strip_rows, grid_before(first_row - c.height, c.dilation_row)))
    cols_from = min(strip_cols, grid_before(first_col, c.dilation_col))
    cols_to = max(cols_from, min(strip_cols, grid_before(first_col - c.width, c.dilation_col)))
    pixel = 4 * shape.width
    strip_row = strip_cols * pixel
    strip = scratch(shape)
    for tile_n in range(begin, end, shape.width):
        n = min(tile_n, end - shape.width)
        x = x_image + row_begin * c.grid_stride_row * c.grid_row + col_begin * c.grid_stride_col * c.grid_col
        x += 4 * (n // shape.expand if shape.expand > 0 else n // c.multiplier)
        blank = load_row(shape, c.blank, 0)
        for row in range(strip_rows):
            is_inside = rows_from <= row and row < rows_to
            left, right = (cols_from, cols_to) if is_inside else (strip_cols, strip_cols)
            source = x + row * c.grid_row
            to = strip + row * strip_row
            for col in range(left):
                store(blank, to + col * pixel, 0, 0, shape.last_vec)
            if right - left >= shape.cols:
                for tile_col in range(left, right, shape.cols):
                    col = min(tile_col, right - shape.cols)
                    pixels = load_pixels(shape, source + col * c.grid_col, c.grid_col)
                    store(pixels, to + col * pixel, 0, pixel, shape.last_vec)
            else:
                for col in range(left, right):
                    store(load_pixel(shape, source + col * c.grid_col), to + col * pixel, 0, 0, shape.last_vec)
            for col in range(right, strip_cols):
                store(blank, to + col * pixel, 0, 0, shape.last_vec)

        for tile_row in range(row_begin, row_end, shape.rows):
            row = min(tile_row, row_end - shape.rows)
            top = (row - row_begin) * c.grid_stride_row
            first_filter_row = max(0, rows_from - top - (shape.rows - 1) * c.grid_stride_row)
            end_filter_row = min(c.kernel_rows, rows_to - top)
            for tile_col in range(col_begin, col_end, shape.cols):
                col = min(tile_col, col_end - shape.cols)
                beside = (col - col_begin) * c.grid_stride_col
                first_chunk = max(0, (cols_from - beside - shape.window_cols) // shape.taps + 1) * shape.taps if shape.rest > 0 else 0
                last_tap = min(whole_taps, cols_to - beside) if shape.rest > 0 else whole_taps
                window = strip + (top + first_filter_row) * strip_row + beside * pixel
                weight = c.weight + first_filter_row * c.weight_row + 4 * n
                acc = zeros(shape)
                for _ in range(first_filter_row, end_filter_row):
                    for q in range(first_chunk, last_tap, shape.taps):
                        x_tile = load_window(copied, window + q * pixel, c.grid_stride_row * strip_row, pixel)
                        acc = slide_fma(shape, acc, x_tile, load_taps(shape, weight + q * c.weight_col, c.weight_col))
                    x_tile = load_window(rest, window + whole_taps * pixel, c.grid_stride_row * strip_row, pixel)
                    acc = slide_fma(rest, acc, x_tile, load_taps(rest, weight + whole_taps * c.weight_col, c.weight_col))
                    window += strip_row
                    weight += c.weight_row
                bias = load_row(shape, c.bias + n * c.bias_channel, shape.last_vec)
                out = out_image + row * c.out_row + col * c.out_col + 4 * n
                residual = residual_image + row * c.residual_row + col * c.residual_col + 4 * n
                finish(shape, acc, bias, c, shape.last_vec, residual, out)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if depthwise_rows.refuses(problem, machine) is None or depthwise.refuses(problem, machine) is None:
        return "served without a strip"
    if strip_bytes(problem, 1, 1, MIN_LANES) > SCRATCH_BYTES:
        return f"a filter of {problem.kernel[0]} x {problem.kernel[1]}, larger than the scratch"
    return None


def strip_bytes(problem: Problem, rows: int, cols: int, width: int) -> int:
    """The strip under rows x cols outputs of a phase, `width` channels of it."""
    high, wide = ((outputs - 1) * grid_stride(problem, axis) + problem.kernel[axis] for axis, outputs in enumerate((rows, cols)))
    return 4 * high * wide * width


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Every tile whose machine code does not spill and whose strip fits the scratch."""
    taps, stride = depthwise.chunk_taps(problem.kernel[1]), grid_stride(problem, 1)
    most_rows, most_cols = least_outputs(problem, 0), least_outputs(problem, 1)
    if stride > MAX_STRIDE:
        stride, most_cols = 1, 1
    expand, lanes, unit, most_vecs = multipliers.expansion(problem, machine)
    if expand > 1 and strip_bytes(problem, 1, 1, lanes * unit) > SCRATCH_BYTES:
        expand, lanes, unit, most_vecs = multipliers.one_channel(problem, machine)
    while strip_bytes(problem, 1, 1, lanes * unit) > SCRATCH_BYTES:
        lanes //= 2
    for rows, cols, vecs in depthwise.TILES:
        vecs *= unit
        fits = rows <= most_rows and cols <= most_cols and vecs <= most_vecs
        fits = fits and strip_bytes(problem, 2 * rows - 1, 2 * cols - 1, vecs * lanes) <= SCRATCH_BYTES
        if fits and rows * cols * vecs <= depthwise.most_accumulators(machine, taps, stride, rows, vecs):
            yield TileShape(rows, cols, vecs, lanes, taps, stride, depthwise.rest_taps(problem.kernel[1]), expand)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    """Rows of a phase; channels of one strip, or of all."""
    most_rows = most_outputs(problem, 0)
    for rows in sorted({shape.rows, 2 * shape.rows, 4 * shape.rows, most_rows}):
        if rows <= most_rows:
            for channels in sorted({shape.width, problem.out_channels}):
                yield Blocking(rows, channels)


def cost(problem: Problem, shape: TileShape) -> float:
    """Estimated cycles: for each tile the FMA or load units, whichever is busier, the epilogue, and a fixed share."""
    taps_high, taps_wide = problem.kernel
    outputs = shape.pixels * shape.vecs
    loads = taps_high * shape.vecs * (shape.rows * ((shape.cols - 1) * shape.stride + taps_wide) + taps_wide)
    busy = depthwise.touching(problem, shape.rows) * max(outputs * taps_high * taps_wide, loads) / 2
    tiles = mean_tiles(problem, 0, shape.rows) * mean_tiles(problem, 1, shape.cols)
    return tiles * -(-problem.out_channels // shape.width) * (busy + 1.5 * outputs + 8)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    """A narrow strip, which stays in the first cache, of as many rows as fit: the fewer strips, the fewer rows are copied twice."""
    costs = {shape: cost(problem, shape) for shape in sorted(shapes(problem, machine), key=lambda shape: (shape.vecs, shape.rows > 2))}
    shape = next(shape for shape in costs if costs[shape] <= TOLERANCE * min(costs.values()))
    rows, cols = most_outputs(problem, 0), most_outputs(problem, 1)
    tasks = phases(problem, 0) * phases(problem, 1) * -(-problem.out_channels // shape.width)
    if tasks < 2 * threads:
        rows = max(shape.rows, rows * tasks // (2 * threads))
    channels = shape.width
    if problem.multiplier > 1 and 4 * problem.out_height * problem.out_width * problem.out_channels > machine.l2_size:
        rows, channels = min(rows, FEW_ROWS), problem.out_channels  # pixels of the output are whole before they leave the cache
    while rows > shape.rows and strip_bytes(problem, rows, cols, shape.width) > SCRATCH_BYTES:
        rows = max(shape.rows, -(-rows // 2))
    return shape, Blocking(rows, channels)


def largest(problem: Problem, axis: int, blocks: int, tile: int) -> int:
    """Outputs of the largest block of any phase. A phase with fewer may have it: its last block takes what is left over."""
    return max(largest_block(outputs(problem, axis), blocks, tile) for outputs in (least_outputs, most_outputs))


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p, shape = plan.problem, plan.shape
    row_blocks, col_blocks = count_blocks(least_outputs(p, 0), shape.rows, plan.blocking.rows), 1

    def fits() -> bool:
        return strip_bytes(p, largest(p, 0, row_blocks, shape.rows), largest(p, 1, col_blocks, shape.cols), shape.width) <= SCRATCH_BYTES

    while not fits():
        if col_blocks < least_outputs(p, 1) // shape.cols:
            col_blocks += 1
        else:
            row_blocks += 1
    if shape.expand == 0:
        channel_blocks, block_channels = p.channels, p.multiplier
    else:
        channel_blocks = count_blocks(p.out_channels, shape.width, plan.blocking.channels)
        block_channels = p.out_channels // shape.width // channel_blocks * shape.width
    fields = phase_fields(plan, layout) | {
        "multiplier": p.multiplier,
        "block_channels": block_channels,
        "kernel_cols": p.kernel[1],
        "whole_taps": p.kernel[1] - shape.rest,
        "row_blocks": row_blocks,
        "col_blocks": col_blocks,
        "channel_blocks": channel_blocks,
    }
    return fields, p.batch * phases(p, 0) * phases(p, 1) * row_blocks * col_blocks * channel_blocks


SPEC = KernelSpec(
    name="depthwise_any",
    kind=DEPTHWISE,
    task=depthwise_any,
    context=CONTEXT,
    refuses=refuses,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: tuple(shape.pixels * shape.vecs * taps for taps in (shape.taps, shape.rest) if taps),
    cost=cost,
)
