"""What a tuning run has found: a row for each problem and number of threads, and whole networks before and after."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastdw.columns import columns
from fastdw.problem import Problem
from fastdw.profile import Entry, Times, entry_to_json, problem_to_json


@dataclass(frozen=True)
class Row:
    """entry is None where nothing was found out, and note says why."""

    problem: Problem
    threads: int
    count: int  # how often the problem occurs in what was tuned
    entry: Entry | None = None
    n_trials: int = 0
    faults: tuple[str, ...] = ()  # trials that were not correct
    note: str = ""

    @property
    def is_tuned(self) -> bool:
        """Whether something quicker than the default was found."""
        return self.entry is not None and self.entry.plan != self.entry.default


@dataclass(frozen=True)
class NetworkTimes:
    name: str
    threads: int
    before: Times
    after: Times
    ratio: float  # of before to after: the median over pairs of runs


@dataclass
class TuningReport:
    """What autotune found: str(report) is a table, to_json() everything.

    rows: one a problem and number of threads; networks: times of whole networks before and after.
    compiled, compile_seconds: kernels, and how long they took; seconds: in all. path: of the profile. messages: what else was found.
    interrupted: whether it was stopped before the end.
    """

    machine: str
    residency: str
    rows: list[Row] = field(default_factory=list)
    networks: list[NetworkTimes] = field(default_factory=list)
    peak_flops: dict[int, float] = field(default_factory=dict)  # by threads
    compiled: int = 0
    compile_seconds: float = 0.0
    seconds: float = 0.0
    path: str = ""
    messages: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def gain(self) -> float:
        """The geometric mean over the rows of the default's time to the tuned plan's, where it was searched."""
        gains = [self.gain_of(row) for row in self.rows if row.entry]
        return math.exp(statistics.fmean(math.log(gain) for gain in gains)) if gains else 1.0

    def gain_of(self, row: Row) -> float:
        assert row.entry is not None
        return row.entry.default_times[self.residency].median / row.entry.times[self.residency].median

    def table(self) -> list[Sequence[str]]:
        """Headings, then a row a problem: what, how often, threads, default and tuned microseconds, gain, GFLOP/s, % of peak, plan."""
        lines: list[Sequence[str]] = [("layer", "plan", "n", "threads", "default us", "tuned us", "gain", "GFLOP/s", "% peak")]
        for row in self.rows:
            if row.entry is None:
                lines.append((short(row.problem), row.note, f"{row.count}", f"{row.threads}", "", "", "", "", ""))
                continue
            default, tuned = row.entry.default_times[self.residency].median, row.entry.times[self.residency].median
            rate = 2 * row.problem.multiply_adds / tuned
            peak = self.peak_flops.get(row.threads)
            gain = f"{default / tuned:.2f}" if row.is_tuned else "="
            share = f"{100 * rate / peak:.0f}" if peak else ""
            times = (f"{1e6 * default:.1f}", f"{1e6 * tuned:.1f}")
            plan = str(row.entry.plan) + (" (throttled)" if row.entry.throttled else "")
            lines.append((short(row.problem), plan, f"{row.count}", f"{row.threads}", *times, gain, f"{1e-9 * rate:.1f}", share))
        return lines

    def summary(self) -> list[str]:
        tuned = sum(row.is_tuned for row in self.rows)
        done = sum(row.entry is not None for row in self.rows)
        lines = [
            f"{done} of {len(self.rows)} layers measured, {self.residency}; {tuned} got a plan quicker than the default, "
            f"{done - tuned} keep it; geometric mean of gains {self.gain:.3f}"
        ]
        for network in self.networks:
            threads = f"{network.threads} thread{'s' * (network.threads > 1)}"
            before, after = 1e3 * network.before.median, 1e3 * network.after.median
            lines.append(f"{network.name}, {threads}: {before:.3f} ms before, {after:.3f} ms after, gain {network.ratio:.3f} by pairs")
        lines.append(f"{self.seconds:.1f} s in all, {self.compiled} kernels compiled in {self.compile_seconds:.1f} s")
        faults = [fault for row in self.rows for fault in row.faults]
        lines += [f"warning: {fault}" for fault in faults]
        return [*lines, *self.messages, *([f"kept in {self.path}"] if self.path else [])]

    def __str__(self) -> str:
        title = f"{self.machine}; times of a call, {self.residency}; '=' where the default is kept"
        return "\n".join([title, *columns(self.table(), n_text_columns=2), *self.summary()])

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "problem": problem_to_json(row.problem),
                "key": row.problem.key,
                "threads": row.threads,
                "count": row.count,
                "trials": row.n_trials,
                "faults": list(row.faults),
                "note": row.note,
                "gain": self.gain_of(row) if row.entry else None,
                "entry": entry_to_json(row.entry) if row.entry else None,
            }
            for row in self.rows
        ]
        names = ("machine", "residency", "compiled", "compile_seconds", "seconds", "path", "messages", "interrupted", "gain")
        networks = [vars(network) | {"before": vars(network.before), "after": vars(network.after)} for network in self.networks]
        return {name: getattr(self, name) for name in names} | {"peak_flops": self.peak_flops, "networks": networks, "rows": rows}


def short(problem: Problem) -> str:
    return problem.key.removeprefix("f32_").replace("_n1_", " ").replace("_", " ")
