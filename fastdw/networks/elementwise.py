"""Layers that treat each element by itself, and softmax."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fastdw.networks.activations import Activation, activate
from fastdw.networks.compiled import prepare_elementwise, prepare_softmax
from fastdw.networks.layers import Layer, LayerCall, NumpyLayer
from fastdw.networks.windows import Shape


@dataclass(frozen=True, eq=False)
class Binary(NumpyLayer):
    """act(a op b), or act(a op constant); broadcasts as NumPy does."""

    works_in_place = True
    operation: ClassVar[np.ufunc]
    place: ClassVar[str]  # of the other number in x * weight + residual
    constant: np.ndarray | None = field(default=None, repr=False, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shapes = input_shapes if self.constant is None else (*input_shapes, self.constant.shape)
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise ValueError(f"inputs: got shapes {' and '.join(map(str, shapes))}; expected shapes that broadcast") from None

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return prepare_elementwise(threads, input_shapes, self.place, self.constant, self.activation) or self.run

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        a, b = inputs if self.constant is None else (inputs[0], self.constant)
        self.operation(a, b, out=out)
        activate(out, self.activation, out)


@dataclass(frozen=True, eq=False)
class Add(Binary):
    kind = "add"
    operation = np.add
    place = "residual"


@dataclass(frozen=True, eq=False)
class Multiply(Binary):
    kind = "multiply"
    operation = np.multiply
    place = "weight"


@dataclass(frozen=True, eq=False)
class Activate(Layer):
    """An activation that stands alone."""

    kind = "activation"
    works_in_place = True
    activation: Activation = field(default="relu", kw_only=True)

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return prepare_elementwise(threads, input_shapes, "", None, self.activation)


@dataclass(frozen=True, eq=False)
class Softmax(Layer):
    """exp(beta * x) / sum(exp(beta * x)) over the last axis"""

    kind = "softmax"
    works_in_place = True
    beta: float = field(default=1.0, kw_only=True)

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return prepare_softmax(input_shapes[0], self.beta)
