"""The mean over an image: rows, then columns, ascending, one vector of channels at a time; then one division."""

from __future__ import annotations

from collections.abc import Iterator

from fastdw.jit import Task
from fastdw.kernels.blocks import block_start, count_blocks
from fastdw.kernels.spec import Blocking, KernelSpec, Layout, Plan, lanes_for
from fastdw.machine import Machine
from fastdw.problem import POOL, Problem
from fastdw.tile import Context, TileShape, add, divide, load_row, store, view, zeros

CONTEXT = Context("height", "width", "channels", "x_image", "x_row", "x_col", "out_image", "channel_blocks")


@Task
def pool(shape, context, index):
    c = view(CONTEXT, context)
    image = index // c.channel_blocks
    channel_block = index % c.channel_blocks
    end = block_start(channel_block + 1, c.channel_blocks, c.channels, shape.width)
    for tile in range(block_start(channel_block, c.channel_blocks, c.channels, shape.width), end, shape.width):
        n = min(tile, end - shape.width)
        acc = zeros(shape)
        for row in range(c.height):
            x = c.x + image * c.x_image + row * c.x_row + 4 * n
            for _ in range(c.width):
                acc = add(acc, load_row(shape, x, shape.last_vec))
                x += c.x_col
        store(divide(acc, c.height * c.width), c.out + image * c.out_image + 4 * n, 0, 0, shape.last_vec)


def shapes(problem: Problem, machine: Machine) -> Iterator[TileShape]:
    lanes = lanes_for(problem.channels, machine)
    for vecs in (8, 4, 2, 1):
        if vecs * lanes <= problem.channels:
            yield TileShape(1, 1, vecs, lanes)


def blockings(problem: Problem, shape: TileShape) -> Iterator[Blocking]:
    for channels in sorted({shape.width, problem.channels}):
        yield Blocking(problem.height, channels)


def choose(problem: Problem, machine: Machine, threads: int) -> tuple[TileShape, Blocking]:
    return next(shapes(problem, machine)), Blocking(problem.height, -(-problem.channels // threads))


def bind(plan: Plan, layout: Layout) -> tuple[dict[str, int], int]:
    p = plan.problem
    channel_blocks = count_blocks(p.channels, plan.shape.width, plan.blocking.channels)
    fields = {
        "height": p.height,
        "width": p.width,
        "channels": p.channels,
        "x_image": layout.x[0],
        "x_row": layout.x[1],
        "x_col": layout.x[2],
        "out_image": layout.out[0],
        "channel_blocks": channel_blocks,
    }
    return fields, p.batch * channel_blocks


SPEC = KernelSpec(
    name="pool",
    kind=POOL,
    task=pool,
    context=CONTEXT,
    refuses=lambda problem, machine: None,
    shapes=shapes,
    blockings=blockings,
    choose=choose,
    bind=bind,
    fused_multiply_adds=lambda shape: (),
)
