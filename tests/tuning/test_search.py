"""The search, on recorded times and on made-up ones: nothing here is timed."""

from __future__ import annotations

import json
import random
import statistics
from pathlib import Path

import pytest

from fastdw import planner
from fastdw.machine import Machine
from fastdw.problem import POINTWISE, Problem
from fastdw.profile import COLD, RESIDENCIES, Choice
from fastdw.tuning import space
from fastdw.tuning.search import EXHAUSTIVE, Search
from fastdw.tuning.shapes import problem
from fastdw.tuning.trial import COMPILE, CORRECT, INCORRECT, RUNTIME, Trial, append, is_faster, is_slower, quartile

RECORDED = json.loads((Path(__file__).parent / "recorded_trials.json").read_text())
FACTS = RECORDED["machine"]
MACHINE = Machine(FACTS["name"], FACTS["architecture"], frozenset(FACTS["features"]), FACTS["cores"], FACTS["l1_bytes"], FACTS["l2_bytes"])
LAYER = problem("depthwise 14x14x576")


class Replay:
    """Measures by drawing from samples: pairs of a plan's seconds and the default's in the same round."""

    def __init__(self, seconds_of, faults=None, seed=0):
        self.seconds_of, self.faults = seconds_of, faults or {}
        self.random = random.Random(seed)
        self.calls: list[tuple] = []

    def __call__(self, plans, rounds, residency, fresh):
        self.calls.append((len(plans), rounds, residency, fresh))
        base = [self.seconds_of(plans[0], self.random) for _ in range(rounds)]
        trials = []
        for plan in plans:
            if plan in self.faults:
                trials.append(Trial(plan, self.faults[plan]))
            else:
                seconds = base if plan == plans[0] else [self.seconds_of(plan, self.random) for _ in range(rounds)]
                trials.append(Trial(plan, CORRECT, tuple(seconds), tuple(base), residency))
        return trials

    @property
    def n_timed(self) -> int:
        return sum(count - 1 for count, *_ in self.calls)


def search(measure, what=LAYER, threads=1, elapsed=lambda: 0.0, hint=None):
    return Search(what, threads, MACHINE, COLD, measure, elapsed, hint).run()


# ---- recorded ----
@pytest.mark.parametrize("text", RECORDED["nanoseconds"])
def test_regret_on_recorded_trials(text, request):
    seed = request.config.getoption("--seed")
    found = RECORDED["nanoseconds"][text]
    samples = {choice: [one / other for one, other in pairs] for choice, pairs in found["plans"].items()}  # of the default's time then
    samples[found["default"]] = [1.0]
    medians = {choice: statistics.median(times) for choice, times in samples.items()}

    def recorded(plan, rng):
        return 1e-6 * rng.choice(samples[str(Choice.of(plan))])

    regrets = []
    for turn in range(20):
        outcome = search(Replay(recorded, seed=seed + turn), problem(text))
        regrets.append(medians[str(Choice.of(outcome.plan))] / min(medians.values()))
    assert statistics.geometric_mean(regrets) <= 1.03, f"--seed {seed}"
    assert len(outcome.trials) < 0.5 * len(samples) + 40


# ---- made up ----
def speeds(best: float, seed: int = 0):
    """A time for each plan, the default's 1; the best plan takes `best`."""
    plans = space.every_plan(LAYER, 1, MACHINE)
    rng = random.Random(seed)
    times = {plan: rng.uniform(1.0, 1.6) for plan in plans}
    times[plans[0]] = 1.0
    tile = rng.choice([plan for plan in plans[1:] if plan.shape != plans[0].shape]).shape
    for plan in plans:
        if plan.shape == tile:
            times[plan] = rng.uniform(best * 1.02, best * 1.1)
    times[next(plan for plan in plans if plan.shape == tile)] = best
    return times


def noisy(times, noise: float):
    return lambda plan, rng: times.get(plan, 1.0) * rng.lognormvariate(0, noise)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_a_tile_that_is_faster_is_found(noise):
    kept = {plan.shape for plan in space.tile_plans(space.default_plans(LAYER, 1, MACHINE)[0], 1, MACHINE)}
    for seed in range(10):
        times = speeds(0.8, seed)
        outcome = search(Replay(noisy(times, noise), seed=seed))
        if min(times, key=times.__getitem__).shape in kept:
            assert times[outcome.plan] <= 0.9, seed


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1, 0.3])
def test_noise_alone_makes_no_plan_faster(noise):
    times = dict.fromkeys(space.every_plan(LAYER, 1, MACHINE), 1.0)
    kept = sum(search(Replay(noisy(times, noise), seed=seed)).plan == space.default_plans(LAYER, 1, MACHINE)[0] for seed in range(40))
    assert kept >= 38


def test_drift_of_the_clock_makes_no_plan_faster():
    times, turns = dict.fromkeys(space.every_plan(LAYER, 1, MACHINE), 1.0), iter(range(10**6))
    outcome = search(Replay(lambda plan, rng: times[plan] * (1 + next(turns) / 3000) * rng.lognormvariate(0, 0.02)))
    assert outcome.plan == outcome.default


def test_a_plan_that_is_slower_where_it_was_not_searched_is_not_taken():
    times = speeds(0.8)

    class Sided(Replay):
        def __call__(self, plans, rounds, residency, fresh):
            self.seconds_of = noisy(times if residency == COLD else {plan: 1 / value for plan, value in times.items()}, 0.01)
            return super().__call__(plans, rounds, residency, fresh)

    assert search(Sided(None)).plan == space.default_plans(LAYER, 1, MACHINE)[0]


