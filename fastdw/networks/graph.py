"""A network before it is planned: an input and the layers, each reading what comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fastdw.networks.layers import Layer
from fastdw.networks.windows import Shape

INPUT = "input"
MOST_VALUE_BYTES = 1 << 30


@dataclass(frozen=True)
class Quantization:
    """How integers stand for the values of the input: value = (integer - zero_point) * scale."""

    dtype: np.dtype
    scale: float
    zero_point: int


class Graph:
    """Layers in the order they run. The value a layer gives goes by the layer's name; the output is the last one's unless said.

    shapes: of all values, by name; input_shape and output_shape are two of them.
    quantization: of the input in the file the network came from; the network itself runs in float32.
    """

    def __init__(self, name: str, input_shape: Sequence[int], quantization: Quantization | None = None):
        self.name = name
        self.quantization = quantization
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {}
        self.output = INPUT
        self._set_shape(INPUT, tuple(int(size) for size in input_shape))

    def add(self, layer: Layer) -> str:
        """Appends a layer and gives its name, under which other layers read its output."""
        if layer.name in self.shapes:
            raise ValueError(f"{layer.name}: got a name already used; expected a new one")
        for name in layer.inputs:
            if name not in self.shapes:
                raise ValueError(
                    f"{layer.name}: got input {name!r}, which no layer before it gives; expected one of {', '.join(self.shapes)}"
                )
        try:
            shape = layer.output_shape(*self.input_shapes(layer))
        except ValueError as error:
            raise ValueError(f"{layer.name}: {error}") from None
        self._set_shape(layer.name, shape)
        self.layers.append(layer)
        self.output = layer.name
        return layer.name

    def input_shapes(self, layer: Layer) -> tuple[Shape, ...]:
        return tuple(self.shapes[name] for name in layer.inputs)

    @property
    def input_shape(self) -> Shape:
        return self.shapes[INPUT]

    @property
    def output_shape(self) -> Shape:
        return self.shapes[self.output]

    def _set_shape(self, name: str, shape: Shape) -> None:
        if min(shape, default=0) < 1:
            raise ValueError(f"{name}: got shape {shape}; expected one or more sizes of at least 1")
        if 4 * prod(shape) > MOST_VALUE_BYTES:
            raise ValueError(f"{name}: got shape {shape}, {4 * prod(shape):,} bytes; expected at most {MOST_VALUE_BYTES:,}")
        self.shapes[name] = shape
