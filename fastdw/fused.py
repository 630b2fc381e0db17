"""Convolutions in a row as one call: steps of a program, strip by strip or one whole image after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fastdw import blockplanner, call
from fastdw.call import SELF, Step, refuse_overlap
from fastdw.forks import WHOLE
from fastdw.kernels import elementwise, strips
from fastdw.kernels.spec import BlockPlan, Cut, Layout, Plan, registry
from fastdw.kernels.strips import Stage
from fastdw.machine import host
from fastdw.packing import BLANK, aligned_bytes, aligned_empty
from fastdw.problem import NO_ACTIVATION, POINTWISE, Problem
from fastdw.request import Request, contiguous, lay, problem_of
from fastdw.tile.shapes import ARRAYS, CONTEXT_FIELDS

BOUND_BLOCKS = 256  # kept for calls that come again


@dataclass(frozen=True)
class Block:
    """Convolutions in a row bound to everything but addresses.

    The steps' arrays are x, residual, out, scratch, and weight0, bias0, weight1, ... of the stages.
    """

    plan: BlockPlan
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    steps: tuple
    spans: tuple[tuple[int, int], ...]  # of x, residual and out

    def program(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray | None]):
        """The block with its parameters and scratch of its own, ready to be run by one thread at a time."""
        with WHOLE:
            from fastdw.program import Program

        scratch = aligned_empty(self.plan.scratch_bytes // 4, self.x_shape)
        given: dict[str, np.ndarray | str] = {"x": "x", "residual": "residual", "out": "out", "scratch": scratch}
        given |= parameters(weights, biases)
        return Program([(step, given) for step in self.steps], self.plan.threads, self.spans)


def parameters(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """What a block's steps know its weights and biases by."""
    given: dict[str, np.ndarray] = {}
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        given |= {f"weight{k}": weight, f"bias{k}": BLANK if bias is None else bias}
    return given


class Pool:
    """A block with its parameters: pool(x, residual, out). Each of the threads that call it at once has a program of its own."""

    def __init__(self, block: Block, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray | None]):
        self._make = lambda: block.program(weights, biases)
        self._spare = [self._make()]

    def __call__(self, x: np.ndarray, residual: np.ndarray, out: np.ndarray) -> np.ndarray:
        """residual: x where there is none. An error where out has an element in common with one of them."""
        try:
            program = self._spare.pop()
        except IndexError:
            program = self._make()
        try:
            if program.run(x, residual, out, 1):
                refuse_overlap(out, x=x, residual=residual)
                program.run(x, residual, out, 0)
        finally:
            self._spare.append(program)
        return out


def plan_of(requests: tuple[Request, ...], gate: tuple[Request, ...] = ()) -> BlockPlan:
    """requests: one a stage, each reading what the one before it gives; checked as they are planned. gate: of squeeze and excitation."""
    if not gate:
        return blockplanner.plan_block(*facts_of(requests))
    before = plan_of(requests[:-1])
    others = tuple(call.plan_of(request)[0] for request in (*gate, requests[-1]))
    return replace(before, plans=before.plans + others, scratch_bytes=scratch_places(requests, gate, before)[-1])


def scratch_places(requests: tuple[Request, ...], gate: tuple[Request, ...], before: BlockPlan) -> list[int]:
    """Where in the scratch of a block with a gate the last stage's input, the mean and what the dense layers give begin; the end."""
    shapes = [requests[-1].x.shape, *(problem_of(request)[1] for request in gate)]
    return [before.scratch_bytes + sum(map(image_bytes, shapes[:k])) for k in range(len(shapes) + 1)]


def facts_of(requests: tuple[Request, ...]) -> tuple[tuple[Problem, ...], tuple[Plan, ...], bool, int]:
    """What a block's plan depends on: the stages' problems, their plans each for itself, whether arrays have no gaps, threads."""
    plans = tuple(call.plan_of(request)[0] for request in requests)
    problems = tuple(laid(request)[0] for request in requests)
    from fastdw import thread_pool

    dense = all(is_dense(request) for request in requests)
    return problems, plans, dense, min(requests[-1].threads, thread_pool.thread_limit())


def is_dense(request: Request) -> bool:
    """No gaps between the pixels of any array."""
    arrays = [request.x, request.out, request.residual]
    return all(array is None or array.strides == contiguous(array.shape).strides for array in arrays)


@lru_cache(maxsize=BOUND_BLOCKS)
def bind(requests: tuple[Request, ...], plan: BlockPlan | None = None, gate: tuple[Request, ...] = ()) -> Block:
    """Plan a block and compile what it needs."""
    plan = plan or plan_of(requests, gate)
    last = requests[-1]
    out_shape = problem_of(last)[1]
    if gate:
        steps = gated_steps(requests, gate)
    else:
        steps = (fused_step(requests, plan, plan.cut),) if plan.cut else separate_steps(requests)
    spans = requests[0].x.span, last.residual.span if last.residual else (0, 0), (last.out or contiguous(out_shape)).span
    return Block(plan, requests[0].x.shape, out_shape, steps, spans)


