"""A chain of convolutions over strips of rows: what one stage gives stays in cache until the next has read it.

    x -> stage 0 -> rows in scratch -> stage 1 -> rows in scratch -> stage 2 -> out

A task takes a range of output rows, strip by strip. For each strip it works out which rows every stage has to give, moves
those that the strip before has left to the head of their buffer, and runs the stages' own tasks on the others: the same
machine code on other addresses and extents, so the same bits. Only a range's first strip computes rows that another
range has too. Scratch is one slot for each worker: a copy of the stages' records, which are written to, and the buffers
between the stages. The index of a task is that of its range plus WORKER times the number of its worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fastdw.jit import Inlined, Task
from fastdw.kernels.blocks import block_start
from fastdw.kernels.phases import phases
from fastdw.kernels.spec import NOWHERE, Cut, Layout, Plan, registry
from fastdw.packing import aligned_bytes
from fastdw.problem import POINTWISE, Problem, span
from fastdw.tile import Context, TileShape, call, move, poke, view
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

# weight is the scratch and bias the stages' records; no shape matters to this task
CONTEXT = Context(
    "stages",
    "chunks",  # ranges of rows of one image, a task each
    "rows",  # of the output
    "tile_rows",
    "strip_rows",
    "slot_bytes",
    "x_image",
    "residual_image",
    "residual_row",
    "out_image",
)
SHAPE = TileShape(1, 1, 1, 1)

# The first half of a stage's record; the second is the context of its task.
STAGE = Context(
    "function",
    "height",  # of its input
    "span",  # input rows under one output row
    "stride",
    "top",
    "x_row",  # bytes of an input row
    "out_row",
    "buffer",  # where in a slot its results lie
    "tasks",
    "top_at",  # bytes to the context's `top`; 0: a pointwise stage, which takes the rows it is given
    "rows_at",  # bytes to the context's `rows`; pointwise over runs of pixels: to `cols`
    "blocks_at",  # bytes to the context's `col_blocks`
    "row_pixels",  # pixels of a row, where rows are one run of pixels
    "tile_pixels",
    "block_pixels",
    "first",  # the rows that this strip needs of it: first ... last - 1
    "last",
    "head",  # the row at the head of its buffer
    "done",  # rows before this one have been computed
)
WORKER = 1 << 32
CONTEXT_AT = 8 * CONTEXT_FIELDS
RECORD_BYTES = 2 * CONTEXT_AT
X, RESIDUAL, OUT = (8 * ARRAYS.index(name) for name in ("x", "residual", "out"))


def at(context: Context, field: str) -> int:
    return 8 * context.fields.index(field)


FIRST, LAST, HEAD, DONE = (at(STAGE, field) for field in ("first", "last", "head", "done"))


@Inlined
def first_needed(row, stride, top, height):
    """The first input row that output rows from `row` on read."""
    return min(height, max(0, row * stride - top))


@Inlined
def end_needed(end, stride, top, span, height):
    """The input row after the last that output rows before `end` read."""
    return min(height, max(0, (end - 1) * stride - top + span))


@Inlined
def strip_count(rows, tile_rows, strip_rows):
    return max(1, min(rows // tile_rows, (rows + strip_rows - 1) // strip_rows))


@Inlined
def run_rows(s, context, x, out, row, rows):
    """Run a stage on output rows `row` ... `row + rows - 1`; x and out are the addresses of row 0."""
    poke(context + OUT, out + row * s.out_row)
    tasks = s.tasks
    if s.top_at:
        poke(context + X, x)
        poke(context + s.top_at, s.top - row * s.stride)
        poke(context + s.rows_at, rows)
    else:
        poke(context + X, x + row * s.x_row)
        if s.row_pixels:
            pixels = rows * s.row_pixels
            blocks = max(1, min(pixels // s.tile_pixels, (pixels + s.block_pixels - 1) // s.block_pixels))
            poke(context + s.rows_at, pixels)
            poke(context + s.blocks_at, blocks)
            tasks *= blocks
        else:
            poke(context + s.rows_at, rows)
            tasks *= rows
    for index in range(tasks):
        call(s.function, context, index)


@Task
def strips(shape, context, index):
    c = view(CONTEXT, context)
    unit = index & (WORKER - 1)
    image = unit // c.chunks
    chunk = unit % c.chunks
    records = c.weight + (index // WORKER) * c.slot_bytes
    move(records, c.bias, c.stages * RECORD_BYTES)
    begin = block_start(chunk, c.chunks, c.rows, c.tile_rows)
    rows = block_start(chunk + 1, c.chunks, c.rows, c.tile_rows) - begin
    count = strip_count(rows, c.tile_rows, c.strip_rows)
    for strip in range(count):
        first = begin + block_start(strip, count, rows, c.tile_rows)
        last = begin + block_start(strip + 1, count, rows, c.tile_rows)
        record = records + c.stages * RECORD_BYTES
        for _ in range(c.stages):
            record -= RECORD_BYTES
            s = view(STAGE, record)
            poke(record + FIRST, first)
            poke(record + LAST, last)
            first = first_needed(first, s.stride, s.top, s.height)
            last = max(first, end_needed(last, s.stride, s.top, s.span, s.height))
        x = c.x + image * c.x_image  # of row 0, which need not be there
        for k in range(c.stages):
            s = view(STAGE, record)
            fresh = max(s.first, s.done)
            if k == c.stages - 1:
                out = c.out + image * c.out_image
            else:
                buffer = records + s.buffer
                if s.done > s.first > s.head:
                    move(buffer, buffer + (s.first - s.head) * s.out_row, (s.done - s.first) * s.out_row)
                out = buffer - s.first * s.out_row
                poke(record + HEAD, s.first)
                poke(record + DONE, s.last)
            task = record + CONTEXT_AT
            if k == c.stages - 1 and c.residual != 0:
                poke(task + RESIDUAL, c.residual + image * c.residual_image + fresh * c.residual_row)
            if s.last > fresh:
                run_rows(s, task, x, out, fresh, s.last - fresh)
            x = out
            record += RECORD_BYTES


Rows = tuple[int, int]  # first, and the one after the last


def needs(plans: tuple[Plan, ...], cut: Cut) -> Iterator[list[list[Rows]]]:
    """For each range of rows of one image, for each of its strips, the rows of every stage's results that it needs."""
    rows, tile_rows = plans[-1].problem.out_height, tile_rows_of(plans)
    for chunk in range(cut.chunks):
        begin = block_start(chunk, cut.chunks, rows, tile_rows)
        extent = block_start(chunk + 1, cut.chunks, rows, tile_rows) - begin
        count = strip_count(extent, tile_rows, cut.strip_rows)
        bounds = [begin + block_start(strip, count, extent, tile_rows) for strip in range(count + 1)]
        yield [needed_by(plans, strip) for strip in pairwise(bounds)]


