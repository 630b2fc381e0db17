"""The process that compiles and measures candidates, and may die of one: it answers requests, one JSON object a line.

Compiled code is never freed, and the compiler may abort on a CPU that nobody has tried: neither must happen in the process
that asked for tuning. A request names an operation of `Worker` and its arguments; the answer is what it returns, or an error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import pickle
import signal
import statistics
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from fastdw import jit, planner, profile_files
from fastdw.call import Call
from fastdw.kernels.spec import Plan
from fastdw.machine import host, reported_caches
from fastdw.profile import WARM, Choice, Profile, problem_from_json, problem_to_json
from fastdw.tuning.timing import measure
from fastdw.tuning.trial import COMPILE, CONSTRAINT, CORRECT, INCORRECT, WELL_SPREAD
from fastdw.tuning.workload import Arena, Untunable, Workload

LEAST_ARENA_BYTES = 16 << 20
CACHES = 2  # the arena exceeds the last cache so many times
MEMORY_SHARE = 8  # and takes no more than this part of what is free
SETTLE_TRIES, SLEEP_SECONDS = 4, 0.15
PACE_BYTES = bytes(256 << 10)


class Worker:
    """One problem at a time: load it, check plans, then measure those that are correct."""

    def __init__(self) -> None:
        self.compile_seconds = 0.0
        self.spreads: list[float] = []
        self.arena = Arena(arena_bytes())

    def pace(self) -> float:
        """Seconds of a fixed piece of work, the least of a few: tells a CPU that has been slowed down."""
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            hashlib.sha256(PACE_BYTES).digest()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def facts(self) -> dict[str, Any]:
        from fastdw import thread_pool

        return {"compiled": len(jit.compilations()), "compile_seconds": self.compile_seconds, "layer": thread_pool.layer_in_use()}

    def settle(self, threads: int) -> float:
        """Wait until threads have cores of their own: a pool may stay on one core for seconds, and moves when it has slept.
        Tells how well they are spread, 1 at best."""
        spread = self.spread(threads)
        is_hopeless = bool(self.spreads) and self.spreads[-1] < WELL_SPREAD
        for _ in range(1 if is_hopeless else SETTLE_TRIES):
            if spread >= WELL_SPREAD:
                break
            time.sleep(SLEEP_SECONDS)
            spread = max(spread, self.spread(threads))
        if threads > 1:
            self.spreads.append(spread)
        return spread

    def spread(self, threads: int) -> float:
        from fastdw import probes

        return probes.spread(threads) if threads > 1 else 1.0

    def usual_spread(self) -> float:
        """The median of what settling has reached."""
        return statistics.median(self.spreads or [1.0])

    def peak(self, threads: int) -> float:
        from fastdw import probes

        self.settle(threads)
        return probes.peak_flops(threads)

    # ---- one problem ----
    def load(self, problem: dict, threads: int) -> dict[str, str]:
        """Arrays for a problem, and the result of its default plan. Tells why, where there are none."""
        self.problem, self.threads = problem_from_json(problem), threads
        self.calls: dict[Choice, Call] = {}
        self.makers: dict[str, Any] = {}
        try:
            self.work = Workload(self.problem, threads, self.arena)
        except Untunable as error:
            return {"untunable": str(error)}
        self.expected = bits(self.work.result(self._bound(planner.default_plan(self.problem, threads, host()))))
        return {}

    def check(self, choice: dict) -> dict[str, str]:
        """Compile a plan and compare its result with the default's, bit by bit."""
        wanted = Choice(**choice)
        plan = planner.adapt(wanted, self.problem, self.threads, host())
        if plan is None or Choice.of(plan) != wanted:
            return {"status": CONSTRAINT, "note": "no kernel offers it"}
        try:
            call = self._bound(plan)
        except Exception as error:  # whatever a compiler may raise
            return {"status": COMPILE, "note": f"{type(error).__name__}: {error}"[:500]}
        if not np.array_equal(bits(self.work.result(call)), self.expected):
            return {"status": INCORRECT, "note": "its result has other bits than the default plan's"}
        self.calls[wanted] = call
        return {"status": CORRECT}

    def _bound(self, plan: Plan) -> Call:
        before, start = len(jit.compilations()), time.perf_counter()
        call = self.work.bind(plan)
        if len(jit.compilations()) > before:
            self.compile_seconds += time.perf_counter() - start
        return call

    def measure(self, choices: list[dict], rounds: int, residency: str = WARM, fresh: bool = False, seconds: float = math.inf) -> dict:
        """Samples of plans that were found correct, in turn; on arrays made anew, or those of the last time. And how well the
        threads were spread over cores, before and after."""
        if fresh or residency not in self.makers:
            self.makers[residency] = self.work.runner(residency)
        make = self.makers[residency]
        before = self.settle(self.threads)
        samples = measure([make(self.calls[Choice(**choice)]) for choice in choices], rounds, seconds)
        return {"samples": samples, "spread": min(before, self.spread(self.threads))}

    # ---- a whole network ----
    def problems(self, network: str, threads: int) -> list[list]:
        """Every problem that a network asks plans for, as often as it has it."""
        from fastdw.networks import Network

        before, start = len(jit.compilations()), time.perf_counter()
        with planner.recorded() as asked:
            profile_files.choose("off")
            planned = Network(graph_of(network), threads=threads, fuse=False)
        if len(jit.compilations()) > before:
            self.compile_seconds += time.perf_counter() - start
        plans = [getattr(layer.call, "plan", None) for layer in planned.layers]
        counts = Counter(plan.problem for plan in plans if isinstance(plan, Plan))
        return [[problem_to_json(problem), threads] for problem, threads in dict.fromkeys(asked) for _ in range(max(1, counts[problem]))]

    def network(self, network: str, threads: int, profile: dict, rounds: int, seconds: float) -> list[list[float]]:
        """Samples of a network without and with a profile, interleaved. [seconds without, seconds with]"""
        from fastdw.networks import Network

        graph, networks = graph_of(network), []
        for named in ("off", Profile.from_json(profile)):
            profile_files.choose(named)
            planner.forget()
            networks.append(Network(graph, threads=threads))
        x = np.random.default_rng(0).random(networks[0].input_shape, np.float32)
        outs = [one(x) for one in networks]
        if not np.array_equal(bits(outs[0]), bits(outs[1])):
            raise ValueError("the network's result has other bits with the profile")

        self.settle(threads)

        def runner(one, out):
            def run(count: int) -> None:
                for _ in range(count):
                    one(x, out)

            return run

        return measure([runner(one, out) for one, out in zip(networks, outs, strict=True)], rounds, seconds)


def graph_of(network: str) -> Any:
    """An architecture's name or a model's path; or a pickled graph behind a colon, which neither begins with."""
    if network.startswith(":"):
        return pickle.loads(base64.b64decode(network[1:]))
    from fastdw.networks import load_graph

    return load_graph(network)


def bits(array: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(array), np.float32(np.nan), array).view(np.uint32)


def arena_bytes() -> int:
    import psutil

    last = max(reported_caches().values(), default=0)
    return min(max(CACHES * last, LEAST_ARENA_BYTES), max(psutil.virtual_memory().available // MEMORY_SHARE, 1 << 20))


def serve() -> None:
    """Answer requests from the standard input until it ends. What else is printed goes to the standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when to stop
    os.environ.pop("FASTDW_NO_COMPILE", None)  # compiling is what was asked for
    answers = os.dup(1)
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(worker, request.pop("operation"))(**request)}
        except Exception as error:  # to be told on the other side
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        try:
            os.write(answers, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:  # nobody asks any more
            return
