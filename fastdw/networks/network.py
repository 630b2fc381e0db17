"""A network that is planned once and then called like a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from time import perf_counter

import numpy as np

from fastdw import arguments, forks
from fastdw.call import refuse_overlap
from fastdw.gather import check_writable
from fastdw.networks import blocks
from fastdw.networks.arranging import Reshape
from fastdw.networks.buffers import Lifetime, place
from fastdw.networks.folding import fold
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import Layer, LayerCall
from fastdw.networks.runs import make_runs, scratch_name
from fastdw.networks.windows import Shape
from fastdw.packing import aligned_empty


@dataclass(frozen=True)
class PlannedLayer:
    """A layer with its plan: `call(*inputs, out=array)` computes it.

    name, kind, inputs (names of layers), output_shape and multiply_adds are those of the layer.
    bytes_moved: the least possible: what comes in, parameters, what goes out. kernel: the plan's, or "" where NumPy computes.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output_shape: Shape
    multiply_adds: int
    bytes_moved: int
    kernel: str
    call: LayerCall = field(repr=False)

    @property
    def steps(self) -> tuple:
        """What it is in a compiled program; none where it is not of kernels alone."""
        return getattr(self.call, "steps", ())

    @property
    def scratch_bytes(self) -> int:
        """Of memory that its steps need."""
        plan = getattr(self.call, "plan", None)
        return plan.scratch_bytes if plan and self.steps else 0


