"""plan(problem): which kernel, which tile, which blocking, how many threads. The only place that chooses; it never times."""

from __future__ import annotations

from functools import lru_cache

from fastdw import knobs
from fastdw.kernels.spec import KernelSpec, Plan, registry
from fastdw.machine import Machine, host
from fastdw.problem import DEPTHWISE, Problem

# Below this much work a second thread costs more than it brings: a launch is about a microsecond.
PARALLEL_FLOPS = {DEPTHWISE: 500_000}
PARALLEL_FLOPS_OTHERWISE = 2_000_000


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


def plan(problem: Problem, threads: int = 1, machine: Machine | None = None) -> Plan:
    """The plan for a problem on a machine, this one unless another is given."""
    return _plan(problem, threads, machine or host())


def check_strict(plan: Plan) -> None:
    """
    Raises:
      RuntimeError: strict mode, and the plan is for the reference kernel.
    """
    if registry()[plan.kernel].is_reference and knobs.strict():
        raise RuntimeError(f"strict mode: got {plan.problem.key}, which only the reference kernel serves ({plan.reason})")


@lru_cache(maxsize=4096)
def _plan(problem: Problem, threads: int, machine: Machine) -> Plan:
    serving, refusals = candidates(problem, machine)
    spec = serving[0]
    reason = "default"
    if spec.is_reference:
        reason = f"no vectorised kernel: {'; '.join(refusals)}"
    flops = 2 * problem.multiply_adds
    if flops < PARALLEL_FLOPS.get(problem.kind, PARALLEL_FLOPS_OTHERWISE):
        threads = 1
    shape, blocking = spec.choose(problem, machine, threads)
    return Plan(problem, spec.name, shape, blocking, threads, reason)
