"""Every tile of every kernel that serves a layer, in turns on one thread; the planner's pick is marked.

Run it:  pytest bench/test_kernels.py --benchmark-json=kernels.json --benchmark-columns=min,median [-k '7x7x960 and cold']

Each tile has the blocking most like the pick's. Tiles of a layer take turns for --benchmark-max-time seconds in all;
the reference kernel, whose turn would leave the caches cold for the next, comes after them.
"""

from __future__ import annotations

from functools import cache

import pytest

from bench import tuning
from bench.conftest import REPLAY
from fastdw import planner
from fastdw.kernels.spec import Plan, registry
from fastdw.machine import host
from fastdw.problem import Problem
from fastdw.profile import RESIDENCIES
from fastdw.tuning.shapes import problem
from fastdw.tuning.timing import measure
from fastdw.tuning.worker import arena_bytes
from fastdw.tuning.workload import Arena, Workload

pytestmark = pytest.mark.benchmark(timer=REPLAY)
LAYERS = (*tuning.LAYERS, "depthwise 28x28x96 multiplier=2", "depthwise 112x112x3", "pool 7x7x1280")
ROUNDS = 40


def variants(layer: Problem) -> list[Plan]:
    pick = planner.default_plan(layer, 1, host())
    serving, _ = planner.candidates(layer, host())
    found = [pick]
    for spec in serving:
        for tile in spec.shapes(layer, host()):
            offered = planner.blockings(spec, layer, tile, 1, host())
            if (spec.name, tile) != (pick.kernel, pick.shape):
                found.append(Plan(layer, spec.name, tile, min(offered, key=lambda one: planner.doublings_between(one, pick.blocking)), 1))
    return found


CASES = [(text, index, plan) for text in LAYERS for index, plan in enumerate(variants(problem(text)))]


@cache
def arena() -> Arena:
    return Arena(arena_bytes())


@cache
def times(text: str, residency: str, seconds: float) -> list[list[float]]:
    work = Workload(problem(text), 1, arena())
    make = work.runner(residency)
    plans = variants(work.problem)
    fast = [make(work.bind(plan)) for plan in plans if not registry()[plan.kernel].is_reference]
    slow = [make(work.bind(plan)) for plan in plans[len(fast) :]]
    return measure(fast, ROUNDS, seconds) + measure(slow, ROUNDS, seconds / 4)


@pytest.mark.parametrize("residency", RESIDENCIES)
@pytest.mark.parametrize(("text", "index", "plan"), CASES, ids=[f"{text}-{plan.id}{'-pick' * (index == 0)}" for text, index, plan in CASES])
def test_kernel(replay, text, index, plan, residency, seconds):
    taken = times(text, residency, seconds)[index]
    rate = 2 * plan.problem.multiply_adds / min(taken)
    replay(f"{text}, {residency}", taken, layer=text, residency=residency, plan=plan.id, is_pick=index == 0, flops_per_second=rate)


def test_every_kernel_takes_part():
    assert {plan.kernel for _, _, plan in CASES} == set(registry())
