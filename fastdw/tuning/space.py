"""Which plans are tried for a problem, and in which order: tiles that waste little first, blockings like the kernel's own first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastdw import planner
from fastdw.kernels.spec import NOWHERE, KernelSpec, Plan, registry
from fastdw.machine import Machine
from fastdw.problem import POOL, Problem
from fastdw.tile import TileShape

MOST_TILES = 12  # each is compiled
HOPELESS = 2.0  # times the least estimate


def estimate(spec: KernelSpec, problem: Problem, tile: TileShape) -> float:
    """What a tile may cost: by the kernel's own model, else elements computed, twice where tiles overlap, and a share a tile."""
    if spec.cost is not None:
        return spec.cost(problem, tile)
    rows, cols = (1, 1) if problem.kind == POOL else (problem.out_height, problem.out_width)
    tiles = -(-rows // tile.rows) * -(-cols // tile.cols) * -(-problem.out_channels // tile.width)
    return tiles * (tile.pixels * tile.vecs + 4)


def default_plans(problem: Problem, threads: int, machine: Machine) -> list[Plan]:
    """The plan without tuning, and the same kernel's own for the other number of threads, one or all."""
    default = planner.default_plan(problem, threads, machine)
    plans = [replace(default, reason="")]
    for used in {1, threads} - {default.threads}:
        tile, blocking = registry()[default.kernel].choose(problem, machine, used)
        plans.append(replace(plans[0], shape=tile, blocking=blocking, threads=used))
    return plans


def tile_plans(like: Plan, asked: int, machine: Machine) -> list[Plan]:
    """A plan for each tile of each vectorised kernel, with the blocking that is most like a plan's; the least estimates first."""
    problem = like.problem
    found: list[tuple[float, Plan]] = []
    for spec in planner.vectorised(problem, machine):
        costs = {tile: estimate(spec, problem, tile) for tile in spec.shapes(problem, machine)}
        for tile, cost in sorted(costs.items(), key=lambda pair: pair[1])[:MOST_TILES]:
            if cost <= HOPELESS * min(costs.values()):
                offered = planner.blockings(spec, problem, tile, asked, machine)
                blocking = min(offered, key=lambda one: planner.doublings_between(one, like.blocking))
                found.append((cost / min(costs.values()), Plan(problem, spec.name, tile, blocking, like.threads)))
    return [plan for _, plan in sorted(found, key=lambda pair: pair[0])]


def blocking_plans(like: Plan, asked: int, machine: Machine) -> list[Plan]:
    """Every blocking of a plan's tile, those most like its own first."""
    offered = planner.blockings(registry()[like.kernel], like.problem, like.shape, asked, machine)
    return [replace(like, blocking=blocking) for blocking in sorted(offered, key=lambda one: planner.doublings_between(one, like.blocking))]


def every_plan(problem: Problem, threads: int, machine: Machine) -> list[Plan]:
    """The whole space, the default first."""
    return distinct([*default_plans(problem, threads, machine), *planner.space(problem, threads, machine)])


def distinct(plans: Sequence[Plan]) -> list[Plan]:
    """Without those that cut a problem into the same tasks as one before: blockings are rounded to tiles."""
    found: dict[tuple, Plan] = {}
    for plan in plans:
        found.setdefault(tasks_of(plan), plan)
    return list(found.values())


def tasks_of(plan: Plan) -> tuple:
    fields, tasks = registry()[plan.kernel].bind(plan, NOWHERE)
    return plan.kernel, plan.shape, min(plan.threads, tasks), tasks, tuple(fields.items())
