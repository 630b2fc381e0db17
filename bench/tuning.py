"""What tuning brings, and whether it keeps its promises. Plans are measured in turn with what they are compared with.

    python -m bench.tuning verify --profiles FILE,...       tuned plans measured again beside the defaults, cold and warm
    python -m bench.tuning regret [--skip N] [--layers N]   the tuner's plans against an exhaustive search of the same space
    python -m bench.tuning tiles [--skip N] [--layers N]    default tiles of depthwise layers against all others, blocked alike
    python -m bench.tuning record --file FILE               the recorded trials that the tests of the search replay

All but the first take [--threads N] [--residency cold|warm], the first two [--json FILE]. "cold" is as the tuner means it:
weights from memory, images from a ring of twice the second level of cache.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

from bench import environment
from fastdw import planner, profile_files
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.problem import DEPTHWISE, NO_ACTIVATION, Problem
from fastdw.profile import RESIDENCIES, Choice, Entry, problem_from_json, problem_to_json
from fastdw.tuning import space
from fastdw.tuning.process import Bench, WorkerProcess
from fastdw.tuning.search import Search
from fastdw.tuning.shapes import problem
from fastdw.tuning.trial import CORRECT

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
LEAST_DIFFERENCE = 0.01


def median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


# ---- recorded trials, for the tests ----
def record(options: argparse.Namespace) -> None:
    """Samples of every plan of a few spaces beside the default's, in nanoseconds, as the tests of the search replay them."""
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
            recorded[text] = {"default": str(Choice.of(default)), "plans": samples}
    options.file.write_text(json.dumps({"machine": facts, "nanoseconds": recorded}, separators=(",", ":")) + "\n")


RECORDED = ("depthwise 14x14x576", "pointwise 7x7x160 out=960")
RECORDED_ROUNDS = 8
RECORDED_FEATURES = {"sse2", "avx2", "fma", "avx512f", "avx512vl", "asimd"}


# ---- never slower ----
def verify(options: argparse.Namespace) -> dict:
    """Of each profile, the layers that got another plan than the default: their gains when measured again, and the noise."""
    print(f"{'profile':24} {'':4} {'threads':>7} {'layers':>6} {'tuned':>5} {'gain':>6} {'least':>6} {'noise':>6} {'most':>6}  slower")
    found = []
    with WorkerProcess() as worker:
        for file in options.profiles:
            entries = [entry for entry in profile_files.read_own(file).entries.values() if entry.is_current]
            for threads in sorted({entry.threads for entry in entries}):
                mine = [entry for entry in entries if entry.threads == threads]
                for residency in RESIDENCIES:
                    found.append(verify_these(worker, file.stem, mine, threads, residency))
    return {"profiles": found}


def verify_these(worker: WorkerProcess, profile: str, entries: list[Entry], threads: int, residency: str) -> dict:
    tuned = [entry for entry in entries if entry.plan != entry.default]
    looks = {entry.problem.key: look(worker, entry, residency) for entry in tuned}
    suspects = [entry for entry in tuned if is_slower(*looks[entry.problem.key])]
    slower = [entry.problem.key for entry in suspects if is_slower(*look(worker, entry, residency))]
    noises = [abs(itself - 1) for _, itself in looks.values()] or [0.0]
    gains = [gain for gain, _ in looks.values()] + [1.0] * (len(entries) - len(tuned))
    facts = {"profile": profile, "residency": residency, "threads": threads, "layers": len(entries), "tuned": len(tuned)}
    numbers = {"gain": geometric_mean(gains), "least": min(gains), "noise": statistics.median(noises), "largest_noise": max(noises)}
    shown = " ".join(f"{number:6.3f}" for number in numbers.values())
    print(f"{profile:24} {residency:4} {threads:7} {len(entries):6} {len(tuned):5} {shown}  {' '.join(slower) or 'none'}", flush=True)
    return facts | numbers | {"slower": slower}


def is_slower(gain: float, itself: float) -> bool:
    """Than the default, by more than the default differs from itself."""
    return gain < 1 - max(abs(itself - 1), LEAST_DIFFERENCE)


