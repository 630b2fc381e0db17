"""Measured plans of one machine: what a profile holds, how it is written as JSON, and what it says about a problem.

    {"schema": 1, "machine": {"cpu": ..., ...}, "entries": [{"problem": {...}, "threads": 2, "plan": {...}, ...}, ...]}

A profile can make a call slower, never wrong: a plan from it is taken only where a kernel of today offers it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fastdw.kernels.spec import Plan
from fastdw.problem import DEPTHWISE, Activation, Problem
from fastdw.tile.activations import CLAMP, FUNCTIONS

SCHEMA = 1
WARM, COLD = RESIDENCIES = ("warm", "cold")
SIZES = ("batch", "height", "width", "channels", "out_channels")  # what may differ between a problem and its nearest
IRRELEVANT = ("activation", "padding", "dense_pixels")  # to which of two problems is nearer
FARTHEST = 1.0  # doublings, summed over SIZES, up to which a problem counts as near
Key = tuple[str, int]


class ProfileError(ValueError):
    """A profile that cannot be used, and why."""


class Damaged(ProfileError):
    """What should be a profile holds nothing that could be kept."""


@dataclass(frozen=True)
class Choice:
    """A plan without its problem; `tile` as TileShape prints it."""

    kernel: str
    tile: str
    rows: int
    channels: int
    threads: int

    @classmethod
    def of(cls, plan: Plan) -> Choice:
        return cls(plan.kernel, str(plan.shape), plan.blocking.rows, plan.blocking.channels, plan.threads)

    def __str__(self) -> str:
        return f"{self.kernel} {self.tile} {self.rows}x{self.channels}, {self.threads}t"


@dataclass(frozen=True)
class Times:
    """Seconds of one call: the least, the median, and the spread (the ninth decile less the first)."""

    minimum: float
    median: float
    spread: float


@dataclass(frozen=True)
class Entry:
    """The best plan found for a problem and a number of threads, with its times and those of the default in the same run."""

    problem: Problem
    threads: int  # that a call asks for; the plan may use fewer
    plan: Choice
    default: Choice
    times: dict[str, Times]  # by residency
    default_times: dict[str, Times]
    kernels: str  # kernel_digest() when it was measured
    runner_up: Choice | None = None
    layer: str = ""  # Numba's threading layer, where more than one thread was measured
    throttled: bool = False  # the CPU ran slower at the end of the measurement than at its beginning
    measured: str = ""  # when; for people

    @property
    def key(self) -> Key:
        return self.problem.key, self.threads

    @property
    def gain(self) -> float:
        """How many times faster than the default, at the least over the residencies measured."""
        return min((self.default_times[name].median / self.times[name].median for name in self.times), default=1.0)

    @property
    def is_current(self) -> bool:
        return self.kernels == kernel_digest()


@cache
def kernel_digest() -> str:
    """Of the sources of every kernel and tile operation: a plan measured with others proves nothing."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in ("tile", "kernels") for path in (Path(__file__).parent / folder).glob("*.py")):
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Profile:
    """Entries by problem and threads, of one machine. dropped: what was wrong with those that could not be read."""

    def __init__(self, machine: dict[str, object], entries: Iterable[Entry] = (), dropped: Iterable[str] = ()):
        self.machine = machine
        self.entries: dict[Key, Entry] = {}
        self.dropped = list(dropped)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """An entry for the same problem and threads is replaced."""
        self.entries[entry.key] = entry

    def merge(self, other: Profile) -> None:
        """Takes every entry of another; a current one is not replaced by one measured with other kernels."""
        for entry in other.entries.values():
            if entry.is_current or entry.key not in self.entries or not self.entries[entry.key].is_current:
                self.add(entry)

    def exact(self, problem: Problem, threads: int) -> Entry | None:
        entry = self.entries.get((problem.key, threads))
        return entry if entry and entry.is_current else None

    def nearest(self, problem: Problem, threads: int) -> Entry | None:
        """The entry of a like problem whose sizes are least far, if any is near."""
        near = [
            (distance(entry.problem, problem), entry) for entry in self.entries.values() if entry.threads == threads and entry.is_current
        ]
        least, entry = min(near, key=lambda pair: pair[0], default=(math.inf, None))
        return entry if least <= FARTHEST else None

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "machine": self.machine, "entries": [entry_to_json(entry) for entry in self.entries.values()]}

    @classmethod
    def from_json(cls, document: Any) -> Profile:
        """
        Raises:
          ProfileError: of a newer schema. Damaged: not a profile. An entry that is not one is dropped.
        """
        if not isinstance(document, dict) or type(document.get("schema")) is not int:
            raise Damaged("it is no profile: it states no schema")
        if document["schema"] > SCHEMA:
            raise ProfileError(f"its schema {document['schema']} is newer than this fastdw's, {SCHEMA}")
        machine, listed = document.get("machine"), document.get("entries")
        if document["schema"] < SCHEMA or not isinstance(machine, dict) or not isinstance(listed, list):
            raise Damaged("it is no profile: machine or entries are missing")
        entries, dropped = [], []
        for number, fields_of_one in enumerate(listed, 1):
            try:
                entries.append(entry_from_json(fields_of_one))
            except Exception as error:  # whatever a wrong value leads to
                dropped.append(f"entry {number}: {type(error).__name__}: {error}")
        return cls(machine, entries, dropped)


