"""Every problem has a plan, on every machine, without compiling anything."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastdw
from fastdw import planner
from fastdw.kernels.spec import Layout, Plan, registry
from fastdw.machine import Machine, host
from fastdw.problem import CONV, DEPTHWISE, POINTWISE, POOL, Problem

COUNT = 1500  # problems for each machine
MACHINES = [
    Machine("server", "x86_64", frozenset({"sse2", "fma", "avx2", "avx512f", "avx512vl"}), 64, 48 << 10, 2 << 20),
    Machine("laptop", "x86_64", frozenset({"sse2", "fma", "avx2"}), 4, 32 << 10, 256 << 10),
    Machine("old", "x86_64", frozenset({"sse2"}), 1, None, None),
    Machine("pi", "aarch64", frozenset({"asimd"}), 4, None, None),
    Machine("unknown", "riscv64", frozenset(), 1, 8 << 10, None),
]


def random_problem(rng: random.Random) -> Problem:
    kind = rng.choice([DEPTHWISE, POINTWISE, CONV, POOL])
    batch = rng.choice([1, 1, 2, 5])
    height, width = (rng.randint(1, rng.choice([2, 8, 30, 250])) for _ in range(2))
    channels, out_channels = (rng.randint(1, rng.choice([3, 8, 40, 1100])) for _ in range(2))
    if kind == POOL:
        return Problem(kind, batch, height, width, channels, channels, (height, width))
    if kind == POINTWISE:
        return Problem(kind, batch, height, width, channels, out_channels)
    kernel = rng.choice([(3, 3), (3, 3), (5, 5), (1, 1), (7, 7), (1, rng.randint(1, 40)), (rng.randint(1, 12), 1)])
    stride = rng.choice([(1, 1), (2, 2), (rng.randint(1, 6), rng.randint(1, 6))])
    dilation = rng.choice([(1, 1), (1, 1), (rng.randint(1, 3), rng.randint(1, 3))])
    spans = [(taps - 1) * apart + 1 for taps, apart in zip(kernel, dilation, strict=True)]
    padding = tuple((rng.randint(0, reach), rng.randint(max(0, reach - 1), reach + 1)) for reach in spans)
    if kind == DEPTHWISE:
        out_channels = channels * rng.choice([1, 1, 1, 2, 3, rng.randint(4, 40)])
    return Problem(kind, batch, height, width, channels, out_channels, kernel, stride, dilation, padding)


def problems(machine: Machine) -> list[tuple[Problem, int]]:
    """Problems and numbers of threads."""
    rng = random.Random(machine.name)
    return [(random_problem(rng), rng.choice([1, 2, 4, 64])) for _ in range(COUNT)]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_problem_has_a_plan_that_fits_it(machine):
    for problem, threads in problems(machine):
        check(planner.plan(problem, threads, machine), problem, threads, machine)


def check(plan: Plan, problem: Problem, threads: int, machine: Machine) -> None:
    spec, tile = registry()[plan.kernel], plan.shape
    assert plan.problem == problem
    assert spec.kind == problem.kind
    assert spec.refuses(problem, machine) is None, plan
    assert tile in spec.shapes(problem, machine), f"a tile that tests and the tuner do not know: {plan!r}"
    rows, cols = (1, 1) if problem.kind == POOL else (problem.out_height, problem.out_width)
    assert tile.rows <= rows, plan
    assert tile.cols <= cols, plan
    run = problem.out_channels * (problem.out_width if tile.period else 1)
    assert 1 <= tile.lanes <= min(machine.lanes, run), plan
    assert tile.pixels * tile.vecs < machine.registers, plan
    assert plan.blocking.rows >= 1, plan
    assert plan.blocking.channels >= 1, plan
    assert 1 <= plan.threads <= threads, plan
    assert plan.scratch_bytes == 0, plan
    check_blockings(plan, machine)


def check_blockings(plan: Plan, machine: Machine) -> None:
    """Every blocking of the plan's tile gives a context with all its fields, and tasks."""
    spec, problem = registry()[plan.kernel], plan.problem
    blockings = list(spec.blockings(problem, plan.shape))
    assert blockings, plan
    strides = (problem.height * problem.width * problem.channels * 4, problem.width * problem.channels * 4, problem.channels * 4)
    layout = Layout(strides, strides, (400, 40)[: 2 if problem.kind == DEPTHWISE else 1])
    for blocking in {plan.blocking, blockings[0], blockings[-1]}:
        fields, tasks = spec.bind(Plan(problem, spec.name, plan.shape, blocking, plan.threads), layout)
        spec.context.pack(fields)
        assert tasks >= problem.batch, plan
        assert all(count >= 1 for name, count in fields.items() if name.endswith("_blocks")), plan


def test_plans_are_the_same_each_time():
    for machine in MACHINES:
        before = [planner.plan(problem, threads, machine) for problem, threads in problems(machine)[:200]]
        planner._plan.cache_clear()
        assert before == [planner.plan(problem, threads, machine) for problem, threads in problems(machine)[:200]]


def test_the_random_problems_reach_every_kernel():
    reached = {planner.plan(problem, threads, machine).kernel for machine in MACHINES for problem, threads in problems(machine)}
    assert reached >= {spec.name for spec in registry().values() if not spec.is_reference}


