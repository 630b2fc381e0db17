"""A tuning run with a worker that makes its times up, on a clock that they move."""

from __future__ import annotations

import random

import pytest

import fastdw
from fastdw import planner, profile_files
from fastdw.machine import host
from fastdw.problem import Problem
from fastdw.profile import Choice, ProfileError, problem_to_json
from fastdw.tuning.process import WorkerDied
from fastdw.tuning.report import short
from fastdw.tuning.session import SECOND_SHARE, Progress, Session, Settings
from fastdw.tuning.shapes import problem

LAYERS = [problem(text) for text in ("depthwise 28x28x64", "depthwise 14x14x128", "pointwise 14x14x64 out=128", "pool 7x7x64")]


class FakeWorker:
    """Plans take times drawn once for each; the default takes 1.3 ms. Everything advances the clock."""

    def __init__(self, dies_at: int = 0, second_look_noise: float = 1.0):
        self.now, self.compile_seconds, self.compiled, self.layer = 0.0, 0.0, 0, "omp"
        self.random, self.times = random.Random(0), {}
        self.calls, self.dies_at, self.interrupt_at, self.paces = 0, dies_at, 0, [1.0]
        self.process, self.spread = object(), 1.0

    def clock(self) -> float:
        return self.now

    def call(self, operation: str, seconds_to_answer: float = 0, **arguments):
        self.calls += 1
        self.now += 0.01
        if self.calls == self.dies_at:
            raise WorkerDied("the worker died of signal 6")
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        return getattr(self, operation)(**arguments)

    def pace(self):
        return self.paces.pop(0) if len(self.paces) > 1 else self.paces[0]

    def peak(self, threads):
        return 1e11 * threads

    def usual_spread(self):
        return self.spread

    def load(self, problem, threads):
        self.key = repr(problem)
        return {}

    def check(self, choice):
        self.compile_seconds += 0.3
        self.compiled += 1
        self.now += 0.3
        return {"status": "correct"}

    def measure(self, choices, rounds, residency, fresh):
        self.now += 0.0014 * rounds * len(choices)
        seconds = [self.times.setdefault((self.key, repr(choice)), self.random.uniform(1e-3, 2e-3)) for choice in choices]
        seconds[0] = 1.3e-3
        samples = [[one * self.random.lognormvariate(0, 0.01) for _ in range(rounds)] for one in seconds]
        return {"samples": samples, "spread": self.spread}

    def problems(self, network, threads):
        return [[problem_to_json(one), threads] for one in LAYERS]

    def network(self, network, threads, profile, rounds, seconds):
        assert len(profile["entries"]) > 0
        return [[2e-3] * rounds, [1e-3] * rounds]

    def count(self):
        pass

    def end(self):
        return 0


class Told(Progress):
    def __init__(self):
        self.rows, self.ended = [], 0

    def advance(self, row, best_gain, seconds_left):
        self.rows.append((row, best_gain, seconds_left))

    def end(self):
        self.ended += 1


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTDW_PROFILE", str(tmp_path / "profile.json"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "system"))
    fastdw.use_profile(None)
    yield tmp_path / "profile.json"
    monkeypatch.undo()
    fastdw.use_profile(None)


def session(path, budget=60.0, worker=None, **settings) -> Session:
    worker = worker or FakeWorker()
    return Session(Settings(budget, path=path, **settings), Told(), worker, worker.clock)


def asked(*layers: Problem, threads=(1,)):
    return [(layer, count) for layer in layers or LAYERS for count in threads]


def test_a_run_finds_keeps_and_tells(path):
    run = session(path)
    report = run.run([*asked(), *asked(LAYERS[0])], "net", "net")
    assert [row.count for row in report.rows if row.problem == LAYERS[0]] == [2]
    assert len(report.rows) == len(LAYERS)
    assert sum(row.is_tuned for row in report.rows) >= 3
    assert report.gain > 1.1
    assert report.networks[0].ratio == pytest.approx(2.0)
    kept = profile_files.read_own(path)
    assert {entry.key for entry in kept.entries.values()} == {(layer.key, 1) for layer in LAYERS}
    assert report.path == str(path)
    assert run.progress.ended == 1
    assert [left for *_, left in run.progress.rows] == sorted((left for *_, left in run.progress.rows), reverse=True)
    text = str(report)
    for layer in LAYERS:
        assert short(layer) in text
    assert "2.000 ms before, 1.000 ms after, gain 2.000 by pairs" in text
    assert str(path) in text
    assert profile_files.beside(path, profile_files.TRIALS).read_text().count('"status": "correct"') > 20
    fastdw.use_profile(None)
    for row in report.rows:
        assert Choice.of(planner.plan(row.problem, row.threads)) == row.entry.plan


def test_the_budget_does_not_count_compiling_and_ends_the_run(path):
    run = session(path, budget=0.8)
    report = run.run(asked())
    reached = [row for row in report.rows if row.entry]
    assert 0 < len(reached) < len(LAYERS)
    assert [row.note for row in report.rows if not row.entry] == ["not reached within the budget"] * (len(LAYERS) - len(reached))
    assert run.clock() - run.worker.compile_seconds < 2.0


def test_a_short_budget_is_shared_by_all_layers(path):
    layers = [problem(f"pointwise 14x14x{channels} out=128") for channels in range(32, 96, 4)]
    run = session(path, budget=7.0)
    report = run.run(asked(*layers))
    assert all(row.entry for row in report.rows)
    assert run.clock() - run.worker.compile_seconds < 9.0, run.clock() - run.worker.compile_seconds


