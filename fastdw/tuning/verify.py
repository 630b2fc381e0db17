"""Whether what a profile says can be used: each plan offered by a kernel of today, and with the bits of the default plan."""

from __future__ import annotations

from collections.abc import Iterator

from fastdw import planner
from fastdw.machine import host
from fastdw.profile import Choice, Entry, Profile, problem_to_json
from fastdw.tuning.process import Bench, WorkerProcess
from fastdw.tuning.trial import CORRECT


def faults(profile: Profile) -> Iterator[str]:
    """What is wrong with entries, in words. Plans are run in a process of their own."""
    with WorkerProcess() as worker:
        for entry in profile.entries.values():
            if fault := _fault(worker, entry):
                yield f"{entry.problem.key}, threads {entry.threads}: {fault}"


def _fault(worker: WorkerProcess, entry: Entry) -> str:
    if not entry.is_current:
        return "measured with other kernels"
    plan = planner.adapt(entry.plan, entry.problem, entry.threads, host())
    if plan is None or Choice.of(plan) != entry.plan:
        return f"no kernel offers {entry.plan}"
    bench = Bench(worker, problem_to_json(entry.problem), entry.threads)
    if bench.untunable:
        return bench.untunable
    trial = bench.check(plan)
    return "" if trial.status == CORRECT else f"{entry.plan}: {trial.status}: {trial.note}"
