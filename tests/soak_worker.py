"""Random problems in a process of their own, one after the other, each announced before it runs; started by soak.py.

Number n of a soak is case(CALLS_IN_TURN[n % len(CALLS_IN_TURN)], n) of problems.py. Each is run as test_random.py does, against the
float64 oracle; then with its arrays beside forbidden pages; then with a plan drawn from the whole tuning space.
"""

from __future__ import annotations

import faulthandler
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import problems
import stated_order
from guard import guarded
from test_random import COUNTS, check, into_out

import fastdw
from fastdw import jit, planner
from fastdw.call import bind
from fastdw.explaining import BLOCKS, kind_of
from fastdw.gather import gather
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.packing import BLANK, PackedWeight
from fastdw.problem import Problem

LONGEST_SECONDS = 300  # of one problem, compiling included; then the process dumps its stacks and ends
CALLS_IN_TURN = [call for call, count in COUNTS.items() for _ in range(count // 100)]


def name_of(number: int) -> str:
    return f"{CALLS_IN_TURN[number % len(CALLS_IN_TURN)]}-{number}"


def work(first: int, end: int, until: float) -> None:
    """Prints a line each: `run NAME` before a problem, `wrong NAME MESSAGE`, `kernel ID` on its first use, `compiled NAME`."""
    seen: set[str] = set()
    n_compiled = 0
    for number in range(first, end):
        if time.time() > until:
            break
        name = name_of(number)
        print("run", name, flush=True)
        faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
        try:
            kernels = soak(problems.named(name))
        except Exception as error:
            print("wrong", name, f"{type(error).__name__}: {error}".replace("\n", " | "), flush=True)
            continue
        for kernel in kernels - seen:
            print("kernel", kernel)
        for compiled in jit.compilations()[n_compiled:]:
            print("compiled", compiled)
        seen |= kernels
        n_compiled = len(jit.compilations())
    faulthandler.cancel_dump_traceback_later()


def soak(case: problems.Case) -> set[str]:
    """The ids of the kernels that ran."""
    rng = random.Random(case.name)
    end = rng.random() < 0.5
    y = check(case)
    arrays = {name: guarded(array, end) for name, array in case.arrays.items()}
    stated_order.check_bits(case.run(fastdw, **arrays, out=guarded(case.out, end)), y, "beside forbidden pages")

    if rng.random() < 0.4:
        arrays |= {name: guarded_weight(packed, end) for name, packed in case.packed().items()}
    plans: list[Plan] = []

    def make_plan(problem: Problem, _: int) -> Plan:
        plans.append(drawn_plan(problem, rng))
        return plans[-1]

    what = "a plan that was drawn"
    try:
        y_planned = into_out(case, lambda out: run_planned(case, arrays | {"out": out}, make_plan))
        stated_order.check_bits(y_planned, y, what)
        what += ", out beside forbidden pages"
        again = iter(plans)
        y_guarded = run_planned(case, arrays | {"out": guarded(case.out, end)}, lambda problem, _: next(again))
        stated_order.check_bits(y_guarded, y, what)
    except Exception as error:
        raise AssertionError(f"{error}; plans {[(p.id, p.blocking, p.threads) for p in plans]}") from error
    return {plan.id for plan in plans + case.plans()}


def guarded_weight(packed: PackedWeight, end: bool) -> PackedWeight:
    return replace(packed, data=guarded(packed.data, end))


def drawn_plan(problem: Problem, rng: random.Random) -> Plan:
    """Any kernel, tile and blocking that may compute the problem, on one or two threads."""
    *vectorised, reference = planner.candidates(problem, host())[0]
    spec = rng.choice(vectorised) if vectorised and rng.random() < 0.95 else reference
    shape = rng.choice(list(spec.shapes(problem, host())))
    blocking = rng.choice(list(spec.blockings(problem, shape)))
    return Plan(problem, spec.name, shape, blocking, rng.choice((1, 2)), "drawn")


def run_planned(case: problems.Case, changes: dict, make_plan: Callable) -> np.ndarray:
    given = case.given(**changes)
    kind = kind_of(getattr(fastdw, case.call))
    if kind not in BLOCKS:
        request, *arrays = gather(kind, **given)
        return bind(request, make_plan)(*arrays)
    stages = BLOCKS[kind](**given)
    y, *parameters = stages.x, *zip(stages.weights, stages.biases, strict=True)
    n_before = len(stages.requests) - 1
    for request, (weight, bias) in zip(stages.requests[:-1], parameters, strict=False):
        y = bind(request, make_plan)(y, weight, bias, None, None)
    if stages.gate:
        gate = y
        for request, (weight, bias) in zip(stages.gate, [(BLANK, None), *parameters[n_before + 1 :]], strict=True):
            gate = bind(request, make_plan)(gate, weight, bias, None, None)
        y = y * gate[:, None, None]
    return bind(stages.requests[-1], make_plan)(y, *parameters[n_before], stages.residual, stages.out)


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
