"""One operator of a TensorFlow Lite file under conversion, and what conversions ask about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.graph import Graph
from fastdw.networks.layers import Layer
from fastdw.networks.tflite_file import Model, Operator, Tensor
from fastdw.networks.windows import NO_PADDING, Padding, Shape, same_padding2d

ACTIVATIONS: dict[int, Activation] = {0: None, 1: "relu", 2: (-1.0, 1.0), 3: "relu6"}
SAME, VALID = 0, 1


@dataclass(frozen=True)
class Conversion:
    """An operator, and what came before it."""

    model: Model
    graph: Graph
    values: dict[int, str]  # what tensors are called in the graph
    constants: dict[int, np.ndarray]  # tensors that operators on constants gave
    operator: Operator

    @property
    def name(self) -> str:
        return f"{self.operator.name.lower()}_{self.operator.index}"

    @property
    def output(self) -> Tensor:
        return self.model.tensors[only(self.operator.outputs, "outputs")]

    def has_input(self, position: int) -> bool:
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def input(self, position: int) -> Tensor:
        if not self.has_input(position):
            raise ValueError(f"input {position}: got none; expected a tensor")
        return self.model.tensors[self.operator.inputs[position]]

    def is_constant(self, position: int) -> bool:
        tensor = self.input(position)
        return tensor.index in self.constants or (tensor.index not in self.values and tensor.data is not None)

    def constant(self, position: int) -> np.ndarray:
        tensor = self.input(position)
        return self.constants[tensor.index] if tensor.index in self.constants else tensor.values()

    def value(self, position: int = 0) -> str:
        """The graph's name for an input."""
        tensor = self.input(position)
        if tensor.index not in self.values:
            raise ValueError(f"tensor {tensor.index}: got an input that no operator before gives; expected one that is given before")
        return self.values[tensor.index]

    def shape(self, position: int = 0) -> Shape:
        return self.graph.shapes[self.value(position)]

    def option(self, name: str) -> Any:
        if self.operator.options is None:
            raise ValueError("options: got none; expected them")
        return self.operator.options[name]

    def weight(self, n_axes: int) -> np.ndarray:
        weight = self.constant(1)
        if weight.ndim != n_axes:
            raise ValueError(f"weight: got shape {weight.shape}; expected {n_axes} axes")
        return weight

    def bias(self, n_channels: int) -> np.ndarray | None:
        if not self.has_input(2):
            return None
        bias = self.constant(2)
        if bias.shape != (n_channels,):
            raise ValueError(f"bias: got shape {bias.shape}; expected ({n_channels},)")
        return bias

    def activation(self) -> Activation:
        code = self.option("FusedActivationFunction")
        if code not in ACTIVATIONS:
            raise ValueError(f"fused activation: got {code}, which is not supported; expected one of {tuple(ACTIVATIONS)}")
        return ACTIVATIONS[code]

    def sum_activation(self) -> Activation:
        """The fused activation of an operator whose output has a scale of its own."""
        activation = self.activation()
        return implied_activation(self.output) if activation is None else activation

    def pair(self, rows: str, cols: str) -> tuple[int, int]:
        sizes = self.option(rows), self.option(cols)
        if min(sizes) < 1:
            raise ValueError(f"{rows}, {cols}: got {sizes}; expected at least 1")
        return sizes

    def stride(self) -> tuple[int, int]:
        return self.pair("StrideH", "StrideW")

    def padding(self, window: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Padding:
        code = self.option("Padding")
        if code not in (SAME, VALID):
            raise ValueError(f"padding: got {code}; expected 0 (same) or 1 (valid)")
        if code == VALID or len(self.shape()) != 4:
            return NO_PADDING
        return same_padding2d(self.shape(), window, self.stride(), dilation)

    def add(self, layer: Layer) -> str:
        return self.graph.add(layer)


def only(indices: tuple[int, ...], what: str) -> int:
    if len(indices) != 1 or indices[0] < 0:
        raise ValueError(f"{what}: got {len(indices)}; expected 1")
    return indices[0]


def implied_activation(output: Tensor) -> Activation:
    """The activation that a quantised output stands for by its range alone.

    Older converters drop a relu or relu6 where the integers cannot express anything outside it: a range that starts at exactly 0.
    """
    if output.dtype.itemsize != 1 or not output.is_quantised or output.scale.size != 1:
        return None
    scale, zero_point = output.quantisation()
    integers = np.iinfo(output.dtype)
    return (0.0, float((integers.max - zero_point) * scale)) if zero_point == integers.min else None
