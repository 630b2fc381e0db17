"""Depthwise convolution with multiplier 1, narrow filters and no column dilation: two-dimensional register tiles.

A tile of rows x cols output pixels holds vecs vectors of channels each. For each filter row it loads the window of input
pixels under the tile and slides the filter row along it:

    window   x[row*stride + r*dilation - top ...][col*stride - left ... + (cols - 1)*stride + taps][n ... n + width]
    taps     weight[r][0 ... taps][n ... n + width]

Filter columns are unrolled, filter rows are a loop: straight-line taps make LLVM hoist loads until it spills. A tile
that hangs over the image reads zeros there through a pointer select, so nothing is read outside and nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels.blocks import block_start, count_blocks
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan, lanes_for
from fastdw.machine import Machine
from fastdw.packing import BLANK_ADDRESS
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, load_row, load_taps, load_window, load_window_clipped, slide_fma, view, zeros

MAX_TAPS = 7  # filter columns that one tile takes at once
MAX_STRIDE = 2
MIN_LANES = 4

CONTEXT = Context(
    *EPILOGUE,
    "blank",  # the address of zeros
    "height",
    "width",
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


@Task
def depthwise(shape, context, index):
    c = view(CONTEXT, context)
    image = index // (c.row_blocks * c.channel_blocks)
    row_block = index // c.channel_blocks % c.row_blocks
    channel_block = index % c.channel_blocks
    x_image = c.x + image * c.x_image
    out_image = c.out + image * c.out_image
    residual_image = c.residual + image * c.residual_image
    row_end = block_start(row_block + 1, c.row_blocks, c.rows, shape.rows)
    begin = block_start(channel_block, c.channel_blocks, c.channels, shape.width)
    end = block_start(channel_block + 1, c.channel_blocks, c.channels, shape.width)
    window_rows = (shape.rows - 1) * c.stride_row + 1
    window_cols = (shape.cols - 1) * shape.stride + shape.taps
    for tile_row in range(block_start(row_block, c.row_blocks, c.rows, shape.rows), row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        x_row = row * c.stride_row - c.top
        rows_inside = x_row >= 0 and x_row + (c.kernel_rows - 1) * c.dilation_row + window_rows <= c.height
        for tile_col in range(0, c.cols, shape.cols):
            col = min(tile_col, c.cols - shape.cols)
            x_col = col * shape.stride - c.left
            inside = rows_inside and x_col >= 0 and x_col + window_cols <= c.width
            x_tile = x_image + x_row * c.x_row + x_col * c.x_col
            out = out_image + row * c.out_row + col * c.out_col
            residual = residual_image + row * c.residual_row + col * c.residual_col
            for tile_n in range(begin, end, shape.width):
                n = min(tile_n, end - shape.width)
                x = x_tile + 4 * n
                weight = c.weight + 4 * n
                acc = zeros(shape)
                if inside:
                    for _ in range(c.kernel_rows):
                        window = load_window(shape, x, c.stride_row * c.x_row, c.x_col)
                        acc = slide_fma(shape, acc, window, load_taps(shape, weight, c.weight_col))
                        x += c.dilation_row * c.x_row
                        weight += c.weight_row
                else:
                    for r in range(c.kernel_rows):
                        first = x_row + r * c.dilation_row
                        if first + window_rows > 0 and first < c.height:
                            window = load_window_clipped(
                                shape, x, c.stride_row * c.x_row, c.x_col, first, c.stride_row, c.height, x_col, 1, c.width, c.blank
                            )
                            acc = slide_fma(shape, acc, window, load_taps(shape, weight, c.weight_col))
                        x += c.dilation_row * c.x_row
                        weight += c.weight_row
                bias = load_row(shape, c.bias + n * c.bias_channel, shape.lanes * c.bias_channel)
                finish(shape, acc, bias, c, 4 * shape.lanes, residual + 4 * n, out + 4 * n)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if problem.multiplier != 1:
        return f"multiplier {problem.multiplier}"
    if problem.channels < MIN_LANES:
        return f"{problem.channels} channels, fewer than {MIN_LANES}"
    if problem.kernel[1] > MAX_TAPS:
        return f"{problem.kernel[1]} filter columns, more than {MAX_TAPS}"
    if problem.dilation[1] != 1:
        return f"column dilation {problem.dilation[1]}"
    if problem.stride[1] > MAX_STRIDE:
        return f"column stride {problem.stride[1]}, more than {MAX_STRIDE}"
    return None


# rows, columns and vectors of the tiles, the most useful first: a network should compile few of them
TILES = (
    *((2, 4, 2), (2, 2, 4), (1, 7, 2)),
    *((4, 4, 1), (2, 4, 1), (2, 7, 1), (1, 7, 1), (1, 4, 1), (2, 2, 1), (1, 1, 1)),
    *((4, 2, 2), (1, 4, 2), (2, 2, 2), (1, 2, 2), (1, 1, 2)),
    *((1, 4, 4), (1, 2, 4), (1, 1, 4)),
)
TOLERANCE = 1.1  # the first tile within this of the least cost is taken


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Every tile whose machine code does not spill."""
    lanes = lanes_for(problem.channels, machine)
    for rows, cols, vecs in TILES:
        fits = rows <= problem.out_height and cols <= problem.out_width and vecs * lanes <= problem.channels
        if fits and rows * cols * vecs <= most_accumulators(machine, problem.kernel[1], problem.stride[1], rows, vecs):
            yield TileShape(rows, cols, vecs, lanes, problem.kernel[1], problem.stride[1])


