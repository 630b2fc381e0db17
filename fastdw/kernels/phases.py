"""Dilation without cost: outputs that read the same grid of rows and columns are a convolution of their own, without dilation.

Output j reads j*stride + q*dilation - padding for q = 0, 1, .... With g = gcd(stride, dilation), outputs j, j + dilation/g,
j + 2*dilation/g, ... read one grid, dilation apart, with a stride of stride/g on it. Phase f holds the outputs from j = f on;
without dilation there is one.
"""

from __future__ import annotations

import math

from fastdw.jit import Inlined
from fastdw.kernels.blocks import TASKS_A_THREAD, block_start, count_blocks
from fastdw.kernels.epilogue import epilogue_fields
from fastdw.kernels.spec import Blocking, Layout, Plan
from fastdw.packing import BLANK_ADDRESS
from fastdw.problem import Problem
from fastdw.tile import TileShape

PHASES = (
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
    "stride_col",
    "dilation_row",
    "dilation_col",
    "x_image",
    "x_row",
    "x_col",
    "weight_row",
    "weight_col",
    "row_phases",
    "col_phases",
    "grid_stride_row",  # rows of the grid from one output row of a phase to the next
    "grid_stride_col",
    "grid_row",  # bytes of x from one row of the grid to the next
    "grid_col",
    "out_line",  # bytes from one row of the output to the next; out_row goes to the next of the same phase
    "out_pixel",
    "residual_line",
    "residual_pixel",
)
BLOCKS = ("row_blocks", "channel_blocks")


@Inlined
def grid_before(start, step):
    """How many rows of the grid start, start + step, ... lie before row 0."""
    if step == 1:  # without a division
        return max(0, -start)
    return 0 if start >= 0 else (step - 1 - start) // step


@Inlined
def phase_outputs(outputs, phase, phases):
    """How many rows or columns of outputs a phase has."""
    return outputs if phases == 1 else (outputs - phase + phases - 1) // phases


@Inlined
def phase_addresses(c, image, row_phase, col_phase):
    """Where the grid of a phase begins in x, perhaps before the image, and its first output and residual."""
    row, col = row_phase * c.stride_row - c.top, col_phase * c.stride_col - c.left
    x = c.x + image * c.x_image + row * c.x_row + col * c.x_col
    out = c.out + image * c.out_image + row_phase * c.out_line + col_phase * c.out_pixel
    residual = c.residual + image * c.residual_image + row_phase * c.residual_line + col_phase * c.residual_pixel
    return x, out, residual


@Inlined
def grid_inside(start, extent, step):
    """Of the rows start, start + step, ... of a grid the first that lies in an image of so many rows, and the first after it."""
    return grid_before(start, step), grid_before(start - extent, step)


@Inlined
def task_block(shape, c, index):
    """What a task computes: its image, its phase of rows, of that the rows from begin to end, and the channels from begin to end."""
    channel_block = index % c.channel_blocks
    index //= c.channel_blocks
    row_block = index % c.row_blocks
    index //= c.row_blocks
    row_phase = index % c.row_phases
    rows = phase_outputs(c.rows, row_phase, c.row_phases)
    row_begin = block_start(row_block, c.row_blocks, rows, shape.rows)
    row_end = block_start(row_block + 1, c.row_blocks, rows, shape.rows)
    begin = block_start(channel_block, c.channel_blocks, c.channels, shape.width)
    end = block_start(channel_block + 1, c.channel_blocks, c.channels, shape.width)
    return index // c.row_phases, row_phase, row_begin, row_end, begin, end


def phases(problem: Problem, axis: int) -> int:
    """Of rows (axis 0) or columns (axis 1); none is empty."""
    stride, dilation = problem.stride[axis], problem.dilation[axis]
    return min(dilation // math.gcd(stride, dilation), _outputs(problem, axis))


def grid_stride(problem: Problem, axis: int) -> int:
    return problem.stride[axis] // math.gcd(problem.stride[axis], problem.dilation[axis])


def least_outputs(problem: Problem, axis: int) -> int:
    """Output rows or columns of the phase with the fewest."""
    return _outputs(problem, axis) // phases(problem, axis)


def most_outputs(problem: Problem, axis: int) -> int:
    return -(-_outputs(problem, axis) // phases(problem, axis))


def mean_tiles(problem: Problem, axis: int, extent: int) -> float:
    """Tiles of that extent which cover the outputs of a phase, on the average of the phases."""
    count = phases(problem, axis)
    longer = _outputs(problem, axis) % count
    least, most = (-(-outputs(problem, axis) // extent) for outputs in (least_outputs, most_outputs))
    return (longer * most + (count - longer) * least) / count


def _outputs(problem: Problem, axis: int) -> int:
    return (problem.out_height, problem.out_width)[axis]


def phase_fields(plan: Plan, layout: Layout) -> dict[str, int]:
    """Of PHASES and EPILOGUE."""
    p, fields = plan.problem, epilogue_fields(plan, layout)
    row_phases, col_phases = phases(p, 0), phases(p, 1)
    return fields | {
        "blank": BLANK_ADDRESS,
        "height": p.height,
        "width": p.width,
        "rows": p.out_height,
        "cols": p.out_width,
        "channels": p.out_channels,
        "top": p.padding[0][0],
        "left": p.padding[1][0],
        "kernel_rows": p.kernel[0],
        "stride_row": p.stride[0],
        "stride_col": p.stride[1],
        "dilation_row": p.dilation[0],
        "dilation_col": p.dilation[1],
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "weight_row": layout.weight[0],
        "weight_col": layout.weight[1],
        "row_phases": row_phases,
        "col_phases": col_phases,
        "grid_stride_row": grid_stride(p, 0),
        "grid_stride_col": grid_stride(p, 1),
        "grid_row": p.dilation[0] * layout.x[1],
        "grid_col": p.dilation[1] * layout.x[2],
        "out_line": fields["out_row"],
        "out_pixel": fields["out_col"],
        "residual_line": fields["residual_row"],
        "residual_pixel": fields["residual_col"],
        "out_row": fields["out_row"] * row_phases,
        "out_col": fields["out_col"] * col_phases,
        "residual_row": fields["residual_row"] * row_phases,
        "residual_col": fields["residual_col"] * col_phases,
    }


def default_blocking(problem: Problem, shape: TileShape, threads: int, channels: int) -> Blocking:
    """All rows of a phase, or enough blocks of them for every thread; at most so many channels. Pixels are best written whole: blocks of
    channels leave gaps in rows of the output, which memory fills slowly."""
    rows = most_outputs(problem, 0)
    if threads > 1:
        rows = max(shape.rows, rows // max(1, TASKS_A_THREAD * threads // phases(problem, 0)))
    return Blocking(rows, min(channels, problem.out_channels))


def bind_blocks(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    """Of BLOCKS, PHASES and EPILOGUE, and how many tasks there are."""
    p, shape = plan.problem, plan.shape
    row_blocks = count_blocks(least_outputs(p, 0), shape.rows, plan.blocking.rows)
    channel_blocks = count_blocks(p.out_channels, shape.width, plan.blocking.channels)
    fields = phase_fields(plan, layout) | {"row_blocks": row_blocks, "channel_blocks": channel_blocks}
    return fields, p.batch * phases(p, 0) * row_blocks * channel_blocks
