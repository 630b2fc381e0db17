"""Depthwise convolution of any kind: what depthwise.py does, with dilated columns, wide filters, large strides and multipliers.

A tile of rows x cols output pixels holds vecs vectors of channels each. For each filter row it loads the window of input
pixels under the tile and slides the filter row along it:

    window   x[row*stride + r*dilation - top ...][col*stride - left ... + (cols - 1)*stride + taps][n ... n + width]
    taps     weight[r][0 ... taps][n ... n + width]

With column dilation d, stride s and g = gcd(d, s), a tile holds neighbours of one phase: the outputs j, j + d/g, j + 2*d/g, ...
read one grid of columns, d apart, with a stride of s/g on it. Filters wider than a tile takes at once go in chunks of columns
and a rest. With a multiplier each channel is repeated on loading, so that outputs c*m ... c*m + m-1 read channel c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels import depthwise
from fastdw.kernels.blocks import block_start, count_blocks
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan, lanes_for
from fastdw.machine import Machine
from fastdw.packing import BLANK_ADDRESS
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, last_taps, load_row, load_taps, load_window, load_window_clipped, slide_fma, view, zeros

MAX_STRIDE = 4  # between the columns of a tile; with larger ones a tile has one column
MAX_UNIT = 6

CONTEXT = Context(
    *EPILOGUE,
    "blank",  # the address of zeros
    "height",
    "width",
    "rows",  # of the output
    "cols",
    "channels",  # of the output
    "multiplier",
    "block_channels",
    "top",
    "left",
    "kernel_rows",
    "kernel_cols",
    "whole_taps",  # filter columns before the rest
    "stride_row",
    "stride_col",
    "dilation_row",
    "dilation_col",
    "phases",  # outputs that far apart read columns dilation_col apart, with the stride of the tile
    "x_image",
    "x_row",
    "x_col",
    "weight_row",
    "weight_col",
    "out_pixel",  # from one column to the next; out_col goes to the next of the same phase
    "residual_pixel",
    "row_blocks",
    "channel_blocks",
)


@Task
def depthwise_any(shape, context, index):
    c = view(CONTEXT, context)
    rest = last_taps(shape)
    whole_taps = c.whole_taps if shape.rest > 0 else shape.taps  # known to the compiler where one chunk is all
    row_step, col_step = c.stride_row * c.x_row, c.dilation_col * c.x_col
    image = index // (c.row_blocks * c.channel_blocks)
    row_block = index // c.channel_blocks % c.row_blocks
    channel_block = index % c.channel_blocks
    x_image = c.x + image * c.x_image
    out_image = c.out + image * c.out_image
    residual_image = c.residual + image * c.residual_image
    row_end = block_start(row_block + 1, c.row_blocks, c.rows, shape.rows)
    begin = channel_block * c.block_channels
    end = c.channels if channel_block == c.channel_blocks - 1 else begin + c.block_channels
    window_rows = (shape.rows - 1) * c.stride_row + 1
    window_cols = ((shape.cols - 1) * shape.stride + c.kernel_cols - 1) * c.dilation_col + 1
    for tile_row in range(block_start(row_block, c.row_blocks, c.rows, shape.rows), row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        x_row = row * c.stride_row - c.top
        rows_inside = x_row >= 0 and x_row + (c.kernel_rows - 1) * c.dilation_row + window_rows <= c.height
        for phase in range(c.phases):
            phase_cols = (c.cols - phase + c.phases - 1) // c.phases
            for tile_col in range(0, phase_cols, shape.cols):
                tap_col = min(tile_col, phase_cols - shape.cols)
                col = phase + tap_col * c.phases
                x_col = col * c.stride_col - c.left
                inside = rows_inside and x_col >= 0 and x_col + window_cols <= c.width
                x_tile = x_image + x_row * c.x_row + x_col * c.x_col
                out = out_image + row * c.out_row + col * c.out_pixel
                residual = residual_image + row * c.residual_row + col * c.residual_pixel
                for tile_n in range(begin, end, shape.width):
                    n = min(tile_n, end - shape.width)
                    x = x_tile + 4 * (n // shape.expand if shape.expand > 0 else n // c.multiplier)
                    weight = c.weight + 4 * n
                    acc = zeros(shape)
                    if inside:
                        for _ in range(c.kernel_rows):
                            for q in range(0, whole_taps, shape.taps):
                                window = load_window(shape, x + q * col_step, row_step, col_step)
                                acc = slide_fma(shape, acc, window, load_taps(shape, weight + q * c.weight_col, c.weight_col))
                            window = load_window(rest, x + whole_taps * col_step, row_step, col_step)
                            acc = slide_fma(rest, acc, window, load_taps(rest, weight + whole_taps * c.weight_col, c.weight_col))
                            x += c.dilation_row * c.x_row
                            weight += c.weight_row
                    else:
                        for r in range(c.kernel_rows):
                            first = x_row + r * c.dilation_row
                            if first + window_rows > 0 and first < c.height:
                                for q in range(0, whole_taps, shape.taps):
                                    window = load_window_clipped(
                                        shape, x + q * col_step, row_step, col_step,
                                        first, c.stride_row, c.height, x_col + q * c.dilation_col, c.dilation_col, c.width, c.blank,
                                    )  # fmt: skip
                                    acc = slide_fma(shape, acc, window, load_taps(shape, weight + q * c.weight_col, c.weight_col))
                                window = load_window_clipped(
                                    rest, x + whole_taps * col_step, row_step, col_step,
                                    first, c.stride_row, c.height, x_col + whole_taps * c.dilation_col, c.dilation_col, c.width, c.blank,
                                )  # fmt: skip
                                acc = slide_fma(rest, acc, window, load_taps(rest, weight + whole_taps * c.weight_col, c.weight_col))
                            x += c.dilation_row * c.x_row
                            weight += c.weight_row
                    bias = load_row(shape, c.bias + n * c.bias_channel, shape.lanes * c.bias_channel)
                    finish(shape, acc, bias, c, 4 * shape.lanes, residual + 4 * n, out + 4 * n)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if problem.out_channels < depthwise.MIN_LANES:
        return f"{problem.out_channels} output channels, fewer than {depthwise.MIN_LANES}"
    if depthwise.refuses(problem, machine) is None:
        return "depthwise serves it"
    return None


def chunk_taps(taps: int) -> int:
    """Filter columns that a tile takes at once: all of a narrow filter, else the chunk that leaves the fewest over."""
    if taps <= depthwise.MAX_TAPS:
        return taps
    return min(range(depthwise.MAX_TAPS, 3, -1), key=lambda chunk: taps % chunk)


def rest_taps(taps: int) -> int:
    """Filter columns after the whole chunks, at least one; 0 where one chunk is all of the filter."""
    chunk = chunk_taps(taps)
    return 0 if chunk == taps else (taps - 1) % chunk + 1


def tile_stride(problem: Problem) -> int:
    """Input columns, dilation apart, from one output of a phase to the next."""
    return problem.stride[1] // math.gcd(problem.stride[1], problem.dilation[1])


def count_phases(problem: Problem) -> int:
    """Output j reads columns j*stride + q*dilation: outputs dilation / gcd(stride, dilation) apart read the same grid of columns."""
    return problem.dilation[1] // math.gcd(problem.stride[1], problem.dilation[1])


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Every tile whose machine code does not spill."""
    taps, stride = chunk_taps(problem.kernel[1]), tile_stride(problem)
    phase_cols = problem.out_width // count_phases(problem)  # of the phase with the fewest
    if stride > MAX_STRIDE:
        stride, phase_cols = 1, 1
    expand, lanes, unit, most_vecs = expansion(problem, machine)
    for rows, cols, vecs in depthwise.TILES:
        vecs *= unit
        fits = rows <= problem.out_height and cols <= max(1, phase_cols) and vecs <= most_vecs
        if fits and rows * cols * vecs <= depthwise.most_accumulators(machine, taps, stride, rows, vecs, expand):
            yield TileShape(rows, cols, vecs, lanes, taps, stride, rest_taps(problem.kernel[1]), expand)