def most_accumulators(machine: Machine, taps: int, stride: int, rows: int, vecs: int, expand: int = 1) -> int:
    """Vectors of outputs that leave room for a window and its taps, as the compiled loops show.

    Wide windows need more room, and so do four window rows at once. Where a multiply-add cannot read memory, all of the
    window and the taps pass through registers. Where channels are repeated the window does, and so do the orders of lanes.
    """
    is_wide = taps > 5 or (taps > 3 and (stride > 1 or rows > 2))
    if is_wide or not machine.is_fused or (not machine.is_memory_operand and vecs > 1):
        return machine.registers // 4
    return machine.registers * 3 // 8 if expand > 1 else machine.registers // 2


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    for rows in sorted({shape.rows, 2 * shape.rows, 4 * shape.rows, problem.out_height}):
        for channels in sorted({min(problem.out_channels, blocks * shape.width) for blocks in (1, 2, 4, 8)} | {problem.out_channels}):
            if rows <= problem.out_height:
                yield Blocking(rows, channels)


def cost(problem: Problem, shape: TileShape) -> float:
    """Estimated cycles: for each tile the FMA or load units, whichever is busier, the epilogue, edges and a fixed share."""
    taps_high, taps_wide = problem.kernel
    window_rows = (shape.rows - 1) * problem.stride[0] + taps_high
    window_cols = (shape.cols - 1) * shape.stride + taps_wide
    outputs = shape.pixels * shape.vecs
    loads = taps_high * shape.vecs * (shape.rows * window_cols + taps_wide)
    fresh = window_rows * shape.cols * shape.stride * shape.vecs  # vectors that earlier tiles of the row have not brought to L1
    tile_rows, tile_cols = -(-problem.out_height // shape.rows), -(-problem.out_width // shape.cols)
    inner = max(0, tile_rows - 2) * max(0, tile_cols - 2) / (tile_rows * tile_cols)
    edge = (1 - inner) * taps_high * shape.rows * window_cols
    busy = max(outputs * taps_high * taps_wide, loads) / 2
    tiles = tile_rows * tile_cols * -(-problem.out_channels // shape.width)
    return tiles * (busy + 1.5 * outputs + 0.4 * fresh + 0.5 * edge + 25)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    return choose_from(shapes(problem, machine), problem, machine, threads)


def choose_from(shapes: Iterator[TileShape], problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    costs = {shape: cost(problem, shape) for shape in shapes}
    shape = next(shape for shape in costs if costs[shape] <= TOLERANCE * min(costs.values()))
    rows = problem.out_height if threads == 1 else max(shape.rows, problem.out_height // (4 * threads))
    pixels = problem.kernel[0] * (problem.width + problem.kernel[1] - 1)  # the rows under one row of tiles stay in L1
    fitting = (machine.l1_bytes or 32 << 10) * 3 // 4 // (4 * pixels)
    channels = max(8 * shape.lanes, 1 << fitting.bit_length() - 1 if fitting else 1)
    return shape, Blocking(rows, min(problem.out_channels, channels))


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p, shape = plan.problem, plan.shape
    row_blocks = count_blocks(p.out_height, shape.rows, plan.blocking.rows)
    channel_blocks = count_blocks(p.channels, shape.width, plan.blocking.channels)
    fields = epilogue_fields(plan, layout) | {
        "blank": BLANK_ADDRESS,
        "height": p.height,
        "width": p.width,
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
    fused_multiply_adds=lambda shape: shape.pixels * shape.vecs * shape.taps,
)