@pytest.mark.parametrize("status", [INCORRECT, COMPILE, RUNTIME])
def test_plans_that_fail_are_never_chosen_and_the_rest_go_on(status):
    times = speeds(0.8)
    best = min(times, key=times.__getitem__)
    faults = {plan: status for plan in times if plan.shape == best.shape}
    outcome = search(Replay(noisy(times, 0.01), faults))
    assert outcome.plan.shape != best.shape
    assert set(outcome.last) == set(RESIDENCIES)


def test_a_default_that_fails_leaves_nothing_to_say():
    default = space.default_plans(LAYER, 1, MACHINE)[0]
    outcome = search(Replay(noisy({}, 0.01), {default: RUNTIME}))
    assert outcome.plan == default
    assert len(outcome.last) < len(RESIDENCIES)


def test_the_last_look_is_on_fresh_arrays_in_both_residencies():
    replay = Replay(noisy(speeds(0.8), 0.01))
    outcome = search(replay)
    assert [(residency, fresh) for _, _, residency, fresh in replay.calls[-2:]] == [("cold", True), ("warm", True)]
    assert not any(fresh for *_, fresh in replay.calls[:-2])
    assert set(outcome.last) == set(RESIDENCIES)
    assert outcome.runner_up not in (None, outcome.plan)


def test_a_budget_that_is_over_still_gives_the_default_its_times():
    outcome = search(Replay(noisy(speeds(0.5), 0.01)), elapsed=lambda: 1.0)
    assert outcome.plan == outcome.default
    assert set(outcome.last) == set(RESIDENCIES)


def test_less_time_means_fewer_trials():
    counts = []
    for share_of_a_batch in (0.001, 0.5, 1.0):
        replay = Replay(noisy(speeds(0.8), 0.01))
        search(replay, elapsed=lambda replay=replay, share=share_of_a_batch: share * len(replay.calls))
        counts.append(replay.n_timed)
    assert counts[0] > counts[1] > counts[2]


def test_a_small_space_is_measured_whole():
    small = Problem(POINTWISE, 1, 1, 1, 64, 1000)
    every = space.every_plan(small, 1, MACHINE)
    assert 1 < len(every) <= EXHAUSTIVE
    outcome = search(Replay(noisy({}, 0.01)), small)
    assert set(space.distinct([trial.plan for trial in outcome.trials])) == set(every)


def test_a_hint_is_tried_first():
    times = speeds(0.8)
    best = min(times, key=times.__getitem__)
    replay = Replay(noisy(times, 0.01))
    outcome = search(replay, hint=Choice.of(best), elapsed=lambda: 0.0 if len(replay.calls) == 0 else 0.99)
    assert outcome.trials[1].plan == best or best in [trial.plan for trial in outcome.trials[:3]]


# ---- decisions, the space, the log ----
def trial(seconds, baseline):
    return Trial(space.default_plans(LAYER, 1, MACHINE)[0], CORRECT, tuple(seconds), tuple(baseline), COLD)


def test_faster_and_slower():
    assert is_faster(trial([0.9] * 20, [1.0] * 20))
    assert not is_faster(trial([0.99] * 20, [1.0] * 20))
    assert not is_faster(trial([0.5] * 10 + [1.5] * 10, [1.0] * 20))
    assert is_slower(trial([1.02] * 20, [1.0] * 20))
    assert not is_slower(trial([1.005] * 20, [1.0] * 20))
    assert quartile([5.0, 1.0]) == 1.0


def test_plans_that_make_the_same_tasks_count_once():
    every = space.every_plan(LAYER, 2, MACHINE)
    assert len({space.tasks_of(plan) for plan in every}) == len(every)
    assert every[0] == space.default_plans(LAYER, 2, MACHINE)[0]
    assert len(every) < len(list(planner.space(LAYER, 2, MACHINE)))


def test_the_tiles_tried_are_a_few_of_the_least_estimate():
    start = space.default_plans(LAYER, 1, MACHINE)[0]
    plans = space.tile_plans(start, 1, MACHINE)
    assert start.shape in {plan.shape for plan in plans}
    assert len({plan.shape for plan in plans}) == len(plans) <= space.MOST_TILES


def test_a_line_cut_short_spoils_no_other(tmp_path):
    path = tmp_path / "trials.jsonl"
    one = trial([0.9] * 3, [1.0] * 3)
    append(path, [one, one])
    path.write_text(path.read_text()[:-20])
    append(path, [one])
    good = []
    for line in path.read_text().split("\n"):
        try:
            good.append(json.loads(line))
        except ValueError:
            continue
    assert len(good) == 2
    assert good[0]["status"] == CORRECT


def test_where_threads_share_a_core_nothing_is_searched():
    def measure(plans, rounds, residency, fresh):
        seconds = {plan.threads: 1.0 / (2 - plan.threads % 2) for plan in plans}
        return [Trial(plan, CORRECT, (seconds[plan.threads],) * rounds, (1.0,) * rounds, residency, spread=0.5) for plan in plans]

    outcome = Search(LAYER, 2, MACHINE, COLD, measure, lambda: 0.0).run()
    assert outcome.plan == outcome.default
    assert len(outcome.trials) < 6
