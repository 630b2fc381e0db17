"""A tuning run: problems one after the other within a budget, each kept in the profile as soon as it is done."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fastdw import planner, profile_files
from fastdw.machine import Machine, host
from fastdw.problem import Problem
from fastdw.profile import COLD, Choice, Entry, Key, Profile, ProfileError, kernel_digest, problem_from_json, problem_to_json
from fastdw.tuning import trial
from fastdw.tuning.process import Bench, WorkerDied, WorkerFailed, WorkerProcess, WorkerSilent
from fastdw.tuning.report import NetworkTimes, Row, TuningReport
from fastdw.tuning.search import Outcome, Search
from fastdw.tuning.timing import summary
from fastdw.tuning.trial import Trial

NETWORK_SHARE = 0.1  # of the budget, for whole networks before and after
SECOND_SHARE = 0.15  # of the budget, for a second look at what was found quicker; half of it where layers would not be reached
SECOND_ROUNDS = 16
NETWORK_ROUNDS = 60
LEAST_SHARE = 0.2  # of a problem's even share of the budget, that it is given in any case
LEAST_SECONDS = 0.05  # of a search: after its default, it looks at a few plans
THROTTLED = 1.15  # times the pace at the beginning
WORKER_ERRORS = (WorkerDied, WorkerFailed, WorkerSilent)


@dataclass
class Settings:
    """path: of the profile; None: nothing is kept. hint: a profile, of another machine perhaps, whose plans are tried first."""

    budget_seconds: float = 60.0
    threads: Sequence[int] = (1,)
    residency: str = COLD
    resume: bool = False
    path: Path | None = None
    hint: Profile | None = None


class Progress:
    """What a run tells while it goes on. Nothing, here."""

    def begin(self, count: int) -> None: ...
    def advance(self, row: Row, best_gain: float, seconds_left: float) -> None: ...
    def end(self) -> None: ...


@dataclass
class Session:
    """tune(problems) measures; report is filled as it goes, so that it is of use after an interruption too."""

    settings: Settings
    progress: Progress = field(default_factory=Progress)
    worker: WorkerProcess = field(default_factory=WorkerProcess)
    clock: Callable[[], float] = time.monotonic
    machine: Machine = field(default_factory=host)

    def __post_init__(self) -> None:
        self.report = TuningReport(self.machine.name, self.settings.residency)
        self.entries: dict[Key, Entry] = {}  # found in this run
        self.unkept: list[Entry] = []
        self.started = self.clock()
        self.begun = self.started  # when measuring began: what comes before is no part of the budget
        self.compiled_before = 0.0
        self.first_pace = 0.0

    # ---- what there is to do ----
    def problems_of(self, network: str) -> list[tuple[Problem, int]]:
        return [
            (problem_from_json(problem), threads)
            for threads in self.settings.threads
            for problem, threads in self.worker.call("problems", network=network, threads=threads)
        ]

    def wanted(self, asked: Sequence[tuple[Problem, int]]) -> list[tuple[Problem, int, int]]:
        """Each problem once a number of threads, with its count: the most work first, and without those that are done already."""
        counts = Counter((problem.key, threads) for problem, threads in asked)
        problems = {(problem.key, threads): problem for problem, threads in asked}
        done = self.done() if self.settings.resume else {}
        self.report.rows += [
            Row(problem, key[1], counts[key], done[key], note="measured before") for key, problem in problems.items() if key in done
        ]
        rest = [key for key in problems if key not in done]
        rest.sort(key=lambda key: -counts[key] * problems[key].multiply_adds)
        return [(problems[key], key[1], counts[key]) for key in rest]

    def done(self) -> dict[Key, Entry]:
        path = self.settings.path
        with suppress(FileNotFoundError):
            entries = profile_files.read_own(path).entries if path else {}
            return {key: entry for key, entry in entries.items() if entry.is_current and self.settings.residency in entry.times}
        return {}

    # ---- doing it ----
    def run(self, asked: Sequence[tuple[Problem, int]], network: str = "", name: str = "") -> TuningReport:
        """Tune problems, then time the network that they are of. An interruption ends it early; what is done is kept."""
        wanted = self.wanted(asked)
        self.progress.begin(len(wanted))
        try:
            if self.settings.budget_seconds > 0:
                self.first_pace = self.worker.call("pace")
                self.measure_peaks()
                self.worker.count()
                self.begun, self.compiled_before = self.clock(), self.worker.compile_seconds
                self.tune(wanted, reserve=NETWORK_SHARE if network else 0.0)
                self.look_again()
                self.measure_peaks()
                if max(self.settings.threads) > 1 and self.worker.call("usual_spread") < trial.WELL_SPREAD:
                    self.report.messages.append("other programs used the cores: nothing could be learned about more than one thread")
                if network:
                    self.time_network(network, name)
        except KeyboardInterrupt:
            self.report.interrupted = True
            self.report.messages.append("interrupted: what was done is kept; fastdw autotune --resume goes on")
        except WORKER_ERRORS as error:
            self.report.messages.append(f"stopped: {error}")
        finally:
            self.progress.end()
            self.finish(wanted)
        return self.report

    def measure_peaks(self) -> None:
        for threads in self.settings.threads:
            self.report.peak_flops[threads] = max(self.report.peak_flops.get(threads, 0.0), self.worker.call("peak", threads=threads))

    def tune(self, wanted: Sequence[tuple[Problem, int, int]], reserve: float) -> None:
        """Each problem gets an even share of what is left, less what problems have taken beyond the time they were given. When
        nothing is left, the rest get the least, as long as half of the second look's time remains."""
        budget, beyond = self.settings.budget_seconds, [0.0]
        for index, (problem, threads, count) in enumerate(wanted):
            left = self.seconds_left() - reserve * budget
            if left <= SECOND_SHARE * budget / 2:
                break
            share = (left - SECOND_SHARE * budget) / (len(wanted) - index)
            given = max(LEAST_SECONDS, LEAST_SHARE * share, share - statistics.fmean(beyond))
            row = self.tune_one(problem, threads, count, given)
            beyond.append(max(0.0, left - (self.seconds_left() - reserve * budget) - given))
            self.report.rows.append(row)
            if row.entry:
                self.keep(row.entry)
            best = max((self.report.gain_of(row) for row in self.report.rows if row.entry), default=1.0)
            self.progress.advance(row, best, self.seconds_left())

    def tune_one(self, problem: Problem, threads: int, count: int, seconds: float) -> Row:
        try:
            bench = Bench(self.worker, problem_to_json(problem), threads)
            if bench.untunable:
                return Row(problem, threads, count, note=bench.untunable)
            elapsed = self.stopwatch(seconds)
            outcome = Search(
                problem, threads, self.machine, self.settings.residency, bench.measure, elapsed, self.hint(problem, threads)
            ).run()
            pace = self.worker.call("pace")
        except WORKER_ERRORS as error:
            return Row(problem, threads, count, note=str(error))
        finally:
            self.worker.count()
        self.log(outcome.trials)
        faults = [one for one in outcome.trials if one.status not in (trial.CORRECT, trial.CONSTRAINT)]
        said = tuple(dict.fromkeys(f"{one.plan.problem.key}: {Choice.of(one.plan)}: {one.status}: {one.note}" for one in faults))
        entry = self.entry(outcome, threads, pace > THROTTLED * self.first_pace) if len(outcome.last) == 2 else None
        return Row(problem, threads, count, entry, len(outcome.trials), said, "" if entry else "the default could not be timed")

    def look_again(self) -> None:
        """Measure every plan that was found quicker once more, some time later: one that is not quicker then is given up."""
        for index, row in enumerate(self.report.rows):
            if row.entry is None or not row.is_tuned or row.entry.key not in self.entries:
                continue
            try:
                if not self.is_confirmed(row.entry):
                    entry = replace(row.entry, plan=row.entry.default, times=row.entry.default_times, runner_up=row.entry.plan)
                    self.report.rows[index] = replace(row, entry=entry)
                    self.keep(entry)
            except WORKER_ERRORS as error:
                self.report.messages.append(f"{row.problem.key}: not looked at again: {error}")

    def is_confirmed(self, entry: Entry) -> bool:
        plans = [planner.adapt(choice, entry.problem, entry.threads, self.machine) for choice in (entry.default, entry.plan)]
        assert all(plans)
        bench = Bench(self.worker, problem_to_json(entry.problem), entry.threads)
        trials = {name: bench.measure(plans, SECOND_ROUNDS, name, True)[1] for name in entry.times}  # type: ignore[arg-type]
        searched = trials.pop(self.settings.residency)
        return searched.status == trial.CORRECT and trial.is_faster(searched, 1.0) and not any(map(trial.is_slower, trials.values()))

    def stopwatch(self, seconds: float) -> Callable[[], float]:
        """The share of some seconds that is over; what is spent compiling does not count."""
        start, compiled = self.clock(), self.worker.compile_seconds

        def elapsed() -> float:
            self.worker.count()
            return (self.clock() - start - (self.worker.compile_seconds - compiled)) / seconds

        return elapsed

    def seconds_left(self) -> float:
        compiling = self.worker.compile_seconds - self.compiled_before
        return self.settings.budget_seconds + compiling - (self.clock() - self.begun)

    def hint(self, problem: Problem, threads: int) -> Choice | None:
        entries = self.settings.hint.entries if self.settings.hint else {}
        entry = entries.get((problem.key, threads)) or entries.get((problem.key, 1))
        return entry.plan if entry else None

    def entry(self, outcome: Outcome, threads: int, throttled: bool) -> Entry:
        return Entry(
            problem=outcome.plan.problem,
            threads=threads,
            plan=Choice.of(outcome.plan),
            default=Choice.of(outcome.default),
            times={residency: summary(one.seconds) for residency, one in outcome.last.items()},
            default_times={residency: summary(one.baseline) for residency, one in outcome.last.items()},
            kernels=kernel_digest(),
            runner_up=Choice.of(outcome.runner_up) if outcome.runner_up else None,
            layer=self.worker.layer,
            throttled=throttled,
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    # ---- keeping it ----
    def keep(self, entry: Entry) -> None:
        """In the profile, with what could not be kept before."""
        self.entries[entry.key] = entry
        if self.settings.path is None:
            return
        self.unkept.append(entry)
        try:
            if aside := profile_files.update(self.settings.path, self.unkept):
                self.report.messages.append(f"the profile was damaged: {aside}")
            self.unkept = []
        except ProfileError as error:
            if (message := f"not kept: {error}") not in self.report.messages:
                self.report.messages.append(message)

    def log(self, trials: Sequence[Trial]) -> None:
        if self.settings.path is not None:
            with suppress(OSError):  # it is of use only to those who look into the tuner
                trial.append(profile_files.beside(self.settings.path, profile_files.TRIALS), trials)

    def finish(self, wanted: Sequence[tuple[Problem, int, int]]) -> None:
        done = {(row.problem.key, row.threads) for row in self.report.rows}
        missing = [Row(*one, note="not reached within the budget") for one in wanted if (one[0].key, one[1]) not in done]
        self.report.rows += missing
        if not self.unkept and self.entries and self.settings.path:
            self.report.path = str(self.settings.path)
            self.report.messages = [message for message in self.report.messages if not message.startswith("not kept")]
        self.worker.count()
        self.report.compiled, self.report.compile_seconds = self.worker.compiled, self.worker.compile_seconds
        self.report.seconds = self.clock() - self.started
        self.worker.end()

    # ---- whole networks ----
    def time_network(self, network: str, name: str) -> None:
        """Before and after: the plans of no profile, and those of this run and, resumed, of those before it."""
        entries = [row.entry for row in self.report.rows if row.entry]
        if not entries:
            return
        profile = Profile(self.machine.identity, entries).to_json()
        for threads in self.settings.threads:
            seconds = max(1.0, NETWORK_SHARE * self.settings.budget_seconds / len(self.settings.threads))
            try:
                before, after = self.worker.call(
                    "network", network=network, threads=threads, profile=profile, rounds=NETWORK_ROUNDS, seconds=seconds
                )
            except WORKER_ERRORS as error:
                self.report.messages.append(f"{name}: {error}")
                continue
            ratio = summary([one / other for one, other in zip(before, after, strict=True)]).median
            self.report.networks.append(NetworkTimes(name, threads, summary(before), summary(after), ratio))
