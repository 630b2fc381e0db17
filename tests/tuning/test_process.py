"""The worker's process: what it answers, and what is left when it dies, hangs or talks nonsense."""

from __future__ import annotations

import sys
import time

import pytest

from fastdw import planner
from fastdw.machine import host
from fastdw.profile import COLD, WARM, Choice, problem_from_json, problem_to_json
from fastdw.tuning.process import Bench, WorkerDied, WorkerFailed, WorkerProcess, WorkerSilent
from fastdw.tuning.shapes import problem
from fastdw.tuning.trial import CONSTRAINT, CORRECT, INCORRECT, RUNTIME, TIMEOUT

LAYER = problem("depthwise 14x14x32")
# a worker whose check of a plan does what the plan's number of rows says; all else is done by the real one
FAULTY = """
import json, os, sys, time
sys.path[:] = json.loads(sys.argv[1])
import numpy as np
from fastdw.tuning import worker
real = worker.Worker.check
def check(self, choice):
    if choice["rows"] == 14: os.abort()
    if choice["rows"] == 8: time.sleep(60)
    if choice["rows"] == 4: raise MemoryError("no room")
    if choice["rows"] == 2: self.expected = self.expected + np.uint32(choice["rows"] == 2)
    answer = real(self, choice)
    if choice["rows"] == 2: self.expected = self.expected - np.uint32(1)
    return answer
worker.Worker.check = check
worker.serve()
"""


@pytest.fixture(scope="module")
def worker():
    with WorkerProcess() as worker:
        yield worker


def python(code: str) -> list[str]:
    import json

    return [sys.executable, "-c", code, json.dumps(sys.path)]


def plans():
    return list(planner.space(LAYER, 1, host()))


def test_plans_are_checked_and_timed(worker):
    bench = Bench(worker, problem_to_json(LAYER), 1)
    default = planner.default_plan(LAYER, 1, host())
    some = [plan for plan in plans() if plan.shape == default.shape][:2]
    for residency in (WARM, COLD):
        trials = bench.measure([default, *some], 3, residency, True)
        assert [trial.status for trial in trials] == [CORRECT] * 3
        assert all(len(trial.seconds) == 3 and 0 < min(trial.seconds) < 1 for trial in trials)
        assert trials[1].baseline == trials[0].seconds
        assert trials[0].score == 1


def test_a_plan_that_no_kernel_offers(worker):
    worker.call("load", problem=problem_to_json(LAYER), threads=1)
    choice = vars(Choice("depthwise", "9x9x9x16_3t1s", 1, 1, 1))
    assert worker.call("check", choice=choice)["status"] == CONSTRAINT


def test_an_error_is_told_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerFailed, match=r"^load: KeyError: "):
        worker.call("load", problem={"kind": "depthwise"}, threads=1)
    assert worker.call("pace") > 0
    untunable = problem_to_json(LAYER) | {"kind": "wavelet"}
    assert "not tuned" in worker.call("load", problem=untunable, threads=1)["untunable"]


def test_compilations_are_counted_over_processes(worker):
    worker.count()
    before = worker.compiled
    assert before >= 0
    worker.end()
    worker.count()
    assert worker.compiled == before


def test_a_candidate_that_kills_hangs_raises_or_is_wrong(monkeypatch):
    monkeypatch.setattr("fastdw.tuning.process.CHECK_SECONDS", 5)
    expected = {14: RUNTIME, 8: TIMEOUT, 4: RUNTIME, 2: INCORRECT}
    offered = plans()
    tile = max(
        (plan.shape for plan in offered),
        key=lambda shape: len({plan.blocking.rows for plan in offered if plan.shape == shape} & {*expected}),
    )
    by_rows = {plan.blocking.rows: plan for plan in offered if plan.shape == tile}
    faulty = [by_rows[rows] for rows in expected if rows in by_rows]
    assert len(faulty) >= 3
    default = next(plan for plan in offered if plan.blocking.rows not in expected)
    with WorkerProcess(python(FAULTY)) as worker:
        bench = Bench(worker, problem_to_json(LAYER), 1)
        trials = bench.measure([default, *faulty], 2, WARM, True)
    assert [trial.status for trial in trials] == [CORRECT, *(expected[plan.blocking.rows] for plan in faulty)]
    assert all(trial.note for trial in trials[1:])
    assert len(trials[0].seconds) == 2


def test_a_worker_that_never_starts_or_says_nonsense():
    with WorkerProcess([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) as worker, pytest.raises(WorkerDied, match="signal 9"):
        worker.call("pace")
    with WorkerProcess([sys.executable, "-c", "print('hello'); input()"]) as worker, pytest.raises(WorkerDied):
        worker.call("pace")
    with WorkerProcess([sys.executable, "-c", "import time; time.sleep(60)"]) as worker:
        start = time.monotonic()
        with pytest.raises(WorkerSilent):
            worker.call("pace", 0.2)
        assert worker.process is None
    assert time.monotonic() - start < 10


def test_a_worker_ends_with_the_one_who_asked():
    worker = WorkerProcess()
    worker.call("pace")
    process = worker.process
    process.stdin.close()
    assert process.wait(timeout=20) == 0
    process.stdout.close()
    worker.process = None


def test_problems_of_a_network_come_as_often_as_it_has_them(worker):
    asked = [problem_from_json(one) for one, _ in worker.call("problems", network="mobilenet_v1", threads=1)]
    assert asked.count(problem("depthwise 14x14x512")) == 5
    assert asked.count(problem("pointwise 7x7x512 out=1024")) == 1
