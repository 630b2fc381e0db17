"""The search for the quickest plan of a problem, free of processes and clocks: it is given a function that measures plans.

First every tile that may be good, then every blocking of the best tiles, then the best plans again with more samples; where
the space is small, all of it at once. What is quickest then is measured once more against the default, on fresh arrays, and
only a gain beyond the noise counts: the least of forty noisy times is not the least time. Where threads have no cores of their
own nothing can be learned, and the default stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastdw import planner
from fastdw.kernels.spec import Plan
from fastdw.machine import Machine
from fastdw.problem import Problem
from fastdw.profile import RESIDENCIES, Choice
from fastdw.tuning import space
from fastdw.tuning.trial import CORRECT, LEAST_GAIN, LEAST_GAIN_BY_THREADS, WELL_SPREAD, Trial, is_faster, is_slower

EXHAUSTIVE = 20  # plans: a space no larger is measured whole
BATCH = 12  # plans measured in turn, with the default among them
ROUNDS, MORE_ROUNDS, LAST_ROUNDS = 4, 8, 20
BEST_TILES, FINALISTS, LAST = 3, 6, 2
NEAR = 1.1  # times the best: what is slower after a first look is not looked at again
SHARES = (0.35, 0.65, 0.8)  # of the time, by which each stage is to end

# measure(plans, rounds, residency, fresh arrays) -> a trial of each, in order
Measure = Callable[[Sequence[Plan], int, str, bool], list[Trial]]


@dataclass
class Outcome:
    """plan: the quickest, or the default where none is quicker beyond the noise. last: its trial by residency, on fresh arrays."""

    default: Plan
    plan: Plan
    last: dict[str, Trial] = field(default_factory=dict)
    runner_up: Plan | None = None
    trials: list[Trial] = field(default_factory=list)


class Search:
    """One search. elapsed() is the share of its time that is over."""

    def __init__(
        self,
        problem: Problem,
        threads: int,
        machine: Machine,
        residency: str,
        measure: Measure,
        elapsed: Callable[[], float],
        hint: Choice | None = None,
    ):
        self.threads, self.machine, self.residency = threads, machine, residency
        self.measure, self.elapsed = measure, elapsed
        self.starts = space.default_plans(problem, threads, machine)
        self.default = self.starts[0]
        if hint and (hinted := planner.adapt(hint, problem, threads, machine)):
            self.starts.append(hinted)
        self.all = space.every_plan(problem, threads, machine)
        self.best = {self.default: Trial(self.default, CORRECT, (1.0,), (1.0,))}
        self.trials: list[Trial] = []

    def run(self) -> Outcome:
        self.look_at(self.starts, ROUNDS, until=SHARES[0])
        if self.trials and self.trials[-1].spread < WELL_SPREAD:
            return self.decide([])
        if len(self.all) <= EXHAUSTIVE:
            self.look_at(self.all, ROUNDS, until=SHARES[1])
        else:
            for start in self.near(len(self.starts)):
                self.look_at(space.tile_plans(start, self.threads, self.machine), ROUNDS, until=SHARES[0])
            for start in self.near(BEST_TILES, one_a_tile=True):
                self.look_at(space.blocking_plans(start, self.threads, self.machine), ROUNDS, until=SHARES[1])
        finalists = self.near(FINALISTS)
        self.look_at(finalists, MORE_ROUNDS, until=SHARES[2], again=True)
        return self.decide([plan for plan in self.near(LAST + 1) if plan != self.default][:LAST])

    def look_at(self, plans: Sequence[Plan], rounds: int, until: float, again: bool = False) -> None:
        """Measure plans, those already measured only again; what does not fit the time is left out."""
        plans = [plan for plan in space.distinct(plans) if plan != self.default and (again or plan not in self.best)]
        for start in range(0, len(plans), BATCH):
            if self.elapsed() >= until:
                return
            for trial in self.measured(plans[start : start + BATCH], rounds, self.residency, fresh=False):
                self.best[trial.plan] = trial

    def measured(self, plans: Sequence[Plan], rounds: int, residency: str, fresh: bool) -> list[Trial]:
        trials = self.measure([self.default, *plans], rounds, residency, fresh)
        self.trials += trials
        return trials

    def near(self, count: int, one_a_tile: bool = False) -> list[Plan]:
        """The best plans so far, best first, and none much slower than the best."""
        trials = sorted((trial for trial in self.best.values() if trial.status == CORRECT), key=lambda trial: trial.score)
        trials = [trial for trial in trials if trial.score <= NEAR * trials[0].score]
        if one_a_tile:
            tiles = [(trial.plan.kernel, trial.plan.shape) for trial in trials]
            trials = [trial for index, trial in enumerate(trials) if tiles[index] not in tiles[:index]]
        return [trial.plan for trial in trials[:count]]

    def is_better(self, plan: Plan, where_searched: Trial, elsewhere: Trial) -> bool:
        least_gain = LEAST_GAIN if plan.threads == self.default.threads else LEAST_GAIN_BY_THREADS
        return is_faster(where_searched, least_gain) and not is_slower(elsewhere)

    def decide(self, plans: Sequence[Plan]) -> Outcome:
        """The first of the plans that is faster than the default where it was searched, and not slower elsewhere."""
        last: dict[Plan, dict[str, Trial]] = {plan: {} for plan in (self.default, *plans)}
        order = sorted(RESIDENCIES, key=lambda residency: residency != self.residency)
        for residency in order:
            for trial in self.measured(plans, LAST_ROUNDS, residency, fresh=True):
                if trial.status == CORRECT:
                    last[trial.plan][residency] = trial
        outcome = Outcome(self.default, self.default, last[self.default], trials=self.trials)
        passed = [plan for plan in plans if set(last[plan]) == set(order) and self.is_better(plan, *(last[plan][one] for one in order))]
        if passed:
            passed.sort(key=lambda plan: last[plan][order[0]].score)
            outcome.plan, outcome.last = passed[0], last[passed[0]]
        outcome.runner_up = next((plan for plan in (*plans, self.default) if plan != outcome.plan), None)
        return outcome
