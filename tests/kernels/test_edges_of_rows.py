"""Depthwise along rows: the taps that a tile leaves out are exactly those beside the image."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.cross import CORES
from fastdw.kernels import depthwise_rows
from fastdw.kernels.phases import phase_outputs, phases
from fastdw.machine import Machine, host
from fastdw.problem import DEPTHWISE, Problem
from fastdw.tile import TileShape, narrower

PROBLEMS = 3000
MACHINES = {"host": host(), **{cpu: CORES[cpu].machine for cpu in ("x86-64-v2", "x86-64-v4", "cortex-a53", "cortex-a76")}}


def random_problem(rng: np.random.Generator) -> Problem | None:
    width, taps = int(rng.integers(1, 65)), int(rng.choice([1, 2, 3, 3, 4, 5, 5, 7, 9, 11, 13, 31]))
    stride, dilation = int(rng.choice([1, 1, 2, 2, 3, 4])), int(rng.choice([1, 1, 2, 3, 4, 6]))
    reach = (taps - 1) * dilation
    usual = [(0, 0), (reach // 2, reach - reach // 2), (reach - reach // 2, reach // 2), (max(0, reach // 2 - 1), reach // 2), (reach, 0)]
    columns = usual[rng.integers(len(usual))] if rng.random() < 0.9 else tuple(rng.integers(0, reach + 2, 2).tolist())
    if width + sum(columns) <= reach:
        return None
    channels, multiplier = 64, int(rng.choice([1, 1, 2]))
    kernel, strides, dilations = (3, taps), (stride, stride), (dilation, dilation)
    return Problem(DEPTHWISE, 1, 9, width, channels, channels * multiplier, kernel, strides, dilations, ((dilation, dilation), columns))


def kind(tile: TileShape, number: int, tiles: int) -> str:
    if tile.whole:
        return "whole"
    return "first" if number == 0 else "last" if number == tiles - 1 else "between"


def check_edges(problem: Problem, tile: TileShape) -> Counter:
    """Every tap of every output, of each phase, as the kernel goes along a row; how many tiles of each kind there were."""
    count, seen = phases(problem, 1), Counter()
    assert tile.rows == 1 or not tile.uneven
    for phase in range(count):
        outputs = phase_outputs(problem.out_width, phase, count)
        is_narrower = tile.uneven and outputs < tile.cols
        part = narrower(tile) if is_narrower else tile
        tiles, covered = -(-outputs // part.cols), set()
        assert not tile.whole or outputs == part.cols
        for number in range(tiles):
            start = depthwise_rows.tile_start(number, tiles, outputs, part.cols)
            first = part.left if part.whole or number == 0 else 0
            end = part.window_cols - (part.right if part.whole or number == tiles - 1 else 0)
            for col in range(part.cols):
                covered.add(start + col)
                corner = (phase + (start + col) * count) * problem.stride[1] - problem.padding[1][0]
                for tap in range(part.taps):
                    is_inside = 0 <= corner + tap * problem.dilation[1] < problem.width
                    assert is_inside == (first <= col * part.stride + tap < end), (problem, str(tile), phase, number, col, tap)
            seen["narrower" if is_narrower else kind(part, number, tiles)] += 1
        assert covered == set(range(outputs)), (problem, str(tile), phase)
    return seen


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_the_taps_left_out_are_those_beside_the_image(machine: Machine):
    rng = np.random.default_rng(3)
    problems = [problem for problem in (random_problem(rng) for _ in range(PROBLEMS)) if problem is not None]
    seen, served = Counter(), 0
    for problem in problems:
        tiles = list(depthwise_rows.shapes(problem, machine))
        served += bool(tiles)
        for tile in tiles:
            seen += check_edges(problem, tile)
    assert served > PROBLEMS // 10
    assert min(seen[each] for each in ("whole", "narrower", "first", "last", "between")) > 100, seen


def test_a_tile_that_hangs_over_further_than_the_outer_two_is_found():
    problem = Problem(DEPTHWISE, 1, 9, 14, 64, 64, (3, 31), padding=((1, 1), (15, 15)))
    with pytest.raises(AssertionError, match="depthwise"):
        check_edges(problem, TileShape(1, 4, 1, 16, 31, 1, left=15, right=15))