def distance(one: Problem, other: Problem) -> float:
    """Doublings between the sizes of two problems, summed; infinite where they differ in kind, kernel, stride, multiplier or the like."""
    for field in fields(Problem):
        if field.name not in (*SIZES, *IRRELEVANT) and getattr(one, field.name) != getattr(other, field.name):
            return math.inf
    if one.kind == DEPTHWISE and one.multiplier != other.multiplier:
        return math.inf
    return sum(abs(math.log2(getattr(one, name) / getattr(other, name))) for name in SIZES)


def difference(machine: dict[str, object], other: dict[str, object]) -> str:
    """In what two identities differ, in words; empty where they agree."""
    names = [name for name in {**machine, **other} if machine.get(name) != other.get(name)]
    return ", ".join(f"{name} {other.get(name)!r} instead of {machine.get(name)!r}" for name in names)


# ---- entries as JSON ----
def entry_to_json(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"problem": problem_to_json(entry.problem)}


def problem_to_json(problem: Problem) -> dict[str, Any]:
    document = asdict(problem)
    document["activation"] = problem.activation.name
    return document


def entry_from_json(document: dict[str, Any]) -> Entry:
    times = {name: {kind: Times(**seconds) for kind, seconds in document[name].items()} for name in ("times", "default_times")}
    runner_up = document["runner_up"] and Choice(**document["runner_up"])
    plans = {name: Choice(**document[name]) for name in ("plan", "default")} | {"runner_up": runner_up}
    entry = Entry(**(document | times | plans | {"problem": problem_from_json(document["problem"])}))
    choices = [plan for plan in (entry.plan, entry.default, entry.runner_up) if plan]
    _check(all(isinstance(text, str) for choice in choices for text in (choice.kernel, choice.tile)), "a plan names no kernel")
    _check(
        all(_is_count(number) for choice in choices for number in (choice.rows, choice.channels, choice.threads)), "a blocking is no count"
    )
    _check(_is_count(entry.threads), "threads is no count")
    _check(isinstance(entry.throttled, bool) and all(isinstance(x, str) for x in (entry.kernels, entry.layer, entry.measured)), "its facts")
    _check(entry.times.keys() == entry.default_times.keys() and entry.times.keys() <= set(RESIDENCIES), "its residencies")
    measured = [times for by_residency in (entry.times, entry.default_times) for times in by_residency.values()]
    seconds = [number for times in measured for number in (times.minimum, times.median, times.spread)]
    _check(all(type(number) in (int, float) and 0 <= number < math.inf for number in seconds), "a time is no number of seconds")
    _check(all(times.minimum > 0 and times.median > 0 for times in measured), "a time of zero")
    return entry


def problem_from_json(document: dict[str, Any]) -> Problem:
    problem = Problem(**{name: _frozen(value) for name, value in document.items()} | {"activation": Activation(document["activation"])})
    _check(problem.activation.name == CLAMP or problem.activation.name in FUNCTIONS, "its activation")
    _check(isinstance(problem.kind, str) and isinstance(problem.dense_pixels, bool), "its kind")
    _check(all(_is_count(getattr(problem, name)) for name in SIZES), "a size is no count")
    _check(min(problem.out_shape) > 0 and bool(problem.key) and problem.multiply_adds > 0, "a problem without output")
    hash(problem)
    return problem


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 1 << 48


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
