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
from fastdw.kernels import elementwise
from fastdw.machine import host
from fastdw.networks.activations import Activation
from fastdw.networks.windows import Shape
from fastdw.tile import TileShape

Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class TaskPlan:
    id: str
    scratch_bytes: int = 0


class StepCall:
    """call(*inputs, out=array): one step by itself. Not to be called by two threads at once."""

    def __init__(self, task: Task, bound: tuple[TileShape, np.ndarray, int], names: tuple[str, ...], parameters: Parameters):
        """names: of what the step is given beside out, as its context knows it: inputs and parameters."""
        from fastdw.program import Program

        shape, memory, tasks = bound
        inputs = [name for name in names if name not in parameters]
        aliases = dict(zip(inputs, ("x", "residual"), strict=False))  # the names of first and second input
        places = {name: (aliases.get(name, name), 0) for name in names}
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


def prepare_elementwise(threads: int | None, shapes: tuple[Shape, ...], name: str, constant: np.ndarray | None, activation: Activation):
    """act(x), act(x * other) where other's name is "weight", or act(x + other) where it is "residual". None where only NumPy can."""
    from fastdw import thread_pool

    names: tuple[str, ...] = ("x", name)[: len(shapes)]
    if len(shapes) == 2 and prod(shapes[0]) < prod(shapes[1]):
        names, shapes = names[::-1], shapes[::-1]
    x_shape, other = shapes[0], shapes[1] if len(shapes) == 2 else None
    if not x_shape:
        return None
    parameters: Parameters = {}
    if constant is not None:
        constant = np.broadcast_to(constant, x_shape[-1:]) if constant.size == 1 else constant
        parameters, other, names = {name: np.array(constant, np.float32)}, constant.shape, ("x", name)
    extents = elementwise.extents_of(x_shape, other)
    if extents is None:
        return None
    bound = elementwise.bind(extents, arguments.activation(activation), host(), threads or thread_pool.thread_limit())
    return StepCall(elementwise.elementwise, bound, names, parameters)


def prepare_softmax(shape: Shape, beta: float):
    if not shape:
        return None
    parameters = {"bias": np.array([beta], np.float32)}
    return StepCall(elementwise.softmax, elementwise.bind_softmax(shape), ("x", "bias"), parameters)