def separate_steps(requests: tuple[Request, ...]) -> tuple[Step, ...]:
    """One stage after the other, whole images between them in scratch."""
    steps, x, offset = [], ("x", 0), 0
    for k, request in enumerate(requests):
        bound = call.bind(request)
        is_last = k == len(requests) - 1
        out = ("out", 0) if is_last else ("scratch", offset)
        offset += 0 if is_last else image_bytes(bound.out_shape)
        steps.append(step_of(bound, {"x": x, "weight": (f"weight{k}", 0), "bias": (f"bias{k}", 0), "out": out}))
        x = out
    return tuple(steps)


def gated_steps(requests: tuple[Request, ...], gate: tuple[Request, ...]) -> tuple[Step, ...]:
    """The stages but the last, whose results the mean needs as a whole; the mean, two dense layers, the product, the last stage."""
    before, n = bind(requests[:-1]), len(requests)
    image, *between, _ = (("scratch", offset) for offset in scratch_places(requests, gate, before.plan))
    steps = [replace(step, places=tuple((at, *(image if name == "out" else (name, offset))) for at, name, offset in step.places))
             for step in before.steps]  # fmt: skip
    x = image
    for k, (request, out) in enumerate(zip(gate, between, strict=True), n - 1):
        parameters = {"weight": (f"weight{k}", 0), "bias": (f"bias{k}", 0)} if k >= n else {}
        steps.append(step_of(call.bind(request), {"x": x, "out": out} | parameters))
        x = out
    shape = requests[-1].x.shape
    extents = elementwise.Extents(shape[0], shape[1] * shape[2], shape[3], other_images=True)
    tile, memory, tasks = elementwise.bind(extents, NO_ACTIVATION, host(), requests[-1].threads)
    product = located({"x": image, "weight": x, "out": image})
    steps.append(Step(elementwise.elementwise.pointer(tile), memory, tasks, product))
    last = {"x": image, "weight": (f"weight{n - 1}", 0), "bias": (f"bias{n - 1}", 0), "out": ("out", 0)}
    return (*steps, step_of(call.bind(requests[-1]), last))


def step_of(bound: call.Call, places: dict[str, tuple[str, int]]) -> Step:
    """A call as a step. places: the array that stands for each of its own, and bytes past its address."""
    if bound.template[ARRAYS.index("residual")]:
        places = places | {"residual": ("residual", 0)}
    ahead, turns = registry()[bound.plan.kernel].looks_ahead(bound.plan, bound.tasks)
    return Step(bound.function, bound.template[:CONTEXT_FIELDS], bound.tasks, located(places), ahead=ahead, turns=turns)


def fused_step(requests: tuple[Request, ...], plan: BlockPlan, cut: Cut) -> Step:
    """All stages as tasks of one chain."""
    stages = tuple(stage_of(request) for request in requests)
    memory, tasks = strips.bind(plan.plans, stages, cut, requests[0].x.shape[0])
    places = {"x": ("x", 0), "weight": ("scratch", 0), "bias": (SELF, 8 * CONTEXT_FIELDS), "out": ("out", 0)}
    if requests[-1].residual:
        places["residual"] = ("residual", 0)
    found = located(places)
    for k in range(len(requests)):
        context = CONTEXT_FIELDS + k * strips.RECORD_BYTES // 8 + strips.CONTEXT_AT // 8
        found += located({"weight": (f"weight{k}", 0), "bias": (f"bias{k}", 0)}, context)
    return Step(strips.strips.pointer(strips.SHAPE), memory, tasks, found, strips.WORKER)


def located(places: dict[str, tuple[str, int]], begin: int = 0) -> tuple[tuple[int, str, int], ...]:
    """Arrays of a context that begins at some index of a step's memory."""
    return tuple((begin + ARRAYS.index(name), *place) for name, place in places.items())


def image_bytes(shape: tuple[int, ...]) -> int:
    """In scratch."""
    return aligned_bytes(4 * math.prod(shape))


def stage_of(request: Request) -> Stage:
    return Stage(laid(request)[1], is_dense(request))


def laid(request: Request) -> tuple[Problem, Layout]:
    """The problem of a stage over whole images, and where its arrays lie in them."""
    problem, out_shape = problem_of(request)
    out = request.out or contiguous(out_shape)
    merged, layout = lay(request, problem, out)
    if problem.kind == POINTWISE:
        residual = request.residual.strides[:3] if request.residual else None
        return problem, replace(layout, x=request.x.strides[:3], out=out.strides[:3], residual=residual)
    return merged, layout
