"""Random valid profiles of this machine, and entries for them."""

from __future__ import annotations

import random
from collections.abc import Iterable

from fastdw import planner
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.problem import Problem
from fastdw.profile import RESIDENCIES, Choice, Entry, Profile, Times, kernel_digest


def entry(plan: Plan, threads: int, gain: float = 1.25) -> Entry:
    default = Choice.of(planner.default_plan(plan.problem, threads, host()))
    times = {name: Times(1e-4, 1.1e-4, 1e-5) for name in RESIDENCIES}
    default_times = {name: Times(gain * 1e-4, gain * 1.1e-4, 1e-5) for name in RESIDENCIES}
    return Entry(
        plan.problem,
        threads,
        Choice.of(plan),
        default,
        times,
        default_times,
        kernel_digest(),
        layer="omp",
        measured="2026-01-01T00:00:00+00:00",
    )


def random_profile(problems: Iterable[tuple[Problem, int]], rng: random.Random) -> Profile:
    """For each problem and number of threads any plan of its space."""
    plans = [(rng.choice(list(planner.space(problem, threads, host()))), threads) for problem, threads in problems]
    return Profile(host().identity, [entry(plan, threads) for plan, threads in plans])
