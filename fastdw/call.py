"""A request bound to machine code: its plan, its context, its function pointer; bound once and used often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastdw import planner
from fastdw.arguments import error
from fastdw.forks import WHOLE
from fastdw.kernels.spec import Layout, Plan, registry
from fastdw.packing import BLANK, aligned_empty
from fastdw.problem import Problem
from fastdw.request import Request, Strided, check_results, contiguous, lay, problem_of
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

TEMPLATE_FIELDS = CONTEXT_FIELDS + 2 * len(ARRAYS)
MakePlan = Callable[[Problem, int], Plan]


@dataclass(frozen=True, slots=True)
class Call:
    """Machine code bound to everything but addresses."""

    plan: Plan
    out_shape: tuple[int, ...]
    names: tuple[str, ...]  # of the inputs, for errors
    launch: Callable[..., int]
    template: np.ndarray
    address: int
    function: int
    tasks: int
    workers: int

    def __deepcopy__(self, memo: dict) -> Call:
        return self  # the addresses inside are of its own template

    def __call__(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, residual: np.ndarray | None, out: np.ndarray | None
    ) -> np.ndarray:
        if out is None:
            out = aligned_empty(self.out_shape, x.shape)
        bias = BLANK if bias is None else bias
        third = x if residual is None else residual
        overlapped = self.launch(x, weight, bias, third, out, self.address, 1, self.function, self.tasks, self.workers)
        if overlapped:
            refuse_overlap(out, **dict(zip(self.names, (x, weight, bias, third), strict=True)))
            self.launch(x, weight, bias, third, out, self.address, 0, self.function, self.tasks, self.workers)
        return out


def refuse_overlap(written: np.ndarray, argument: str = "out", /, **others: np.ndarray) -> None:
    """An error if an array that is written has an element in common with another; interleaved arrays that share none are fine."""
    for name, other in others.items():
        if np.may_share_memory(other, written) and np.shares_memory(other, written):
            raise error(argument, f"an array that overlaps {name}", "memory of its own")


def plan_of(request: Request, make_plan: MakePlan = planner.plan) -> tuple[Plan, Layout, tuple[int, ...]]:
    """Check a request and plan it: the plan, the layout it is for, and the shape of the result.

    Raises:
      ValueError: shapes that do not fit each other.
    """
    problem, out_shape = problem_of(request)
    check_results(request, out_shape)
    problem, layout = lay(request, problem, request.out or contiguous(out_shape))
    with WHOLE:
        from fastdw import launch, thread_pool  # noqa: F401 (all that calls are compiled with, while a fork waits)

        plan = make_plan(problem, min(request.threads, thread_pool.thread_limit()))
    return plan, layout, out_shape


def bind(request: Request, make_plan: MakePlan = planner.plan) -> Call:
    """Plan a request and compile what it needs. make_plan is given the problem and the threads."""
    plan, layout, out_shape = plan_of(request, make_plan)
    from fastdw import launch

    spec = registry()[plan.kernel]
    fields, tasks = spec.bind(plan, layout)
    spans = {
        "x": request.x.span,
        "weight": (0, 0) if request.weight.packed else Strided(request.weight.shape, request.weight.strides).span,
        "bias": (0, 4 * request.bias[0]) if request.bias else (0, 0),
        "residual": request.residual.span if request.residual else (0, 0),
        "out": (request.out or contiguous(out_shape)).span,
    }
    template = np.zeros(TEMPLATE_FIELDS, np.int64)
    template[:CONTEXT_FIELDS] = spec.context.pack(fields)
    template[ARRAYS.index("residual")] = request.residual is not None
    template[CONTEXT_FIELDS:] = [side for name in ARRAYS for side in spans[name]]
    workers = min(plan.threads, tasks)
    return Call(
        plan,
        out_shape,
        names=("x", request.weight_name, request.bias_name, "residual"),
        launch=launch.serial() if workers == 1 else launch.parallel,
        template=template,
        address=template.ctypes.data,
        function=spec.task.pointer(plan.compiled_shape),
        tasks=tasks,
        workers=workers,
    )


SELF = "self"  # stands for a step's own memory among its arrays


@dataclass(frozen=True)
class Step:
    """A task bound to everything but addresses.

    memory: int64; the task's context, and what else the step needs.
    places: (index into memory, name of an array, bytes past its address).
    worker: added to the index of a task for each worker before the one that runs it.
    ahead: index into memory of the fields by which its tasks bring into the cache what later steps read; 0: they do not.
    turns: how often a task does so, about.
    """

    function: int
    memory: np.ndarray
    tasks: int
    places: tuple[tuple[int, str, int], ...]
    worker: int = 0
    ahead: int = 0
    turns: int = 0
