"""out, residual, threads, packed weights, prepare and explain together, and strict mode, on every call that takes them."""

import inspect
import itertools
from dataclasses import replace

import numpy as np
import problems
import pytest
import stated_order

import fastdw
from fastdw.call import Call
from fastdw.fused import Block
from fastdw.kernels.spec import BlockPlan

N_CASES = 6  # of each call


def takes(call: str, keyword: str) -> bool:
    return keyword in inspect.signature(getattr(fastdw, call)).parameters


def threads_of(call: str) -> list[dict]:
    return [{}, {"threads": 1}, {"threads": 2}] if takes(call, "threads") else [{}]


@pytest.mark.parametrize("call", problems.CALLS)
def test_every_combination_gives_the_same_bits(call):
    for case in problems.cases(call, 0, N_CASES):
        for has_residual in {"residual" in case.arrays, False}:
            one = case if has_residual else without_residual(case)
            expected = one.run(stated_order)
            for threads, with_out, packed in itertools.product(threads_of(call), (False, True), ({}, case.packed())):
                out = {"out": case.out} if with_out else {}
                what = f"{one}, {threads}, out {with_out}, packed {list(packed)}"
                stated_order.check_bits(one.run(fastdw, **threads, **out, **packed), expected, what)
                stated_order.check_bits(run_prepared(one, packed | threads, **out), expected, f"{what}, prepared")


def without_residual(case: problems.Case) -> problems.Case:
    return replace(case, arrays={name: array for name, array in case.arrays.items() if name != "residual"})


def run_prepared(case: problems.Case, changes: dict, **given) -> np.ndarray:
    arguments, residual = case.given(**changes), case.arrays.get("residual")
    x = arguments.pop("x")
    if residual is not None:
        arguments["residual"], given["residual"] = True, residual
    layer = fastdw.prepare(getattr(fastdw, case.call), x.shape, **arguments)
    return layer(x, **given)


@pytest.fixture
def used_plans(monkeypatch):
    """The plans of the calls that ran."""
    plans = []
    call, program = Call.__call__, Block.program

    def record_call(self, *arrays):
        plans.append(self.plan)
        return call(self, *arrays)

    def record_block(self, *parameters):
        plans.extend(self.plan.plans)
        return program(self, *parameters)

    monkeypatch.setattr(Call, "__call__", record_call)
    monkeypatch.setattr(Block, "program", record_block)
    return plans


@pytest.mark.parametrize("call", problems.CALLS)
def test_explain_states_the_plan_that_the_call_uses(call, used_plans):
    for case in problems.cases(call, 0, 4 * N_CASES):
        for given in [*threads_of(call), {"out": case.out}, case.packed()]:
            used_plans.clear()
            explained = case.plans(**given)
            assert not used_plans
            assert np.isnan(case.out).all()
            case.run(fastdw, **given)
            assert explained == used_plans, f"{case}, {list(given)}"
            case.out[...] = np.nan


# ---- strict mode ----

LARGE = np.ones((91, 91, 4, 2), np.float32)  # a filter of more taps than the scratch of a task holds pixels
UNSERVED = {  # by a vectorised kernel
    "depthwise_conv2d": (np.ones((1, 91, 92, 4), np.float32), [LARGE]),
    "separable_conv2d": (np.ones((1, 91, 92, 4), np.float32), [LARGE, np.ones((8, 8), np.float32)]),
}


@pytest.mark.parametrize("call", UNSERVED)
def test_strict_mode_refuses_the_call_and_the_prepared_layer(call, monkeypatch):
    x, weights = UNSERVED[call]
    function = getattr(fastdw, call)
    plan = fastdw.explain(function, x, *weights)
    plans = plan.plans if isinstance(plan, BlockPlan) else [plan]
    assert any(plan.is_reference for plan in plans), "served by a vectorised kernel now: this test needs another problem"
    out = function(x, *weights)
    monkeypatch.setenv("FASTDW_STRICT", "1")
    with pytest.raises(RuntimeError, match=r"^strict mode: got .* reference kernel"):
        function(x, *weights)
    out[...] = np.nan
    with pytest.raises(RuntimeError, match=r"^strict mode: got .* reference kernel"):
        function(x, *weights, out=out)
    assert np.isnan(out).all()
    with pytest.raises(RuntimeError, match=r"^strict mode: got .* reference kernel"):
        fastdw.prepare(function, x.shape, *weights)
    assert fastdw.explain(function, x, *weights) == plan
