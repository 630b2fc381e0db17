"""What tuning brings, and whether it keeps its promises. Plans are measured in turn with what they are compared with.

    python -m bench.tuning regret [--skip N] [--layers N]   the tuner's plans against an exhaustive search of the same space
    python -m bench.tuning record --file FILE               the recorded trials that the tests of the search replay

All take [--threads N] [--residency cold|warm]. "cold" is as the tuner means it: weights from memory, images from a ring
of twice the second level of cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from math import exp, log
from pathlib import Path

from fastdw import planner
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.profile import RESIDENCIES, Choice, problem_to_json
from fastdw.tuning import space
from fastdw.tuning.process import Bench, WorkerProcess
from fastdw.tuning.search import Search
from fastdw.tuning.shapes import problem
from fastdw.tuning.trial import CORRECT, Trial

# of the usual networks: strides, deep and shallow, small and large images, a stem, a classifier
LAYERS = (
    "depthwise 112x112x32",
    "depthwise 56x56x144 stride=2",
    "depthwise 28x28x192",
    "depthwise 14x14x576",
    "depthwise 7x7x960",
    "pointwise 56x56x24 out=144",
    "pointwise 14x14x96 out=576",
    "pointwise 7x7x160 out=960",
    "conv 224x224x3 out=32 stride=2",
    "dense 1280 out=1000",
)
LOOK, ROUNDS, MOST = 4, 40, 12
NOISE_ROUNDS = 40


def geometric_mean(values: Sequence[float]) -> float:
    return exp(statistics.fmean(map(log, values)))


def ratio(trial: Trial) -> float:
    """Of the times of the first plan to this one's: the median over pairs."""
    return statistics.median(first / this for first, this in zip(trial.baseline, trial.seconds, strict=True))


# ---- recorded trials, for the tests ----
def record(options: argparse.Namespace) -> None:
    """Samples of every plan of a few spaces, in nanoseconds, as the tests of the search replay them."""
    machine = host()
    facts = {"name": machine.name, "architecture": machine.architecture, "features": sorted(machine.features & RECORDED_FEATURES)}
    facts |= {"cores": machine.cores, "l1_bytes": machine.l1_bytes, "l2_bytes": machine.l2_bytes}
    recorded = {}
    with WorkerProcess() as worker:
        for text in RECORDED:
            wanted = problem(text)
            bench = Bench(worker, problem_to_json(wanted), 1)
            default, *others = space.every_plan(wanted, 1, machine)
            samples: dict[str, list[list[int]]] = {}
            for first in range(0, len(others), MOST):
                for trial in bench.measure([default, *others[first : first + MOST]], RECORDED_ROUNDS, "cold", True)[1:]:
                    pairs = zip(trial.seconds, trial.baseline, strict=True)
                    samples[str(Choice.of(trial.plan))] = [[round(1e9 * seconds) for seconds in pair] for pair in pairs]
            recorded[text] = samples
    options.file.write_text(json.dumps({"machine": facts, "nanoseconds": recorded}, separators=(",", ":")) + "\n")


RECORDED = ("depthwise 14x14x576", "pointwise 7x7x160 out=960")
RECORDED_ROUNDS = 8
RECORDED_FEATURES = {"sse2", "avx2", "fma", "avx512f", "avx512vl", "asimd"}


# ---- regret ----
def regret(options: argparse.Namespace) -> None:
    print(f"threads {options.threads}, {options.residency}")
    print(f"{'layer':36} {'plans':>5} {'trials':>6} {'seconds':>7} {'gain':>6} {'best':>6} {'regret':>6}")
    found = []
    with WorkerProcess() as worker:
        for text in LAYERS[options.skip : options.skip + options.layers]:
            found.append(regret_of(worker, text, options.threads, options.residency))
    print(f"geometric mean of regrets {geometric_mean(found):.4f}, the largest {max(found):.4f}")


def regret_of(worker: WorkerProcess, text: str, threads: int, residency: str) -> float:
    """Time of the tuned plan relative to that of the best of all plans, both measured in turn."""
    wanted = problem(text)
    bench = Bench(worker, problem_to_json(wanted), threads)
    every = space.distinct([*space.default_plans(wanted, threads, host()), *planner.space(wanted, threads, host())])
    for plan in every:
        bench.check(plan)  # compiled before anything is timed
    start = time.monotonic()
    outcome = Search(wanted, threads, host(), residency, bench.measure, lambda: (time.monotonic() - start) / 3).run()
    seconds = time.monotonic() - start
    default = every[0]
    best = [default]
    for count, rounds, kept in ((len(every), LOOK, 4 * MOST), (4 * MOST, 4 * LOOK, MOST), (MOST, ROUNDS, 1)):
        best = best_of(bench, default, every if count == len(every) else best, rounds, residency, kept)
    tuned, gain = (against(bench, plan, best[0], residency) for plan in (outcome.plan, default))
    counts = f"{len(every):5} {len(outcome.trials):6} {seconds:7.2f}"
    print(f"{text:36} {counts} {gain / tuned:6.3f} {gain:6.3f} {tuned:6.3f}  {words(outcome.plan)} | {words(best[0])}", flush=True)
    return tuned


def best_of(bench: Bench, default: Plan, plans: Sequence[Plan], rounds: int, residency: str, kept: int) -> list[Plan]:
    trials = []
    for first in range(0, len(plans), 12):
        trials += bench.measure([default, *plans[first : first + 12]], rounds, residency, True)[1:]
    trials = [trial for trial in trials if trial.status == CORRECT]
    return [trial.plan for trial in sorted(trials, key=lambda trial: trial.score)[:kept]]


def against(bench: Bench, plan: Plan, other: Plan, residency: str) -> float:
    """How many times the time of another plan a plan takes."""
    if plan == other:
        return 1.0
    return statistics.median(ratio(bench.measure([plan, other], ROUNDS // 2, residency, True)[1]) for _ in range(3))


def words(plan: Plan) -> str:
    return f"{plan.shape} {plan.blocking.rows}x{plan.blocking.channels} {plan.threads}t"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["record", "regret"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--residency", choices=RESIDENCIES, default="cold")
    parser.add_argument("--layers", type=int, default=len(LAYERS))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args()
    {"record": record, "regret": regret}[options.what](options)


if __name__ == "__main__":
    main()