def look(worker: WorkerProcess, entry: Entry, residency: str) -> tuple[float, float]:
    """How many times faster than the default a tuned plan is, and the default than itself: medians over pairs, on fresh arrays."""
    bench = Bench(worker, problem_to_json(entry.problem), entry.threads)
    for choice in (entry.default, entry.plan):
        worker.call("check", choice=vars(choice))
    choices = [vars(choice) for choice in (entry.default, entry.plan, entry.default)]
    default, tuned, again = bench.worker.call("measure", choices=choices, rounds=ROUNDS, residency=residency, fresh=True)["samples"]
    return median_ratio(default, tuned), median_ratio(default, again)


# ---- regret ----
def regret(options: argparse.Namespace) -> dict:
    print(f"threads {options.threads}, {options.residency}")
    print(f"{'layer':36} {'plans':>5} {'trials':>6} {'seconds':>7} {'gain':>6} {'best':>6} {'regret':>6}")
    found = []
    with WorkerProcess() as worker:
        for text in LAYERS[options.skip :][: options.layers]:
            found.append(regret_of(worker, text, options.threads, options.residency))
    regrets = [one["regret"] for one in found]
    print(f"geometric mean of regrets {geometric_mean(regrets):.4f}, the largest {max(regrets):.4f}")
    return {"threads": options.threads, "residency": options.residency, "layers": found}


def regret_of(worker: WorkerProcess, text: str, threads: int, residency: str) -> dict:
    """With the time of the tuned plan relative to that of the best of all plans, both measured in turn."""
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
    facts = {"layer": text, "plans": len(every), "trials": len(outcome.trials)}
    return facts | {"gain": gain / tuned, "best": gain, "regret": tuned}


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
    trials = [bench.measure([plan, other], ROUNDS // 2, residency, True)[1] for _ in range(3)]
    return statistics.median(median_ratio(trial.baseline, trial.seconds) for trial in trials)


# ---- what the cost model leaves ----
def tiles(options: argparse.Namespace) -> None:
    print(f"threads {options.threads}, {options.residency}")
    found = []
    with WorkerProcess() as worker:
        for wanted in depthwise_layers(worker)[options.skip :][: options.layers]:
            bench = Bench(worker, problem_to_json(wanted), options.threads)
            default = space.default_plans(wanted, options.threads, host())[0]
            others = best_of(bench, default, space.tile_plans(default, options.threads, host()), LOOK, options.residency, MOST)
            best = best_of(bench, default, others, ROUNDS, options.residency, 1)[0]
            found.append(max(1.0, against(bench, default, best, options.residency)))
            print(f"{wanted.key:50} {found[-1]:6.3f}  {words(default)} | {words(best)}", flush=True)
    print(f"geometric mean {geometric_mean(found):.3f}, the largest {max(found):.3f}, of {len(found)} layers")


def depthwise_layers(worker: WorkerProcess) -> list[Problem]:
    """Each once, whatever its activation."""
    found: dict[Problem, None] = {}
    for network in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"):
        for layer, _ in worker.call("problems", network=network, threads=1):
            one = problem_from_json(layer)
            if one.kind == DEPTHWISE:
                found[replace(one, activation=NO_ACTIVATION)] = None
    return list(found)


def words(plan: Plan) -> str:
    return f"{plan.shape} {plan.blocking.rows}x{plan.blocking.channels} {plan.threads}t"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["verify", "regret", "tiles", "record"])
    parser.add_argument("--profiles", type=lambda text: [Path(file) for file in text.split(",")], default=[], metavar="FILE,...")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--residency", choices=RESIDENCIES, default="cold")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="for bench.page")
    options = parser.parse_args()
    found = {"verify": verify, "regret": regret, "tiles": tiles, "record": record}[options.what](options)
    if options.json and found:
        facts = {
            "suite": options.what,
            "command": f"python -m bench.tuning {shlex.join(sys.argv[1:])}",
            "machine_info": environment.describe(),
        }
        options.json.write_text(json.dumps(facts | found))


if __name__ == "__main__":
    main()
