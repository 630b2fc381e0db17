"""What a task copies fits the scratch on its stack: every block of every phase, whatever is left over for the last one."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

import fastdw
from fastdw.kernels import depthwise_any
from fastdw.kernels.blocks import block_start
from fastdw.kernels.depthwise_any import strip_bytes
from fastdw.kernels.phases import phase_outputs, phases
from fastdw.kernels.spec import NOWHERE, Blocking, Plan
from fastdw.kernels.strips import bind_rows, serves
from fastdw.machine import host
from fastdw.problem import Problem
from fastdw.tile.shapes import SCRATCH_BYTES
from fastdw.tuning.shapes import problem


def drawn(rng: random.Random) -> Problem:
    """Long rows, few channels: strips that must be split."""
    height, width = rng.choice([(1, rng.randint(500, 9000)), (rng.randint(1, 300), rng.randint(1, 300))])
    kernel = rng.choice([(1, 7), (7, 7), (3, 3), (5, 9), (46, 46), (rng.randint(1, 20), rng.randint(1, 20))])
    stride, dilation = (f"{rng.choice((1, 1, 2, 3))}x{rng.choice((1, 1, 2, 3, 5))}" for _ in range(2))
    words = f"kernel={kernel[0]}x{kernel[1]} stride={stride} dilation={dilation} multiplier={rng.choice((1, 2, 3, 8, 16, 17))}"
    return problem(f"depthwise {height}x{width}x{rng.choice((1, 4, 8, 24, 40))} {words}")


def largest_blocks(extent: int, count: int, blocks: int, tile: int) -> list[int]:
    """Outputs of the largest block of each phase."""
    extents = {phase_outputs(extent, phase, count) for phase in range(count)}
    return [max(b - a for a, b in pairwise(block_start(i, blocks, n, tile) for i in range(blocks + 1))) for n in extents]


def check(plan: Plan, fields: dict[str, int], rows: int) -> None:
    p, shape = plan.problem, plan.shape
    most_rows = max(largest_blocks(rows, phases(p, 0), fields["row_blocks"], shape.rows))
    most_cols = max(largest_blocks(p.out_width, phases(p, 1), fields["col_blocks"], shape.cols))
    assert strip_bytes(p, most_rows, most_cols, shape.width) <= SCRATCH_BYTES, f"{p.key} {shape} {plan.blocking}: {fields}"


def test_every_block_fits(request):
    rng = random.Random(request.config.getoption("--seed"))
    n_split = 0
    while n_split < 300:
        p = drawn(rng)
        if depthwise_any.refuses(p, host()) is not None:
            continue
        for shape in depthwise_any.shapes(p, host()):
            assert shape.lanes * shape.vecs >= shape.expand, f"{p.key} {shape} reads no channel"
            for blocking in [depthwise_any.choose(p, host(), 1)[1], *depthwise_any.blockings(p, shape)]:
                plan = Plan(p, "depthwise_any", shape, blocking, 1)
                fields, _ = depthwise_any.bind(plan, NOWHERE)
                check(plan, fields, p.out_height)
                n_split += fields["col_blocks"] > 1


def test_every_run_of_rows_of_a_chain_fits(request):
    rng = random.Random(request.config.getoption("--seed"))
    n_served = 0
    while n_served < 100:
        p = drawn(rng)
        if depthwise_any.refuses(p, host()) is not None or p.out_height < 4:
            continue
        shape = rng.choice(list(depthwise_any.shapes(p, host())))
        plan = Plan(p, "depthwise_any", shape, Blocking(p.out_height, shape.width), 1)
        least = shape.rows * phases(p, 0)
        if p.out_height < least:
            continue
        rows = [rng.randint(least, p.out_height) for _ in range(3)]
        if serves(plan, rows):
            n_served += 1
            fields, _ = bind_rows(plan, NOWHERE, max(rows))
            for count in rows:
                check(plan, fields, count)


LARGE = {
    "56 and 55 rows of a phase": ((1, 111, 276, 8), (7, 7, 8, 2), {"dilation": 2, "padding": "same"}),
    "a filter larger than whole vectors of repeated channels": ((1, 46, 46, 1), (46, 46, 1, 16), {}),
}


@pytest.mark.parametrize("what", LARGE)
def test_large_strips(what, request):
    x_shape, weight_shape, keywords = LARGE[what]
    rng = np.random.default_rng(request.config.getoption("--seed"))
    x, weight = rng.integers(-4, 5, x_shape).astype(np.float32), rng.integers(-4, 5, weight_shape).astype(np.float32)
    plan = fastdw.explain(fastdw.depthwise_conv2d, x, weight, **keywords)
    assert not plan.is_reference
    whole = fastdw.depthwise_conv2d(x, weight, threads=1, **keywords)
    each = [fastdw.depthwise_conv2d(x, np.ascontiguousarray(weight[..., m : m + 1]), **keywords) for m in range(weight_shape[3])]
    assert np.array_equal(whole.reshape(*whole.shape[:3], -1, weight_shape[3]), np.stack(each, -1))