def expansion(problem: Problem, machine: Machine) -> tuple[int, int, int, int]:
    """How a tile's vectors take their channels, by the multiplier: (expand, lanes, vectors that belong together, most vectors).

    multiplier 1: expand 1, a vector of outputs reads a vector of channels. Else each channel is repeated: `unit` vectors
    of outputs take unit * lanes / multiplier channels, a whole number. Where that takes too many vectors all lanes read one
    channel (expand 0), and a tile stays inside the outputs of that channel.
    """
    multiplier = problem.multiplier
    lanes = lanes_for(problem.out_channels, machine)
    unit = multiplier // math.gcd(multiplier, lanes)
    while unit * lanes > problem.out_channels:
        lanes //= 2
        unit = multiplier // math.gcd(multiplier, lanes)
    if unit <= min(MAX_UNIT, machine.registers // 4) and lanes >= min(multiplier, depthwise.MIN_LANES):
        return multiplier, lanes, unit, problem.out_channels // lanes
    lanes = lanes_for(multiplier, machine)
    return 0, lanes, 1, multiplier // lanes


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    return depthwise.choose_from(shapes(problem, machine), problem, machine, threads)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p, shape = plan.problem, plan.shape
    row_blocks = count_blocks(p.out_height, shape.rows, plan.blocking.rows)
    if shape.expand == 0:
        channel_blocks, block_channels = p.channels, p.multiplier
    else:
        channel_blocks = count_blocks(p.out_channels, shape.width, plan.blocking.channels)
        block_channels = p.out_channels // shape.width // channel_blocks * shape.width
    phases = count_phases(p)
    fields = epilogue_fields(plan, layout)
    fields |= {
        "out_pixel": fields["out_col"],
        "out_col": fields["out_col"] * phases,
        "residual_pixel": fields["residual_col"],
        "residual_col": fields["residual_col"] * phases,
        "blank": BLANK_ADDRESS,
        "height": p.height,
        "width": p.width,
        "rows": p.out_height,
        "cols": p.out_width,
        "channels": p.out_channels,
        "multiplier": p.multiplier,
        "block_channels": block_channels,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "kernel_cols": p.kernel[1],
        "whole_taps": p.kernel[1] - shape.rest,
        "stride_row": p.stride[0],
        "stride_col": p.stride[1],
        "dilation_row": p.dilation[0],
        "dilation_col": p.dilation[1],
        "phases": phases,
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
    name="depthwise_any",
    kind=DEPTHWISE,
    task=depthwise_any,
    context=CONTEXT,
    refuses=refuses,
    shapes=shapes,
    blockings=depthwise.blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: shape.pixels * shape.vecs * shape.taps,
)
