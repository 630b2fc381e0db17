"""Depthwise convolution of one to three channels: vectors run along the row, over pixels and channels alike.

A row of pixels without gaps is one run of width * channels floats, and one filter tap multiplies it by the same few weights
again and again. A tile is rows x (vecs * lanes) outputs, a whole number of pixels:

    x        | r0 g0 b0 r1 g1 b1 r2 ...        one vector of outputs reads one vector of inputs, shifted by whole pixels
    weight   | wr wg wb wr wg wb wr ...

With a stride, every stride-th pixel is gathered from the vectors that hold it. At the ends of a row masked loads read zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels.blocks import TASKS_A_THREAD, block_start, count_blocks
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.spec import MIN_LANES, Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.packing import BLANK_ADDRESS
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import Context, TileShape, load_period, load_run, load_run_clipped, slide_fma, view, zeros

MAX_STRIDE = 4

CONTEXT = Context(
    *EPILOGUE,
    "blank",
    "height",
    "length",  # floats in a row of x
    "rows",  # of the output
    "run",  # floats in a row of the output
    "channels",
    "top",
    "left",
    "kernel_rows",
    "kernel_cols",
    "stride_row",
    "dilation_row",
    "dilation_col",
    "x_image",
    "x_row",
    "weight_row",
    "weight_col",
    "row_blocks",
)


@Task
def depthwise_few(shape, context, index):
    c = view(CONTEXT, context)
    image = index // c.row_blocks
    row_block = index % c.row_blocks
    row_end = block_start(row_block + 1, c.row_blocks, c.rows, shape.rows)
    last_row = (shape.rows - 1) * c.stride_row + (c.kernel_rows - 1) * c.dilation_row
    for tile_row in range(block_start(row_block, c.row_blocks, c.rows, shape.rows), row_end, shape.rows):
        row = min(tile_row, row_end - shape.rows)
        x_row = row * c.stride_row - c.top
        rows_inside = x_row >= 0 and x_row + last_row < c.height
        for tile in range(0, c.run, shape.width):
            first = min(tile, c.run - shape.width)
            position = first * shape.stride - c.left * c.channels
            last = position + shape.width * shape.stride + (c.kernel_cols - 1) * c.dilation_col * c.channels
            inside = rows_inside and position >= 0 and last <= c.length
            acc = zeros(shape)
            for r in range(c.kernel_rows):
                in_row = x_row + r * c.dilation_row
                for q in range(c.kernel_cols):
                    at = position + q * c.dilation_col * c.channels
                    x = c.x + image * c.x_image + in_row * c.x_row + 4 * at
                    taps = load_period(shape, c.weight + r * c.weight_row + q * c.weight_col)
                    if inside:
                        acc = slide_fma(shape, acc, load_run(shape, x, c.stride_row * c.x_row), taps)
                    else:
                        window = load_run_clipped(shape, x, c.stride_row * c.x_row, in_row, c.stride_row, c.height, at, c.length, c.blank)
                        acc = slide_fma(shape, acc, window, taps)
            residual = c.residual + image * c.residual_image + row * c.residual_row + 4 * first
            out = c.out + image * c.out_image + row * c.out_row + 4 * first
            finish(shape, acc, load_period(shape, c.bias), c, shape.last_vec, residual, out)


def refuses(problem: Problem, machine: Machine) -> str | None:
    if problem.multiplier != 1 or problem.channels >= MIN_LANES:
        return f"{problem.channels} channels with multiplier {problem.multiplier}, not fewer than {MIN_LANES} with 1"
    if not problem.dense_pixels:
        return "pixels that do not follow each other without a gap"
    if problem.stride[1] > MAX_STRIDE:
        return f"column stride {problem.stride[1]}, more than {MAX_STRIDE}"
    if problem.out_width * problem.channels < math.lcm(MIN_LANES, problem.channels):
        return f"rows of {problem.out_width * problem.channels} numbers, fewer than {math.lcm(MIN_LANES, problem.channels)}"
    return None


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Vectors that hold whole pixels, the widest that the row fills."""
    run, lanes = problem.out_width * problem.channels, machine.lanes
    while math.lcm(lanes, problem.channels) > run:
        lanes //= 2
    vecs = math.lcm(lanes, problem.channels) // lanes
    most = (machine.registers - 8) // 2 if machine.is_memory_operand else machine.registers // 4
    if problem.stride[1] > 1:
        most = machine.registers // 8  # gathering pixels takes registers
    for rows in (4, 2, 1):
        if rows <= problem.out_height and (rows == 1 or rows * vecs <= most):
            yield TileShape(rows, 1, vecs, lanes, stride=problem.stride[1], period=problem.channels)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    for rows in sorted({shape.rows, 4 * shape.rows, problem.out_height}):
        if rows <= problem.out_height:
            yield Blocking(rows, problem.channels)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    shape = next(shapes(problem, machine))
    rows = problem.out_height if threads == 1 else max(shape.rows, problem.out_height // (TASKS_A_THREAD * threads))
    return shape, Blocking(rows, problem.channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p = plan.problem
    row_blocks = count_blocks(p.out_height, plan.shape.rows, plan.blocking.rows)
    fields = epilogue_fields(plan, layout) | {
        "blank": BLANK_ADDRESS,
        "height": p.height,
        "length": p.width * p.channels,
        "rows": p.out_height,
        "run": p.out_width * p.channels,
        "channels": p.channels,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "kernel_cols": p.kernel[1],
        "stride_row": p.stride[0],
        "dilation_row": p.dilation[0],
        "dilation_col": p.dilation[1],
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "weight_row": layout.weight[0],
        "weight_col": layout.weight[1],
        "row_blocks": row_blocks,
    }
    return fields, p.batch * row_blocks


SPEC = KernelSpec(
    name="depthwise_few",
    kind=DEPTHWISE,
    task=depthwise_few,
    context=CONTEXT,
    refuses=refuses,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: (shape.rows * shape.vecs,),
    rank=-2,  # before rows, which serves few channels too, in narrower vectors
)