def test_planning_needs_no_compiler():
    code = (
        "import sys\n"
        "from fastdw import planner\n"
        "from fastdw.problem import Problem\n"
        "planner.plan(Problem('depthwise', 1, 56, 56, 32, 32, (3, 3)))\n"
        "assert not {'numba', 'llvmlite'} & sys.modules.keys()"
    )
    folder = str(Path(fastdw.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def test_kernels_refuse_in_the_order_of_their_rank():
    for machine in MACHINES:
        for problem, _ in problems(machine)[:200]:
            serving, refusals = planner.candidates(problem, machine)
            assert [spec.rank for spec in serving] == sorted(spec.rank for spec in serving)
            assert all(": " in refusal for refusal in refusals)


def test_small_work_stays_on_one_thread_and_large_work_does_not():
    small = Problem(DEPTHWISE, 1, 7, 7, 16, 16, (3, 3), padding=((1, 1), (1, 1)))
    large = Problem(POINTWISE, 1, 56, 56, 128, 128)
    assert planner.plan(small, 8).threads == 1
    assert planner.plan(large, 8).threads == 8


# ---- what users are told ----
def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_explain_names_kernel_tile_blocking_and_reason():
    plan = fastdw.explain(fastdw.depthwise_conv2d, (1, 28, 28, 64), ones(3, 3, 64), padding="same", threads=1)
    shown = repr(plan)
    for part in (plan.id, str(plan.shape), plan.reason, "28x28x64", "1 thread", f"{plan.blocking.rows} rows x {plan.blocking.channels}"):
        assert part in shown, part
    assert f"{2 * 28 * 28 * 64 * 9:,} flops" in shown
    assert f"{4 * (2 * 28 * 28 * 64 + 9 * 64):,} bytes" in shown


def test_explain_says_why_only_the_reference_kernel_serves():
    plan = fastdw.explain(fastdw.depthwise_conv2d, (1, 91, 91, 4), ones(91, 91, 4, 2), threads=1)
    assert plan.kernel == "reference_depthwise"
    assert "91 x 91, larger than the scratch" in repr(plan)


def test_explain_warns_of_subnormal_weights(caplog):
    weight = ones(3, 3, 16)
    weight[1, 1, 5] = 1e-40
    fastdw.explain(fastdw.separable_conv2d, (1, 9, 9, 16), ones(3, 3, 16), ones(16, 8))
    fastdw.explain(fastdw.depthwise_conv2d, (1, 9, 9, 16), fastdw.pack_depthwise(weight, flush_subnormals=True))
    assert not caplog.messages
    for one in (weight, fastdw.pack_depthwise(weight)):
        fastdw.explain(fastdw.separable_conv2d, (1, 9, 9, 16), one, ones(16, 8))
    gate = fastdw.SqueezeExcite(ones(16, 4), ones(4, 16) * np.float32(1e-40))
    fastdw.explain(fastdw.inverted_residual, (1, 9, 9, 16), None, ones(3, 3, 16), ones(16, 8), squeeze_excite=gate)
    fastdw.explain(fastdw.global_average_pool2d, (1, 9, 9, 16))
    assert [message.partition(":")[0] for message in caplog.messages] == ["depthwise_weight", "depthwise_weight", "excite_weight"]


def test_explain_states_strips_and_scratch_of_a_block():
    few = fastdw.explain(fastdw.separable_conv2d, (2, 92, 93, 4), ones(91, 91, 4, 2), ones(8, 2), threads=1)
    assert few.scratch_bytes == 4 * 2 * 2 * 3 * 8, "the whole image: a stage has no vectorised kernel"
    assert "one after the other" in repr(few)
    many = fastdw.explain(fastdw.inverted_residual, (1, 112, 112, 16), ones(16, 96), ones(3, 3, 96), ones(96, 24), stride=2, threads=1)
    assert 4 * 112 * 96 < many.scratch_bytes < 4 * 112 * 112 * 96 // 4, "rows of the expanded image"
    for part in (f"{many.scratch_bytes:,} bytes of scratch", "strips of", *(plan.id for plan in many.plans)):
        assert part in repr(many)


REFERENCE_ONLY = [
    lambda: fastdw.depthwise_conv2d(ones(1, 91, 91, 4), ones(91, 91, 4, 2)),
    lambda: fastdw.separable_conv2d(ones(1, 91, 91, 4), ones(91, 91, 4, 2), ones(8, 1)),
    lambda: fastdw.prepare(fastdw.depthwise_conv2d, (1, 91, 91, 4), ones(91, 91, 4, 2)),
]


@pytest.mark.parametrize("call", REFERENCE_ONLY)
def test_strict_mode_refuses_the_reference_kernel_and_says_why(call, monkeypatch):
    call()
    monkeypatch.setenv("FASTDW_STRICT", "1")
    with pytest.raises(RuntimeError, match=r"^strict mode: got .* reference kernel .*larger than the scratch"):
        call()
    monkeypatch.setenv("FASTDW_STRICT", "0")
    call()


def test_strict_mode_lets_vectorised_kernels_pass(monkeypatch):
    monkeypatch.setenv("FASTDW_STRICT", "1")
    fastdw.depthwise_conv2d(ones(1, 9, 9, 16), ones(3, 3, 16))
    fastdw.global_average_pool2d(ones(1, 9, 9, 3))


def test_plans_of_this_machine_are_the_default():
    problem = Problem(POINTWISE, 1, 14, 14, 64, 96)
    assert planner.plan(problem) == planner.plan(problem, 1, host())


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
@pytest.mark.parametrize(("kernel", "whole"), [((3, 3), True), ((5, 5), True), ((9, 5), True), ((5, 9), False), ((31, 31), False)])
def test_pixels_are_written_whole_except_under_wide_filters(machine, kernel, whole):
    problem = Problem(DEPTHWISE, 1, 14, 14, 512, 512, kernel, padding=((kernel[0] // 2,) * 2, (kernel[1] // 2,) * 2))
    found = planner.plan(problem, 1, machine)
    if found.kernel.startswith("depthwise"):
        assert (found.blocking.channels >= problem.out_channels) == whole
    else:
        assert machine.architecture == "riscv64"