def test_the_last_layers_take_half_of_the_time_of_the_second_look(path):
    budget, left = 15.0, []

    class Watched(Session):
        def look_again(self):
            left.append(self.seconds_left())
            super().look_again()

    worker = FakeWorker()
    run = Watched(Settings(budget, path=path), Progress(), worker, worker.clock)
    report = run.run(asked(*(problem(f"pointwise 14x14x{channels} out=128") for channels in range(32, 272, 4))))
    assert any(row.note == "not reached within the budget" for row in report.rows)
    assert left[0] == pytest.approx(SECOND_SHARE * budget / 2, abs=0.5)


def test_no_budget_measures_nothing_and_writes_nothing(path):
    worker = FakeWorker()
    report = session(path, 0.0, worker).run(asked(), "net", "net")
    assert worker.calls == 0
    assert not path.exists()
    assert {row.note for row in report.rows} == {"not reached within the budget"}
    assert "0 of 4 layers measured" in str(report)


def test_an_interruption_keeps_what_is_done_and_resume_goes_on(path):
    worker = FakeWorker()
    worker.interrupt_at = 60
    report = session(path, worker=worker).run(asked(), "net", "net")
    assert report.interrupted
    done = {row.problem.key for row in report.rows if row.entry}
    assert 0 < len(done) < len(LAYERS)
    assert {key for key, _ in profile_files.read_own(path).entries} == done
    resumed = session(path, resume=True).run(asked(), "net", "net")
    assert not resumed.interrupted
    assert {row.problem.key for row in resumed.rows if row.note == "measured before"} == done
    assert all(row.entry for row in resumed.rows)


def test_a_worker_that_dies_costs_a_layer_at_most(path):
    for moment in range(3, 300, 41):
        report = session(path, worker=FakeWorker(dies_at=moment)).run(asked())
        assert sum(row.entry is None for row in report.rows) <= 1, moment
        assert str(report)


def test_a_cpu_that_slows_down_is_marked(path):
    worker = FakeWorker()
    worker.paces = [1.0, 1.0, 1.3, 1.0]
    report = session(path, worker=worker).run(asked())
    assert [row.entry.throttled for row in report.rows] == [False, True, False, False]
    assert "(throttled)" in str(report)


def test_a_plan_that_is_not_quicker_a_second_time_is_given_up(path):
    worker = FakeWorker()
    run = session(path, worker=worker)
    first = run.tune

    def tune(wanted, reserve):
        first(wanted, reserve)
        assert any(row.is_tuned for row in run.report.rows)
        worker.times = dict.fromkeys(worker.times, 1.4e-3)

    run.tune = tune
    report = run.run(asked())
    assert not any(row.is_tuned for row in report.rows)
    assert all(entry.plan == entry.default for entry in profile_files.read_own(path).entries.values())


def test_what_cannot_be_kept_is_said_once_and_kept_later(path, monkeypatch):
    real, tries = profile_files.update, []

    def update(where, entries):
        tries.append(len(list(entries)))
        if len(tries) < 3:
            raise ProfileError(f"{where}: it cannot be written (No space left on device)")
        return real(where, entries)

    monkeypatch.setattr(profile_files, "update", update)
    report = session(path).run(asked())
    assert tries[:3] == [1, 2, 3]
    assert {entry.key for entry in profile_files.read_own(path).entries.values()} == {(layer.key, 1) for layer in LAYERS}
    assert not [message for message in report.messages if "not kept" in message]

    monkeypatch.setattr(profile_files, "update", lambda *_: (_ for _ in ()).throw(ProfileError("No space left on device")))
    report = session(path).run(asked())
    assert report.messages == ["not kept: No space left on device"]
    assert report.path == ""
    assert all(row.entry for row in report.rows)


def test_a_clock_that_goes_backwards(path, monkeypatch):
    """The time of day only dates entries: it decides nothing."""
    import fastdw.tuning.session as module

    class Backwards:
        year = 2030

        @classmethod
        def now(cls, zone):
            from datetime import datetime

            cls.year -= 1
            return datetime(cls.year, 1, 1, tzinfo=zone)

    monkeypatch.setattr(module, "datetime", Backwards)
    session(path).run(asked())
    before = profile_files.read_own(path).entries
    session(path).run(asked())
    after = profile_files.read_own(path).entries
    assert before.keys() == after.keys()
    assert all(after[key].measured < before[key].measured for key in before)


def test_a_profile_of_another_machine_is_a_hint(path):
    first = session(path).run(asked(LAYERS[0]))
    hint = profile_files.read_own(path)
    hint.machine["cpu"] = "another"
    run = session(path, hint=hint)
    assert run.hint(LAYERS[0], 1) == first.rows[0].entry.plan
    assert run.hint(LAYERS[1], 1) is None
    assert run.run(asked(LAYERS[0])).rows[0].entry is not None


def test_threads_are_tuned_apart(path):
    report = session(path, threads=(1, 2)).run(asked(LAYERS[2], threads=(1, 2)))
    assert [row.threads for row in report.rows] == [1, 2]
    assert profile_files.read_own(path).entries.keys() == {(LAYERS[2].key, 1), (LAYERS[2].key, 2)}
    assert report.to_json()["rows"][1]["entry"]["layer"] == "omp"
    assert report.machine == host().name


def test_cores_that_others_use_are_told(path):
    worker = FakeWorker()
    worker.spread = 0.1
    report = session(path, worker=worker, threads=(1, 2)).run(asked(LAYERS[2], threads=(1, 2)))
    assert report.messages == ["other programs used the cores: nothing could be learned about more than one thread"]
    assert report.messages[0] in str(report)
    assert not any(row.is_tuned for row in report.rows)
