"""Layers in a row as one compiled program; a layer that is no kernel stands between two of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from fastdw.kernels.spec import BlockPlan
from fastdw.machine import host
from fastdw.networks.compiled import input_name
from fastdw.networks.graph import INPUT
from fastdw.networks.parameters import in_order, look_ahead

if TYPE_CHECKING:
    from fastdw.networks.network import PlannedLayer

Run = Callable[[np.ndarray, np.ndarray], object]  # run(x, out) on the network's input and output


def make_runs(layers: tuple[PlannedLayer, ...], values: dict[str, np.ndarray], output: str, threads: int) -> list[Run]:
    """values: the arrays between layers by name, and scratch of layers under scratch_name."""
    runs: list[Run] = []
    for is_compiled, group in groupby(layers, lambda layer: bool(layer.steps)):
        if is_compiled:
            runs.append(compiled(list(group), values, output, threads))
        else:
            runs += [alone(layer, values, output) for layer in group]
    return runs


def scratch_name(layer: str) -> str:
    return f"scratch of {layer}"


def alone(layer: PlannedLayer, values: dict[str, np.ndarray], output: str) -> Run:
    def run(x: np.ndarray, out: np.ndarray) -> None:
        given = [x if name == INPUT else out if name == output else values[name] for name in layer.inputs]
        layer.call(*given, out=out if layer.name == output else values[layer.name])

    return run


def compiled(layers: list[PlannedLayer], values: dict[str, np.ndarray], output: str, threads: int) -> Run:
    """The steps of all layers as one program."""
    from fastdw.program import Program

    given = [arrays_of(layer, values, output) for layer in layers for _ in layer.steps]
    bound, parameters = zip(*(step for layer in layers for step in layer.steps), strict=True)
    placed, ranges = in_order(parameters)
    following = iter(placed)
    for layer in layers:
        layer.call.keep([next(following) for _ in layer.steps])  # type: ignore[attr-defined]
    steps = look_ahead(bound, ranges, host().l2_size // 2)
    plans = [getattr(layer.call, "plan", None) for layer in layers]
    room = [plan.threads for plan in plans if isinstance(plan, BlockPlan)]  # for so many threads in its scratch
    workers = min([threads, max(step.tasks for step in steps), *room])
    program = Program([(step, {**around, **each}) for step, around, each in zip(steps, given, placed, strict=True)], workers)
    return lambda x, out: program.run(x, x, out, 0)


def arrays_of(layer: PlannedLayer, values: dict[str, np.ndarray], output: str) -> dict[str, np.ndarray | str]:
    """What a layer reads and writes, by the names that its steps know them by."""
    places: dict[str, np.ndarray | str] = {**values, INPUT: "x", output: "out"}
    names = map(input_name, range(len(layer.inputs)))
    around = dict(zip(names, (places[name] for name in layer.inputs), strict=True)) | {"out": places[layer.name]}
    if scratch_name(layer.name) in values:
        around["scratch"] = values[scratch_name(layer.name)]
    return around