class Network:
    """y = network(x)

    Planned at construction: weights packed, kernels bound, memory between layers laid out. A call allocates its result and nothing
    else of size. Kernels that follow each other run as one compiled program. Threads that call one network take turns.

    Args:
      graph: what to compute.
      threads: threads a layer may use; None for fastdw's default.
      fuse: compute convolutions in a row strip by strip where the planner finds that this pays. The bits are the same without.

    name, input_shape, output_shape and quantization are those of the graph; layers: a tuple of PlannedLayer; multiply_adds: of all.
    scratch_bytes: the size of the memory between layers, which the network owns.
    """

    def __init__(self, graph: Graph, *, threads: int | None = None, fuse: bool = True):
        with forks.WHOLE:
            from fastdw import program, thread_pool  # noqa: F401 (all that programs are compiled with, while a fork waits)

        graph = fold(graph)
        if not graph.layers:
            raise ValueError(f"{graph.name}: got a network without layers; expected at least one")
        if arguments.flag(fuse, "fuse"):
            graph = blocks.fuse(graph, threads)
        self.name = graph.name
        self.input_shape = graph.input_shape
        self.output_shape = graph.output_shape
        self.quantization = graph.quantization
        self.layers = tuple(plan_layer(graph, layer, threads) for layer in graph.layers if not is_view(graph, layer))
        self._output = graph.output
        scratch_bytes = {layer.name: layer.scratch_bytes for layer in self.layers}
        self._values, self.scratch_bytes = lay_out(graph, scratch_bytes)
        self._runs = make_runs(self.layers, self._values, self._output, threads or thread_pool.thread_limit())
        self._is_usual = usual(self.input_shape, self.output_shape)
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
        y = aligned_empty(self.output_shape) if out is None else out
        if not self._is_usual(x, y) or (out is not None and np.may_share_memory(x, y)):
            return self._call_any(x, out)
        with self._lock:
            for run in self._runs:
                run(x, y)
        return y

    def _call_any(self, x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Layer by layer: other strides than usual, other arrays than NumPy's, or a mistake."""
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
        x = arguments.array(x, "x")
        if x.shape != self.input_shape:
            raise arguments.error("x", f"shape {x.shape}", f"{self.input_shape}")
        if out is None:
            out = aligned_empty(self.output_shape)
        else:
            check_writable(out, self.output_shape)
            refuse_overlap(out, x=x)
        return {**self._values, INPUT: x, self._output: out}

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        return f"<Network {self.name}: {shapes}, {len(self.layers)} layers, {self.multiply_adds:,} multiply-adds>"


def plan_layer(graph: Graph, layer: Layer, threads: int | None) -> PlannedLayer:
    shapes = graph.input_shapes(layer)
    try:
        call = layer.prepare(threads, *shapes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{graph.name}: {layer.name}: {error}") from error
    plan = getattr(call, "plan", None)
    n_bytes = 4 * (sum(map(prod, shapes)) + layer.n_parameters + prod(graph.shapes[layer.name]))
    return PlannedLayer(
        layer.name,
        layer.kind,
        layer.inputs,
        graph.shapes[layer.name],
        layer.multiply_adds(*shapes),
        n_bytes,
        plan.id if plan else "",
        call,
    )


def is_view(graph: Graph, layer: Layer) -> bool:
    """A reshape of memory that the network owns; at its input and output a reshape is a copy."""
    return isinstance(layer, Reshape) and layer.inputs[0] != INPUT and graph.output not in (layer.name, layer.inputs[0])


def usual(x_shape: Shape, out_shape: Shape) -> Callable[[np.ndarray, np.ndarray], bool]:
    """Whether x and out are contiguous NumPy arrays of such shapes."""
    from fastdw import arrays

    if max(len(x_shape), len(out_shape)) > arrays.MOST_AXES:
        return lambda x, out: False
    is_usual = arrays.usual()
    expected = arrays.expectation((x_shape, False), (x_shape, False), (out_shape, True))
    address = expected.ctypes.data

    def as_expected(x: np.ndarray, out: np.ndarray, kept: np.ndarray = expected) -> bool:
        return is_usual(x, x, out, address)

    return as_expected


def lay_out(graph: Graph, scratch_bytes: dict[str, int]) -> tuple[dict[str, np.ndarray], int]:
    """The arrays of all values but the network's input and output, layers' scratch too, and how many bytes they take together."""
    owners = find_owners(graph)
    lifetimes: dict[str, Lifetime] = {}
    for step, layer in enumerate(graph.layers):
        for name in layer.inputs:
            if name != INPUT:
                lifetimes[owners[name]].last = step
        lifetimes.setdefault(owners[layer.name], Lifetime(prod(graph.shapes[layer.name]), step, step)).last = step
        if scratch_bytes.get(layer.name):
            lifetimes[scratch_name(layer.name)] = Lifetime(-(-scratch_bytes[layer.name] // 4), step, step)
    lifetimes.pop(graph.output)
    offsets, n_floats = place(lifetimes)
    arena = aligned_empty((n_floats,))
    values = {}
    for name, owner in owners.items():
        if owner in offsets:
            shape = graph.shapes[name]
            values[name] = arena[offsets[owner] : offsets[owner] + prod(shape)].reshape(shape)
    for name in set(offsets) - set(owners):
        values[name] = arena[offsets[name] : offsets[name] + lifetimes[name].n_floats]
    return values, 4 * n_floats


def find_owners(graph: Graph) -> dict[str, str]:
    """The value in whose memory each value lies: its own, that of what it is a view of, or that of an input which it takes the place of."""
    last_reads = {name: step for step, layer in enumerate(graph.layers) for name in layer.inputs}
    owners: dict[str, str] = {}
    for step, layer in enumerate(graph.layers):
        owners[layer.name] = layer.name
        if is_view(graph, layer):
            owners[layer.name] = owners[layer.inputs[0]]
        elif layer.works_in_place and layer.name != graph.output:
            for name in layer.inputs:
                sharers = [other for other, owner in owners.items() if name != INPUT and owner == owners[name] and other != layer.name]
                is_free = sharers and graph.output not in sharers and max(last_reads.get(other, 0) for other in sharers) <= step
                if is_free and graph.shapes[name] == graph.shapes[layer.name]:
                    owners[layer.name] = owners[name]
                    break
    return owners