def needed_by(plans: tuple[Plan, ...], rows: Rows) -> list[Rows]:
    found = [rows]
    for plan in reversed(plans[1:]):
        p = plan.problem
        stride, top, high = p.stride[0], p.padding[0][0], span(p.kernel[0], p.dilation[0])
        first = first_needed(found[0][0], stride, top, p.height)
        found.insert(0, (first, max(first, end_needed(found[0][1], stride, top, high, p.height))))
    return found


def fresh_rows(plans: tuple[Plan, ...], cut: Cut) -> list[list[int]]:
    """For each stage how many rows it is run on, each time."""
    found: list[list[int]] = [[] for _ in plans]
    for strips in needs(plans, cut):
        done = [0] * len(plans)
        for strip in strips:
            for k, (first, last) in enumerate(strip):
                fresh = last - max(first, done[k])
                done[k] = last
                if fresh > 0:
                    found[k].append(fresh)
    return found


def tile_rows_of(plans: tuple[Plan, ...]) -> int:
    """Rows of the output that go together: a row of tiles, in every phase, of the last stage that has a window."""
    return next((plan.shape.rows * phases(plan.problem, 0) for plan in reversed(plans) if plan.problem.kind != POINTWISE), 1)


def buffers(plans: tuple[Plan, ...], cut: Cut) -> tuple[list[int], int]:
    """Where in a slot the results of every stage but the last lie, and the bytes of a slot."""
    offset, offsets = len(plans) * RECORD_BYTES, []
    most = [0] * len(plans)
    for strips in needs(plans, cut):
        for strip in strips:
            most = [max(rows, last - first) for rows, (first, last) in zip(most, strip, strict=True)]
    for plan, rows in zip(plans[:-1], most, strict=False):
        offsets.append(offset)
        offset += aligned_bytes(rows * row_bytes(plan.problem))
    return [*offsets, 0], offset


