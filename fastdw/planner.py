"""plan(problem): which kernel, which tile, which blocking, how many threads. The only place that chooses; it never times.

A measured plan of this machine's profile, where there is one for the problem or a near one, else the kernel's own choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

from fastdw import knobs, profile_files
from fastdw.kernels.spec import Blocking, KernelSpec, Plan, registry
from fastdw.machine import Machine, host
from fastdw.problem import DEPTHWISE, Problem
from fastdw.profile import Choice
from fastdw.tile import TileShape

# Below this much work a second thread costs more than it brings: a launch is about a microsecond.
PARALLEL_FLOPS = {DEPTHWISE: 500_000}
PARALLEL_FLOPS_OTHERWISE = 2_000_000
IN_PROGRAM = 1 / 16  # of that much work where threads are already there


def candidates(problem: Problem, machine: Machine) -> tuple[list[KernelSpec], list[str]]:
    """The kernels that serve a problem, in order of preference, and why the others do not."""
    serving, refusals = [], []
    for spec in registry().values():
        if spec.kind == problem.kind:
            reason = spec.refuses(problem, machine)
            if reason is None:
                serving.append(spec)
            else:
                refusals.append(f"{spec.name}: {reason}")
    return serving, refusals


def vectorised(problem: Problem, machine: Machine) -> list[KernelSpec]:
    """The kernels that serve a problem, in order of preference; the reference kernel only where there is no other."""
    serving, _ = candidates(problem, machine)
    return [spec for spec in serving if not spec.is_reference] or serving


def plan(problem: Problem, threads: int = 1, machine: Machine | None = None) -> Plan:
    """The plan for a problem on a machine, this one unless another is given."""
    if _asked is not None:
        _asked.append((problem, threads))
    return _plan(problem, threads, machine or host())


def plan_in_program(problem: Problem, threads: int = 1) -> Plan:
    """The plan for a problem as a step of a program, whose threads share work too that a call by itself does on one."""
    found = plan(problem, threads)
    least = parallel_flops(problem)
    if found.threads == 1 < threads and IN_PROGRAM * least <= 2 * problem.multiply_adds < least:
        shape, blocking = registry()[found.kernel].choose(problem, host(), threads)
        if shape == found.shape:
            return replace(found, blocking=blocking, threads=threads, reason=f"{found.reason}, shared in a program")
    return found


def parallel_flops(problem: Problem) -> int:
    return PARALLEL_FLOPS.get(problem.kind, PARALLEL_FLOPS_OTHERWISE)


_asked: list[tuple[Problem, int]] | None = None


@contextmanager
def recorded() -> Iterator[list[tuple[Problem, int]]]:
    """The problems, and threads, that plans are asked for in the meantime."""
    global _asked
    before, _asked = _asked, []
    try:
        yield _asked
    finally:
        _asked = before


def check_strict(plan: Plan) -> None:
    """
    Raises:
      RuntimeError: strict mode, and the plan is for the reference kernel.
    """
    if plan.is_reference and knobs.strict():
        raise RuntimeError(f"strict mode: got {plan.problem.key}, which only the reference kernel serves ({plan.reason})")


@lru_cache(maxsize=4096)
def _plan(problem: Problem, threads: int, machine: Machine) -> Plan:
    if machine == host() and (found := profile_files.lookup(problem, threads)):
        entry, how = found
        if plan := adapt(entry.plan, problem, threads, machine):
            return replace(plan, reason=f"{how}, {entry.gain:.2f} times the default")
    return default_plan(problem, threads, machine)


def default_plan(problem: Problem, threads: int, machine: Machine) -> Plan:
    """The plan without a profile."""
    serving, refusals = candidates(problem, machine)
    spec = serving[0]
    reason = "default"
    if spec.is_reference:
        reason = f"no vectorised kernel: {'; '.join(refusals)}"
    if 2 * problem.multiply_adds < parallel_flops(problem):
        threads = 1
    shape, blocking = spec.choose(problem, machine, threads)
    return Plan(problem, spec.name, shape, blocking, threads, reason)


def forget() -> None:
    """Plan anew: the profile has changed."""
    _plan.cache_clear()


# ---- the space of plans ----
def space(problem: Problem, threads: int, machine: Machine) -> Iterator[Plan]:
    """Every plan that a profile may hold: tiles x blockings x threads of the vectorised kernels that serve a problem."""
    for spec in vectorised(problem, machine):
        for tile in spec.shapes(problem, machine):
            for blocking in blockings(spec, problem, tile, threads, machine):
                for used in sorted({1, threads}):
                    yield Plan(problem, spec.name, tile, blocking, used)


def blockings(spec: KernelSpec, problem: Problem, tile: TileShape, threads: int, machine: Machine) -> list[Blocking]:
    """Those that the kernel declares for a tile, and those that it chooses itself."""
    chosen = [blocking for used in sorted({1, threads}) for shape, blocking in [spec.choose(problem, machine, used)] if shape == tile]
    return list(dict.fromkeys([*chosen, *spec.blockings(problem, tile)]))


def adapt(choice: Choice, problem: Problem, threads: int, machine: Machine) -> Plan | None:
    """The plan for a problem that is most like a choice made for another; None where no kernel offers its tile here."""
    serving, _ = candidates(problem, machine)
    for spec in serving:
        for tile in spec.shapes(problem, machine) if spec.name == choice.kernel else ():
            if str(tile) == choice.tile:
                blocking = min(blockings(spec, problem, tile, threads, machine), key=lambda one: doublings_between(one, choice))
                return Plan(problem, spec.name, tile, blocking, min(threads, choice.threads))
    return None


def doublings_between(blocking: Blocking, choice: Choice | Blocking) -> float:
    """How unlike two blockings are."""
    return abs(math.log2(blocking.rows / choice.rows)) + abs(math.log2(blocking.channels / choice.channels))
