"""Pointwise (1x1) convolution: a matrix product of pixels x depth by depth x columns.

A tile holds `pixels` rows of one panel of columns and adds one rank-1 update for each input channel:

              panel   | w[k][n ... n + width] |
    x[p][k]  * ------ | acc[p][n ... ]        |   for k = 0, 1, ... depth - 1

The depth is never split, so the order of the sum does not depend on the blocking. A pixel count that the tile does not
divide steps back inside its task; the last panel steps back inside the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fastdw.jit import Task
from fastdw.kernels.blocks import TASKS_A_THREAD, block_start, count_blocks
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.panels import PANEL_FIELDS, best_panel_shape, extents_up_to, panel_blockings, panel_fields, panel_shapes
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.packing import Panels
from fastdw.problem import POINTWISE, Problem
from fastdw.tile import Context, TileShape, load_row, outer_fma, outer_fma_deep, prefetch, view, zeros

# What the task brings into the cache for whoever comes after it: an address, bytes from task to task, bytes a turn. Zero: nothing.
AHEAD = ("ahead", "ahead_task", "ahead_step")
CONTEXT = Context(*EPILOGUE, *PANEL_FIELDS, "rows", "cols", "depth", "x_image", "x_row", "x_col", "col_blocks", *AHEAD)


@Task
def pointwise(shape, context, index):
    c = view(CONTEXT, context)
    outer = index // (c.col_blocks * c.panel_blocks)
    col_block = index // c.panel_blocks % c.col_blocks
    panel_block = index % c.panel_blocks
    image = outer // c.rows
    row = outer % c.rows
    x_row = c.x + image * c.x_image + row * c.x_row
    out_row = c.out + image * c.out_image + row * c.out_row
    residual_row = c.residual + image * c.residual_image + row * c.residual_row
    ahead = c.ahead + index * c.ahead_task if c.ahead != 0 else x_row
    begin = block_start(col_block, c.col_blocks, c.cols, shape.pixels)
    end = block_start(col_block + 1, c.col_blocks, c.cols, shape.pixels)
    for panel in range(c.panels * panel_block // c.panel_blocks, c.panels * (panel_block + 1) // c.panel_blocks):
        n = min(panel * shape.width, c.last_panel)
        panel_weight = c.weight + panel * c.weight_panel + n * c.weight_channel
        for tile in range(begin, end, shape.pixels):
            col = min(tile, end - shape.pixels)
            x = x_row + col * c.x_col
            weight = panel_weight
            acc = zeros(shape)
            for _ in range(c.depth // shape.depth):
                acc = outer_fma_deep(shape, acc, x, c.x_col, weight, c.weight_depth, c.weight_last)
                prefetch(ahead)
                ahead += c.ahead_step
                x += 4 * shape.depth
                weight += shape.depth * c.weight_depth
            for _ in range(c.depth % shape.depth):
                acc = outer_fma(acc, x, c.x_col, load_row(shape, weight, c.weight_last))
                x += 4
                weight += c.weight_depth
            finish(
                shape,
                acc,
                load_row(shape, c.bias + n * c.bias_channel, c.out_last),
                c,
                c.out_last,
                residual_row + col * c.residual_col + 4 * n,
                out_row + col * c.out_col + 4 * n,
            )


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    return panel_shapes(extents_up_to(problem.width), problem.out_channels, machine)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    return panel_blockings(problem.width, shape.pixels, problem.out_channels, shape)


TASK_X_BYTES = 64 << 10  # of x in one task, about: the more it computes, the less its start costs
TASK_PIXELS = 96  # at least: a panel of the weight is read once for so many pixels


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    shape = best_panel_shape([problem.width], shapes(problem, machine))
    pixels = max(TASK_PIXELS, TASK_X_BYTES // (4 * problem.channels))
    if threads == 1:
        return shape, Blocking(pixels, problem.out_channels)
    runs = problem.batch * problem.height
    blocks = -(-problem.width // pixels)
    while runs * blocks % threads and blocks < problem.width // shape.pixels:  # the same number for every thread
        blocks += 1
    columns = max(1, TASKS_A_THREAD * threads // (runs * blocks))  # where pixels are few, panels are shared out too
    return shape, Blocking(-(-problem.width // blocks), -(-problem.out_channels // columns))


def choose_rows(problem: Problem, rows: list[int], dense: bool, machine: Machine) -> tuple[TileShape, Blocking]:
    """For some rows of the image at a time, which are one run of pixels where they are dense."""
    extents = [problem.width * count for count in rows] if dense else [problem.width]
    shape = best_panel_shape(extents, shapes(replace(problem, width=min(extents)), machine))
    return shape, Blocking(max(TASK_PIXELS, TASK_X_BYTES // (4 * problem.channels)), problem.out_channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p, shape = plan.problem, plan.shape
    fields = epilogue_fields(plan, layout) | panel_fields(p.out_channels, shape, layout, plan.blocking.channels)
    fields |= {
        "rows": p.height,
        "cols": p.width,
        "depth": p.channels,
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "col_blocks": count_blocks(p.width, shape.pixels, plan.blocking.rows),
        **dict.fromkeys(AHEAD, 0),
    }
    return fields, p.batch * p.height * fields["col_blocks"] * fields["panel_blocks"]


def looks_ahead(plan: Plan, tasks: int) -> tuple[int, int]:
    p, shape = plan.problem, plan.shape
    panels = Panels(p.out_channels, shape.vecs, shape.lanes).count
    tiles = p.batch * p.height * (p.width // shape.pixels)
    if tiles == 1:  # limited by memory itself
        return 0, 0
    return CONTEXT.fields.index(AHEAD[0]), panels * tiles * (p.channels // shape.depth) // tasks


SPEC = KernelSpec(
    name="pointwise",
    kind=POINTWISE,
    task=pointwise,
    context=CONTEXT,
    refuses=lambda problem, machine: None,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: (shape.pixels * shape.vecs,),
    looks_ahead=looks_ahead,
)
