"""One node of an ONNX model under conversion, and what conversions ask about it.

A value is kept in the graph with its axes in some order, its layout: stored = value.transpose(layout). So a transposition costs
nothing until a node needs another order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Reshape, Transpose
from fastdw.networks.elementwise import Activate
from fastdw.networks.graph import Graph
from fastdw.networks.layers import Layer
from fastdw.networks.onnx_file import Model, Node
from fastdw.networks.windows import NO_PADDING, Padding, Shape, same_padding2d

Layout = tuple[int, ...]
Integers = tuple[tuple[float, ...], tuple[int, ...]]  # scales and zero points: (integer - zero point) * scale is meant
NHWC: Layout = (0, 2, 3, 1)
ATTRIBUTE_TYPES = {list: "a list of integers", tuple: "a list of integers", str: "a text", float: "a number", int: "an integer"}


class Value(NamedTuple):
    name: str  # in the graph
    layout: Layout
    integers: Integers | None = None  # that the file has in its place


def as_it_is(n_axes: int) -> Layout:
    return tuple(range(n_axes))


def stored(graph: Graph, value: Value, layout: Layout, name: str) -> str:
    """The value with its axes in another order; a reshape where only axes of size 1 move."""
    if value.layout == layout:
        return value.name
    shape = graph.shapes[value.name]
    axes = tuple(value.layout.index(axis) for axis in layout)
    moved = [axis for axis in axes if shape[axis] > 1]
    if moved == sorted(moved):
        return graph.add(Reshape(name, (value.name,), shape=tuple(shape[axis] for axis in axes)))
    return graph.add(Transpose(name, (value.name,), axes=axes))


@dataclass(frozen=True)
class Conversion:
    """A node, and what came before it."""

    model: Model
    graph: Graph
    values: dict[str, Value]
    constants: dict[str, np.ndarray]
    node: Node

    @property
    def name(self) -> str:
        return f"{self.node.kind.lower()}_{self.node.index}"

    @property
    def output(self) -> str:
        given = [name for name in self.node.outputs if name]
        if not given or (len(given) > 1 and any(name in node.inputs for node in self.model.nodes for name in given[1:])):
            raise ValueError(f"outputs: got {len(given)}; expected 1")
        return given[0]

    def attribute(self, name: str, default: Any = None) -> Any:
        """What the node says, of the default's type where there is one."""
        value = self.node.attributes.get(name, default)
        if isinstance(default, list | tuple):
            fits = isinstance(value, list | tuple) and all(isinstance(entry, int) for entry in value)
        else:
            fits = default is None or isinstance(value, type(default))
        if not fits:
            raise ValueError(f"{name}: got {str(value)[:40]!r}; expected {ATTRIBUTE_TYPES[type(default)]}")
        return value

    def has_input(self, position: int) -> bool:
        return position < len(self.node.inputs) and self.node.inputs[position] != ""

    def input(self, position: int) -> str:
        if not self.has_input(position):
            raise ValueError(f"input {position}: got none; expected a tensor")
        return self.node.inputs[position]

    def is_constant(self, position: int) -> bool:
        return self.has_input(position) and self.node.inputs[position] in self.constants

    def raw_constant(self, position: int) -> np.ndarray:
        name = self.input(position)
        if name not in self.constants:
            raise ValueError(f"{name}: got a tensor that is computed; expected a constant")
        return self.constants[name]

    def constant(self, position: int) -> np.ndarray:
        """A constant as float32."""
        with np.errstate(over="ignore"):
            values = self.raw_constant(position).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.input(position)}: got a value that is not finite; expected finite ones")
        return values

    def integers(self, position: int, attribute: str) -> tuple[int, ...] | None:
        """Axes, sizes, paddings: an attribute in old models, a constant input in new ones."""
        if (values := self.attribute(attribute, ())) != ():
            return tuple(values)
        if not self.has_input(position):
            return None
        constant = self.raw_constant(position)
        if constant.dtype.kind not in "iu":
            raise ValueError(f"{attribute}: got {constant.dtype}; expected integers")
        return tuple(constant.reshape(-1).tolist())

    def value(self, position: int = 0) -> Value:
        name = self.input(position)
        if name in self.constants:
            raise ValueError(f"{name}: got a constant; expected a tensor that is computed")
        if name not in self.values:
            raise ValueError(f"{name}: got an input that no node before gives; expected one that is given before")
        return self.values[name]

    def shape(self, position: int = 0) -> Shape:
        """The shape of an input as the file orders it."""
        value = self.value(position)
        stored = self.graph.shapes[value.name]
        return tuple(stored[value.layout.index(axis)] for axis in range(len(stored)))

    def axis(self, axis: int, position: int = 0) -> int:
        n_axes = len(self.shape(position))
        if not -n_axes <= axis < n_axes:
            raise ValueError(f"axis: got {axis}; expected one of the {n_axes} of {self.shape(position)}")
        return axis % n_axes

    def image(self, position: int = 0) -> str:
        """An input as the graph's NHWC image."""
        if len(self.shape(position)) != 4:
            raise ValueError(f"input: got shape {self.shape(position)}; expected [batch, channels, height, width]")
        return stored(self.graph, self.value(position), NHWC, f"{self.name}_image{position}")

    def plain(self, position: int = 0) -> str:
        """An input in the order of the file."""
        return stored(self.graph, self.value(position), as_it_is(len(self.shape(position))), f"{self.name}_plain{position}")

    def add_image(self, layer: Layer) -> Value:
        return Value(self.graph.add(layer), NHWC)

    def add_plain(self, layer: Layer) -> Value:
        name = self.graph.add(layer)
        return Value(name, as_it_is(len(self.graph.shapes[name])))

    def activated(self, activation: Activation) -> Value:
        value = self.value()
        if activation is None:
            return value
        return Value(self.graph.add(Activate(self.name, (value.name,), activation=activation)), value.layout)

    def pair(self, name: str, default: tuple[int, int] = (1, 1)) -> tuple[int, int]:
        sizes = self.attribute(name, default)
        if len(sizes) != 2 or min(sizes) < 1:
            raise ValueError(f"{name}: got {sizes}; expected two sizes of at least 1")
        return sizes[0], sizes[1]

    def padding(self, window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Padding:
        way = self.attribute("auto_pad", "NOTSET")
        if way == "NOTSET":
            top, left, bottom, right = self.pads(4)
            return (top, bottom), (left, right)
        if way == "VALID":
            return NO_PADDING
        shape = self.shape()
        rows, cols = same_padding2d((shape[0], shape[2], shape[3], shape[1]), window, stride, dilation)
        if way == "SAME_UPPER":
            return rows, cols
        if way == "SAME_LOWER":
            return (rows[1], rows[0]), (cols[1], cols[0])
        raise ValueError(f"auto_pad: got {way!r}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")

    def pads(self, count: int) -> tuple[int, ...]:
        sizes = tuple(self.attribute("pads", [0] * count))
        if len(sizes) != count or min(sizes) < 0:
            raise ValueError(f"pads: got {sizes}; expected {count} sizes of at least 0")
        return sizes
