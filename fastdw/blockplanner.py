"""Whether convolutions in a row are computed strip by strip, and in what strips: the choice for fused blocks. It never times.

Strips pay where what lies between the stages would leave the second-level cache: so a strip is as many rows as keep it there.
They do not where it stays there anyway, nor where a range of rows holds so few pixels that the weights, which every range
reads, weigh more than the pixels. Each thread has one range: it computes rows that its neighbour has too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from fastdw.kernels import pointwise, strips
from fastdw.kernels.spec import BlockPlan, Cut, Plan
from fastdw.machine import Machine, host
from fastdw.packing import aligned_bytes
from fastdw.planner import candidates
from fastdw.problem import POINTWISE, Problem

LEAST_PIXELS = 96  # of a range of rows
L2_SHARE = 0.5
OUT_OF_L2 = 1.5  # as much between the stages, in sizes of the cache, leaves it


def plan_block(problems: tuple[Problem, ...], plans: tuple[Plan, ...], dense: bool, threads: int) -> BlockPlan:
    """problems: of the stages; plans: theirs, each for itself; dense: all arrays are without gaps."""
    found = _strips(problems, dense, threads, host())
    return found if isinstance(found, BlockPlan) else one_by_one(problems, plans, threads, found)


def one_by_one(problems: tuple[Problem, ...], plans: tuple[Plan, ...], threads: int, reason: str = "") -> BlockPlan:
    """One stage after the other."""
    return BlockPlan(plans, None, threads, reason, bytes_between(problems))


def bytes_between(problems: tuple[Problem, ...]) -> int:
    """Of the images between the stages."""
    return sum(aligned_bytes(4 * math.prod(problem.out_shape)) for problem in problems[:-1])


def space(problems: tuple[Problem, ...], dense: bool, threads: int, machine: Machine) -> Iterator[BlockPlan]:
    """Every plan in strips: the tuning space beside the plans of the stages one after the other."""
    rows = problems[-1].out_height
    for strip_rows in strip_sizes(rows):
        for chunks in sorted({1, threads, 2 * threads}):
            plan = in_strips(problems, Cut(chunks, strip_rows), dense, threads, machine)
            if plan is not None:
                yield plan


def strip_sizes(rows: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, ... rows."""
    return sorted({min(rows, size << power) for size in (2, 3) for power in range(rows.bit_length())} | {1})


@lru_cache(maxsize=1024)
def _strips(problems: tuple[Problem, ...], dense: bool, threads: int, machine: Machine) -> BlockPlan | str:
    """The plan in strips, or why there is none."""
    last = problems[-1]
    range_pixels = last.out_height * last.out_width // threads
    if threads > 1 and range_pixels < LEAST_PIXELS:
        return f"{range_pixels} pixels for each of {threads} threads, fewer than {LEAST_PIXELS}"
    cache_bytes = machine.l2_size
    between = bytes_between(problems)
    if between < OUT_OF_L2 * cache_bytes * threads:
        return f"{between:,} bytes between them, which the cache holds"
    found: BlockPlan | str = "a stage has no vectorised kernel, or too few rows for its tiles"
    for strip_rows in strip_sizes(last.out_height // threads):
        plan = in_strips(problems, Cut(threads, strip_rows), dense, threads, machine)
        if plan is None:
            continue
        if plan.scratch_bytes > L2_SHARE * cache_bytes * threads:
            each = plan.scratch_bytes // threads
            return found if isinstance(found, BlockPlan) else f"strips of {each:,} bytes, which the cache does not hold"
        found = plan
    return found


def in_strips(problems: tuple[Problem, ...], cut: Cut, dense: bool, threads: int, machine: Machine) -> BlockPlan | None:
    """The plan of a chain for a cut; None where a stage has no vectorised kernel, or rows do not suffice for the cut."""
    plans = []
    for problem in problems:
        one = replace(problem, batch=1)
        spec = candidates(one, machine)[0][0]
        if spec.is_reference:
            return None
        plans.append(Plan(one, spec.name, *spec.choose(one, machine, 1), reason="stage"))
    tile_rows = strips.tile_rows_of(tuple(plans))
    if cut.chunks > problems[-1].out_height // tile_rows:
        return None
    cut = replace(cut, strip_rows=max(cut.strip_rows, tile_rows))
    for k, rows in enumerate(strips.fresh_rows(tuple(plans), cut)):
        if plans[k].problem.kind == POINTWISE:
            shape, blocking = pointwise.choose_rows(plans[k].problem, rows, dense, machine)
            plans[k] = replace(plans[k], shape=shape, blocking=blocking)
        elif not strips.serves(plans[k], rows):
            return None
    _, slot_bytes = strips.buffers(tuple(plans), cut)
    return BlockPlan(tuple(plans), cut, threads, "default", slot_bytes * threads)
