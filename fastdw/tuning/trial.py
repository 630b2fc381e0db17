"""A trial: one candidate plan, what became of it, and its times; a log of trials is one JSON object a line."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fastdw.kernels.spec import Plan
from fastdw.profile import Choice

CORRECT = "correct"
CONSTRAINT = "constraint"  # no kernel of this machine offers the plan
COMPILE = "compile"  # the compiler raised an error
RUNTIME = "runtime"  # the process that ran it died
INCORRECT = "incorrect"  # other bits than the default plan's
TIMEOUT = "timeout"

LEAST_GAIN = 1.015  # times faster than the default: less is not worth an entry, nor told from noise in a second
LEAST_GAIN_BY_THREADS = 1.1  # where a plan uses another number of threads: how quick threads meet changes with where they run
LEAST_WINS = 0.8  # of the pairs of samples
WELL_SPREAD = 0.8  # of what threads bring that have cores of their own: with less, one thread looks quicker than it is
SLOWER = 0.99  # where not searched for, a candidate must not be slower than this


@dataclass(frozen=True)
class Trial:
    """Seconds of one call, sample by sample; empty where the plan was not timed. baseline: the default's in the same rounds."""

    plan: Plan
    status: str
    seconds: tuple[float, ...] = ()
    baseline: tuple[float, ...] = ()
    residency: str = ""
    note: str = ""
    spread: float = 1.0  # how well its threads were spread over cores

    @property
    def score(self) -> float:
        """Time relative to the default's, by the lower quartiles: what the system does beside does not count."""
        return quartile(self.seconds) / quartile(self.baseline) if self.seconds else float("inf")

    @property
    def gain(self) -> float:
        """Time of the default relative to this: by the lower quartiles or by the median over pairs, whichever is less."""
        return min(1 / self.score, statistics.median(slow / fast for slow, fast in zip(self.baseline, self.seconds, strict=True)))

    def to_json(self) -> dict:
        facts = {"problem": self.plan.problem.key, "plan": asdict(Choice.of(self.plan)), "status": self.status}
        samples = {"residency": self.residency, "seconds": self.seconds, "baseline": self.baseline} if self.seconds else {}
        return facts | samples | ({"note": self.note} if self.note else {})


def quartile(seconds: Sequence[float]) -> float:
    return min(seconds) if len(seconds) < 3 else statistics.quantiles(seconds, n=4, method="inclusive")[0]


def is_faster(trial: Trial, least_gain: float = LEAST_GAIN) -> bool:
    """Than the default, beyond the noise: in most pairs, in the middle and at the lower quartile, its threads on cores of their own."""
    wins = sum(slow > fast for slow, fast in zip(trial.baseline, trial.seconds, strict=True))
    return wins >= LEAST_WINS * len(trial.seconds) and trial.gain >= least_gain and trial.spread >= WELL_SPREAD


def is_slower(trial: Trial) -> bool:
    """Than the default, by a little more than nothing."""
    return trial.gain < SLOWER


def append(path: Path, trials: Sequence[Trial]) -> None:
    """One line a trial. A line that a killed process cut short spoils no other."""
    with open(path, "a") as file:
        file.write("".join(f"\n{json.dumps(trial.to_json())}" for trial in trials))
