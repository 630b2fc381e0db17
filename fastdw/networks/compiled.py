"""Layers that are no convolutions, as steps of a compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fastdw import arguments
from fastdw.call import Step
from fastdw.fused import located
from fastdw.jit import Task
from fastdw.kernels import arranging, elementwise
from fastdw.kernels.arranging import Bound
from fastdw.machine import host
from fastdw.networks.activations import Activation
from fastdw.networks.layers import LayerCall
from fastdw.networks.parameters import Parameters
from fastdw.networks.windows import Shape

Neighbours = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TaskPlan:
    id: str
    scratch_bytes: int = 0


class StepCall:
    """call(*inputs, out=array): one step by itself. Not to be called by two threads at once."""

    def __init__(self, task: Task, bound: Bound, names: tuple[str, ...], parameters: Parameters):
        """names: of what the step is given beside out, as its context knows it: inputs and parameters."""
        from fastdw.program import Program

        shape, memory, tasks = bound
        inputs = [name for name in names if name not in parameters]
        places = {name: (name if name in parameters else input_name(inputs.index(name)), 0) for name in names}
        step = Step(task.pointer(shape), memory, tasks, located(places | {"out": ("out", 0)}))
        self.plan = TaskPlan(f"f32_{task.function.__name__}_{shape}")
        self.steps = ((step, parameters),)
        self._program = Program([(step, {"x": "x", "residual": "residual", "out": "out", **parameters})])

    def keep(self, parameters: Sequence[Parameters]) -> None:
        """Parameters are small: the call by itself keeps those it has."""

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None, *, out: np.ndarray) -> None:
        x = np.ascontiguousarray(x)
        residual = x if residual is None else np.ascontiguousarray(residual)
        y = out if out.flags.c_contiguous else np.empty(out.shape, np.float32)
        self._program.run(x, residual, y, 0)
        if y is not out:
            out[...] = y


class Steps:
    """call(*inputs, out=array): several steps where it is a part of a program; by itself NumPy's computation, to the same bits."""

    def __init__(self, run: LayerCall, *steps: tuple[Task, Bound, str, int]):
        """steps: each a task with what is bound to it, the name of the input that it reads, if any, and floats past the begin of out."""
        self.plan = TaskPlan("")  # by itself it runs no kernel
        self.steps: tuple[tuple[Step, Parameters], ...] = tuple((self._step(*step), {}) for step in steps)
        self._run = run

    def _step(self, task: Task, bound: Bound, name: str, offset: int) -> Step:
        shape, memory, tasks = bound
        places = {"x": (name, 0)} if name else {}
        return Step(task.pointer(shape), memory, tasks, located(places | {"out": ("out", 4 * offset)}))

    def keep(self, parameters: Sequence[Parameters]) -> None:
        """There are none."""

    def __call__(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        self._run(*inputs, out=out)


def input_name(index: int) -> str:
    """Of a layer's input, as its steps know it."""
    return ("x", "residual")[index] if index < 2 else f"input {index}"


def prepare_concatenate(run: LayerCall, threads: int | None, shapes: tuple[Shape, ...], axis: int) -> Steps:
    rows, lengths = prod(shapes[0][:axis]), [prod(shape[axis:]) for shape in shapes]
    whole, steps, offset = sum(lengths), [], 0
    for index, length in enumerate(lengths):
        bound = arranging.bind_copy(1, rows, length, (0, length), (0, whole), workers(threads))
        steps.append((arranging.copy_rows, bound, input_name(index), offset))
        offset += length
    return Steps(run, *steps)


def prepare_pad(run: LayerCall, threads: int | None, shape: Shape, padding: tuple[tuple[int, int], ...]) -> LayerCall:
    """Around rows and columns; else only NumPy can."""
    if len(shape) != 4 or any(padding[0] + padding[3]):
        return run
    (images, rows, cols, channels), (_, (top, bottom), (left, right), _) = shape, padding
    out_row = (left + cols + right) * channels
    out_image = (top + rows + bottom) * out_row
    row = cols * channels
    bound = arranging.bind_copy(images, rows, row, (rows * row, row), (out_image, out_row), workers(threads))
    blank = arranging.bind_zeros(images * out_image, host(), workers(threads))
    return Steps(run, (arranging.fill_zeros, blank, "", 0), (arranging.copy_rows, bound, "x", top * out_row + left * channels))


def prepare_resize(threads: int | None, shape: Shape, size: tuple[int, int], rows: Neighbours, cols: Neighbours) -> StepCall:
    """rows and cols: of each output the input before it, the one after it, and how far between them it lies."""
    channels = shape[3]
    bound = arranging.bind_resize(shape, (shape[0], *size, channels), host(), workers(threads))
    tables = {"weight": arranging.table(*rows, 4 * shape[2] * channels), "bias": arranging.table(*cols, 4 * channels)}
    return StepCall(arranging.resize, bound, ("x", *tables), tables)


def workers(threads: int | None) -> int:
    from fastdw import thread_pool

    return threads or thread_pool.thread_limit()


def prepare_elementwise(threads: int | None, shapes: tuple[Shape, ...], name: str, constant: np.ndarray | None, activation: Activation):
    """act(x), act(x * other) where other's name is "weight", or act(x + other) where it is "residual". None where only NumPy can:
    not of one input alone."""
    names: tuple[str, ...] = ("x", name)[: len(shapes)]
    if len(shapes) == 2 and prod(shapes[0]) < prod(shapes[1]):
        names, shapes = names[::-1], shapes[::-1]
    x_shape, other = shapes[0], shapes[1] if len(shapes) == 2 else None
    parameters: Parameters = {}
    if constant is not None:
        constant = np.full(x_shape[-1:], constant.item()) if constant.size == 1 else constant
        parameters, other, names = {name: np.array(constant, np.float32)}, constant.shape, ("x", name)
    extents = elementwise.extents_of(x_shape, other)
    if extents is None:
        return None
    bound = elementwise.bind(extents, arguments.activation(activation), host(), workers(threads))
    return StepCall(elementwise.elementwise, bound, names, parameters)


def prepare_softmax(shape: Shape, beta: float) -> StepCall:
    parameters = {"bias": np.array([beta], np.float32)}
    return StepCall(elementwise.softmax, elementwise.bind_softmax(shape), ("x", "bias"), parameters)
