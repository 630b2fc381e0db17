"""Regular convolution on panels of columns: the pointwise tile, fed from the pixels under each filter tap.

A tile holds `pixels` neighbouring outputs of one row. Where the tile lies inside the image and pixels follow each other
without a gap, one filter row is a single run of kernel_w * channels inputs; elsewhere it is taken tap by tap, and a
tap that falls outside the image for some of the pixels reads zeros for these through a pointer select. Where taps have few
channels and the image few columns, that select would be most of the work: a task copies its rows of the image into a strip on
its stack first, with zeros at both ends, and all tiles lie inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastdw.jit import Inlined, Task
from fastdw.kernels.blocks import TASKS_A_THREAD, block_start, count_blocks, largest_block, shared_extent
from fastdw.kernels.epilogue import EPILOGUE, epilogue_fields, finish
from fastdw.kernels.panels import PANEL_FIELDS, best_panel_shape, extents_up_to, panel_blockings, panel_fields, panel_shapes
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan
from fastdw.machine import Machine
from fastdw.packing import BLANK_ADDRESS
from fastdw.problem import CONV, Problem, span
from fastdw.tile import (
    SCRATCH_BYTES,
    Context,
    TileShape,
    load_row,
    outer_fma,
    outer_fma_clipped,
    outer_fma_deep,
    scratch,
    store,
    view,
    zeros,
)

MAX_PIXELS = 7
FLOAT, QUAD = TileShape(1, 1, 1, 1), TileShape(1, 1, 1, 4)
FEW_CHANNELS, FEW_TILES = 8, 5  # where strips pay: the channels of a tap, and the tiles in a row

CONTEXT = Context(
    *EPILOGUE,
    *PANEL_FIELDS,
    "blank",
    "height",
    "width",
    "rows",  # of the output
    "cols",
    "top",
    "left",
    "kernel_rows",
    "kernel_cols",
    "stride_row",
    "stride_col",
    "dilation_row",
    "dilation_col",
    "depth",  # input channels
    "runs",  # runs of inputs that make up one filter row inside the image: 1, or one a tap
    "run_length",
    "x_image",
    "x_row",
    "x_col",
    "row_blocks",
    "strip_cols",  # of the rows with zeros at both ends; 0 where the image is read in place
)


@Inlined
def copy_strip(strip, c, x_image, row_begin, row_end):
    """The rows of the image under output rows, copied into the strip; where row 0 of the image would lie."""
    length, left, width = c.strip_cols * c.depth, c.left * c.depth, c.width * c.depth
    first = max(0, row_begin * c.stride_row - c.top)
    end = min(c.height, (row_end - 1) * c.stride_row - c.top + (c.kernel_rows - 1) * c.dilation_row + 1)
    blank = zeros(QUAD)
    for at in range(0, (end - first) * length, 4):
        store(blank, strip + 4 * at, 0, 0, 0)
    for row in range(first, end):
        source, to = x_image + row * c.x_row, strip + 4 * ((row - first) * length + left)
        if width < 4:
            for at in range(width):
                store(load_row(FLOAT, source + 4 * at, 0), to + 4 * at, 0, 0, 0)
        else:
            for quad in range(0, width, 4):
                at = 4 * min(quad, width - 4)
                store(load_row(QUAD, source + at, 0), to + at, 0, 0, 0)
    return strip - 4 * first * length


@Task
def conv(shape, context, index):
    c = view(CONTEXT, context)
    image = index // (c.row_blocks * c.panel_blocks)
    row_block = index // c.panel_blocks % c.row_blocks
    panel_block = index % c.panel_blocks
    x_image = c.x + image * c.x_image
    out_image = c.out + image * c.out_image
    residual_image = c.residual + image * c.residual_image
    row_begin = block_start(row_block, c.row_blocks, c.rows, shape.rows)
    row_end = block_start(row_block + 1, c.row_blocks, c.rows, shape.rows)
    x_col, x_row_step, left, width = c.x_col, c.x_row, c.left, c.width
    if c.strip_cols > 0:
        x_col, left, width = 4 * c.depth, 0, c.strip_cols
        x_row_step = x_col * width
        x_image = copy_strip(scratch(shape), c, x_image, row_begin, row_end)
    pixel_step = c.stride_col * x_col
    last_tap = (shape.pixels - 1) * c.stride_col + (c.kernel_cols - 1) * c.dilation_col
    for panel in range(c.panels * panel_block // c.panel_blocks, c.panels * (panel_block + 1) // c.panel_blocks):
        n = min(panel * shape.width, c.last_panel)
        panel_weight = c.weight + panel * c.weight_panel + n * c.weight_channel
        for row in range(row_begin, row_end):
            first_row = row * c.stride_row - c.top
            for tile in range(0, c.cols, shape.pixels):
                col = min(tile, c.cols - shape.pixels)
                first_col = col * c.stride_col - left
                inside = first_col >= 0 and first_col + last_tap < width
                weight = panel_weight
                acc = zeros(shape)
                for r in range(c.kernel_rows):
                    x_row = first_row + r * c.dilation_row
                    if x_row < 0 or x_row >= c.height:
                        weight += c.kernel_cols * c.depth * c.weight_depth
                    elif inside:
                        for run in range(c.runs):
                            x = x_image + x_row * x_row_step + (first_col + run * c.dilation_col) * x_col
                            for _ in range(c.run_length // shape.depth):
                                acc = outer_fma_deep(shape, acc, x, pixel_step, weight, c.weight_depth, c.weight_last)
                                x += 4 * shape.depth
                                weight += shape.depth * c.weight_depth
                            for _ in range(c.run_length % shape.depth):
                                acc = outer_fma(acc, x, pixel_step, load_row(shape, weight, c.weight_last))
                                x += 4
                                weight += c.weight_depth
                    else:
                        for s in range(c.kernel_cols):
                            at = first_col + s * c.dilation_col
                            x = x_image + x_row * x_row_step + at * x_col
                            for _ in range(c.depth):
                                acc = outer_fma_clipped(
                                    acc, x, pixel_step, load_row(shape, weight, c.weight_last), at, c.stride_col, width, c.blank
                                )
                                x += 4
                                weight += c.weight_depth
                residual = residual_image + row * c.residual_row + col * c.residual_col + 4 * n
                finish(
                    shape,
                    acc,
                    load_row(shape, c.bias + n * c.bias_channel, c.out_last),
                    c,
                    c.out_last,
                    residual,
                    out_image + row * c.out_row + col * c.out_col + 4 * n,
                )


def strip_cols(problem: Problem, shape: TileShape) -> int:
    """The columns of a strip; 0 where the image is read in place."""
    left, right = problem.padding[1]
    tiles = -(-problem.out_width // shape.pixels)
    if problem.channels > FEW_CHANNELS or tiles > FEW_TILES or left == right == 0:
        return 0
    return max(left + problem.width, (problem.out_width - 1) * problem.stride[1] + span(problem.kernel[1], problem.dilation[1]))


def strip_fits(problem: Problem, shape: TileShape, rows: int) -> bool:
    """Whether the strip under so many rows of outputs fits the stack."""
    strip_rows = (rows - 1) * problem.stride[0] + span(problem.kernel[0], problem.dilation[0])
    return 4 * min(problem.height, strip_rows) * strip_cols(problem, shape) * problem.channels <= SCRATCH_BYTES - 16


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    """Smaller than those of pointwise: more accumulators spill in the loops over clipped pixels. A narrow image is one tile wide."""
    widest = min(problem.out_width, MAX_PIXELS)
    most = 16 if machine.is_lane_operand else 14 if machine.registers == 32 else 8
    for shape in panel_shapes({*extents_up_to(widest), widest}, problem.out_channels, machine):
        if shape.pixels * shape.vecs <= most:
            yield shape


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    return panel_blockings(problem.out_height, 1, problem.out_channels, shape)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    shape = best_panel_shape([problem.out_width], shapes(problem, machine))
    rows = shared_extent(problem.out_height, 1, threads, TASKS_A_THREAD * threads) if threads > 1 else problem.out_height
    most = rows if strip_cols(problem, shape) and strip_fits(problem, shape, rows) else 8
    return shape, Blocking(min(rows, most), problem.out_channels)


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p, shape = plan.problem, plan.shape
    is_dense = layout.x[2] == 4 * p.channels
    one_run = is_dense and p.dilation[1] == 1
    row_blocks = count_blocks(p.out_height, 1, plan.blocking.rows)
    is_copied = is_dense and strip_fits(p, shape, largest_block(p.out_height, row_blocks, 1))
    fields = epilogue_fields(plan, layout) | panel_fields(p.out_channels, shape, layout, plan.blocking.channels)
    fields |= {
        "blank": BLANK_ADDRESS,
        "height": p.height,
        "width": p.width,
        "rows": p.out_height,
        "cols": p.out_width,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "kernel_cols": p.kernel[1],
        "stride_row": p.stride[0],
        "stride_col": p.stride[1],
        "dilation_row": p.dilation[0],
        "dilation_col": p.dilation[1],
        "depth": p.channels,
        "runs": 1 if one_run else p.kernel[1],
        "run_length": p.kernel[1] * p.channels if one_run else p.channels,
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "row_blocks": row_blocks,
        "strip_cols": strip_cols(p, shape) if is_copied else 0,
    }
    return fields, p.batch * row_blocks * fields["panel_blocks"]


SPEC = KernelSpec(
    name="conv",
    kind=CONV,
    task=conv,
    context=CONTEXT,
    refuses=lambda problem, machine: None,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: (shape.pixels * shape.vecs,),
)
