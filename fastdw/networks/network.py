"""A network that is planned once and then called like a function."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from fastdw import arguments, forks
from fastdw.networks.arranging import Reshape
from fastdw.networks.buffers import Lifetime, place
from fastdw.networks.folding import fold
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import Call, Layer
from fastdw.networks.windows import Shape
from fastdw.packing import aligned_empty


@dataclass(frozen=True)
class PlannedLayer:
    """A layer with its plan: `call(*inputs, out=array)` computes it."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    output_shape: Shape
    multiply_adds: int
    call: Call = field(repr=False)


class Network:
    """y = network(x)

    Planned at construction: weights packed, calls prepared, memory between layers laid out. A call allocates its result and nothing
    else of size. Threads that call one network take turns.

    Args:
      graph: what to compute.
      threads: threads a layer may use; None for fastdw's default.
    """

    def __init__(self, graph: Graph, *, threads: int | None = None):
        graph = fold(graph)
        if not graph.layers:
            raise ValueError(f"{graph.name}: got a network without layers; expected at least one")
        self.name = graph.name
        self.input_shape = graph.input_shape
        self.output_shape = graph.output_shape
        self.quantization = graph.quantization
        self.layers = tuple(plan_layer(graph, layer, threads) for layer in graph.layers if not is_view(graph, layer))
        self._output = graph.output
        self._values, self.buffer_bytes = lay_out(graph)
        self._lock = forks.Lock()

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Runs the network.

        Args:
          x: float32 of `input_shape`.
          out: float32 of `output_shape`, written in place; must not overlap x.

        Returns:
          float32 of `output_shape`; `out` itself when given.

        Raises:
          TypeError: an array is not a float32 NumPy array.
          ValueError: an array has the wrong shape, or out is read-only or overlaps x.
        """
        with self._lock:
            values = self._bind(x, out)
            for layer in self.layers:
                layer.call(*[values[name] for name in layer.inputs], out=values[layer.name])
            return values[self._output]

    def profile(self, x: np.ndarray) -> list[tuple[PlannedLayer, float]]:
        """Runs the network once: each layer with the seconds it took."""
        with self._lock:
            values = self._bind(x, None)
            seconds = []
            for layer in self.layers:
                inputs = [values[name] for name in layer.inputs]
                start = perf_counter()
                layer.call(*inputs, out=values[layer.name])
                seconds.append(perf_counter() - start)
        return list(zip(self.layers, seconds, strict=True))

    def _bind(self, x: np.ndarray, out: np.ndarray | None) -> dict[str, np.ndarray]:
        """The array of every value of one call."""
        x = checked("x", x, self.input_shape)
        if out is None:
            out = aligned_empty(self.output_shape)
        else:
            out = checked("out", out, self.output_shape)
            if not out.flags.writeable:
                raise arguments.error("out", "a read-only array", "a writeable one")
            if np.may_share_memory(x, out):
                raise arguments.error("out", "memory that overlaps x", "memory of its own")
        return {**self._values, INPUT: x, self._output: out}

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        return f"<Network {self.name}: {shapes}, {len(self.layers)} layers, {self.multiply_adds:,} multiply-adds>"


def checked(name: str, array: Any, shape: Shape) -> np.ndarray:
    array = arguments.array(array, name)
    if array.shape != shape:
        raise arguments.error(name, f"shape {array.shape}", f"{shape}")
    return array


def plan_layer(graph: Graph, layer: Layer, threads: int | None) -> PlannedLayer:
    shapes = graph.input_shapes(layer)
    try:
        call = layer.prepare(threads, *shapes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{graph.name}: {layer.name}: {error}") from error
    return PlannedLayer(layer.name, layer.kind, layer.inputs, graph.shapes[layer.name], layer.multiply_adds(*shapes), call)


def is_view(graph: Graph, layer: Layer) -> bool:
    """A reshape of memory that the network owns; at its input and output a reshape is a copy."""
    return isinstance(layer, Reshape) and layer.inputs[0] != INPUT and graph.output not in (layer.name, layer.inputs[0])


def lay_out(graph: Graph) -> tuple[dict[str, np.ndarray], int]:
    """The arrays of all values but the network's input and output, and how many bytes they take together."""
    owners: dict[str, str] = {}
    lifetimes: dict[str, Lifetime] = {}
    for step, layer in enumerate(graph.layers):
        for name in layer.inputs:
            if name != INPUT:
                lifetimes[owners[name]].last = step
        owners[layer.name] = owners[layer.inputs[0]] if is_view(graph, layer) else layer.name
        if owners[layer.name] == layer.name:
            lifetimes[layer.name] = Lifetime(prod(graph.shapes[layer.name]), step, step)
    lifetimes.pop(graph.output)
    offsets, n_floats = place(lifetimes)
    arena = aligned_empty((n_floats,))
    values = {}
    for name, owner in owners.items():
        if owner in offsets:
            shape = graph.shapes[name]
            values[name] = arena[offsets[owner] : offsets[owner] + prod(shape)].reshape(shape)
    return values, 4 * n_floats