def row_bytes(problem: Problem) -> int:
    return 4 * problem.out_width * problem.out_channels


@dataclass(frozen=True)
class Stage:
    """Where the arrays of one stage lie. runs: rows of pixels follow each other without a gap in all of them."""

    layout: Layout
    runs: bool


def record(plan: Plan, stage: Stage, rows: list[int], offset: int) -> np.ndarray:
    """A stage's record, but for the addresses of its weight and bias. rows: how many it is run on, each time."""
    p, layout, spec = plan.problem, stage.layout, registry()[plan.kernel]
    facts = {
        "function": spec.task.pointer(plan.compiled_shape),
        "height": p.height,
        "span": span(p.kernel[0], p.dilation[0]),
        "stride": p.stride[0],
        "top": p.padding[0][0],
        "x_row": layout.x[1],
        "out_row": layout.out[1],
        "buffer": offset,
        "rows_at": at(spec.context, "rows"),
    } | dict.fromkeys(("first", "last", "head", "done", "top_at", "blocks_at", "row_pixels", "tile_pixels", "block_pixels"), 0)
    if p.kind != POINTWISE:
        facts["top_at"] = at(spec.context, "top")
    elif stage.runs:
        facts |= {
            "rows_at": at(spec.context, "cols"),
            "blocks_at": at(spec.context, "col_blocks"),
            "row_pixels": p.width,
            "tile_pixels": plan.shape.pixels,
            "block_pixels": plan.blocking.rows,
        }
    fields, facts["tasks"] = bind_rows(plan, layout, max(rows))
    context = spec.context.pack(fields)
    context[ARRAYS.index("residual")] = layout.residual is not None
    return np.concatenate([STAGE.pack(facts), context])


def bind_rows(plan: Plan, layout: Layout, rows: int) -> tuple[dict[str, int], int]:
    """The stage's context and tasks for some rows of its output, or, pointwise, for one."""
    p = plan.problem
    if p.kind == POINTWISE:
        part = replace(p, height=1)
    else:
        top, below = p.padding[0][0], (rows - 1) * p.stride[0] + span(p.kernel[0], p.dilation[0])
        part = replace(p, padding=((top, below - top - p.height), p.padding[1]))
    one_block = replace(plan.blocking, rows=max(rows, p.width))
    return registry()[plan.kernel].bind(replace(plan, problem=part, blocking=one_block), layout)


def serves(plan: Plan, rows: list[int]) -> bool:
    """Whether a stage can be run on so many rows, each time: its tasks may be of fewer rows where its kernel has little memory."""
    if plan.problem.kind == POINTWISE:
        return True
    blocks = {count: bind_rows(plan, NOWHERE, count)[0]["row_blocks"] for count in set(rows)}
    used = blocks[max(rows)]  # the last block takes what is left over, so fewer rows may have a larger one
    return used == max(blocks.values()) and used * plan.shape.rows * phases(plan.problem, 0) <= min(rows)


def bind(plans: tuple[Plan, ...], stages: tuple[Stage, ...], cut: Cut, batch: int) -> tuple[np.ndarray, int]:
    """The context of the chain with the records of its stages behind it, and the number of tasks."""
    offsets, slot_bytes = buffers(plans, cut)
    first, last = stages[0].layout, stages[-1].layout
    fields = {
        "stages": len(plans),
        "chunks": cut.chunks,
        "rows": plans[-1].problem.out_height,
        "tile_rows": tile_rows_of(plans),
        "strip_rows": cut.strip_rows,
        "slot_bytes": slot_bytes,
        "x_image": first.x[0],
        "residual_image": last.residual[0] if last.residual else 0,
        "residual_row": last.residual[1] if last.residual else 0,
        "out_image": last.out[0],
    }
    records = [record(*facts) for facts in zip(plans, stages, fresh_rows(plans, cut), offsets, strict=True)]
    return np.concatenate([CONTEXT.pack(fields), *records]), cut.chunks * batch
