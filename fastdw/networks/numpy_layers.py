"""The layers between convolutions, as plain NumPy: they are few, small, and mostly folded away."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, prod
from typing import Any

import numpy as np

from fastdw.networks.layers import Activation, Call, Layer
from fastdw.networks.windows import NO_PADDING, Padding, Shape, output_shape2d, tap_slices

BOUNDS = {"relu": (0.0, inf), "relu6": (0.0, 6.0)}


def clamp(values: np.ndarray, activation: Activation, out: np.ndarray) -> None:
    """out = act(values); both may be the same array."""
    low, high = BOUNDS[activation] if isinstance(activation, str) else activation or (-inf, inf)
    if low > -inf:
        values = np.maximum(values, np.float32(low), out=out)
    if high < inf:
        values = np.minimum(values, np.float32(high), out=out)
    if values is not out:
        np.copyto(out, values)


@dataclass(frozen=True, eq=False)
class NumpyLayer(Layer):
    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        raise NotImplementedError

    def prepare(self, threads: int | None, *input_shapes: Shape) -> Call:
        return self.run


@dataclass(frozen=True, eq=False)
class Add(NumpyLayer):
    """act(a + b), or act(a + constant); broadcasts as NumPy does."""

    kind = "add"
    constant: np.ndarray | None = field(default=None, repr=False, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shapes = input_shapes if self.constant is None else (*input_shapes, self.constant.shape)
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise ValueError(f"inputs: got shapes {' and '.join(map(str, shapes))}; expected shapes that broadcast") from None

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        a, b = inputs if self.constant is None else (inputs[0], self.constant)
        np.add(a, b, out=out)
        clamp(out, self.activation, out)


@dataclass(frozen=True, eq=False)
class Clamp(NumpyLayer):
    """An activation that stands alone."""

    kind = "clamp"
    activation: Activation = field(default="relu", kw_only=True)

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        clamp(inputs[0], self.activation, out)


@dataclass(frozen=True, eq=False)
class Logistic(NumpyLayer):
    """1 / (1 + exp(-x))"""

    kind = "logistic"

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        np.negative(inputs[0], out=out)
        with np.errstate(over="ignore"):
            np.exp(out, out=out)
        out += 1
        np.reciprocal(out, out=out)


@dataclass(frozen=True, eq=False)
class Softmax(NumpyLayer):
    """exp(beta * x) / sum(exp(beta * x)) over the last axis"""

    kind = "softmax"
    beta: float = field(default=1.0, kw_only=True)

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        np.subtract(inputs[0], np.maximum.reduce(inputs[0], axis=-1, keepdims=True), out=out)
        if self.beta != 1:
            out *= np.float32(self.beta)
        np.exp(out, out=out)
        out /= np.add.reduce(out, axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Reshape(NumpyLayer):
    kind = "reshape"
    shape: Shape = field(default=(-1,), kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        n_elements, known = prod(input_shapes[0]), prod(size for size in self.shape if size != -1)
        shape = tuple(n_elements // max(known, 1) if size == -1 else size for size in self.shape)
        if self.shape.count(-1) > 1 or min(shape, default=1) < 1 or prod(shape) != n_elements:
            raise ValueError(f"shape: got {self.shape}; expected the {n_elements} elements of {input_shapes[0]}")
        return shape

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, inputs[0].reshape(out.shape))


@dataclass(frozen=True, eq=False)
class Pad(NumpyLayer):
    """Zeros around the image: padding is (before, after) of each axis."""

    kind = "pad"
    padding: tuple[tuple[int, int], ...] = field(kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shape = input_shapes[0]
        if len(self.padding) != len(shape) or min(map(min, self.padding), default=0) < 0:
            raise ValueError(f"padding: got {self.padding}; expected two sizes for each axis of {shape}")
        return tuple(size + sum(around) for size, around in zip(shape, self.padding, strict=True))

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        inside = tuple(slice(before, before + size) for size, (before, _) in zip(inputs[0].shape, self.padding, strict=True))
        out[inside] = inputs[0]


@dataclass(frozen=True, eq=False)
class Pool2D(NumpyLayer):
    """A window slides over each channel; taps on the padding do not count."""

    window: tuple[int, int] = field(kw_only=True)
    stride: tuple[int, int] = field(kw_only=True)
    padding: Padding = field(default=NO_PADDING, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        for window, around in zip(self.window, self.padding, strict=True):
            if max(around) >= window:
                raise ValueError(f"padding: got {self.padding}; expected less than the window {self.window}")
        return output_shape2d(input_shapes[0], input_shapes[0][-1], self.window, self.stride, padding=self.padding)

    def over_taps(self, x: np.ndarray, out: np.ndarray, combine: Any) -> None:
        """out = combine(out, x under the tap), tap after tap"""
        (top, _), (left, _) = self.padding
        for p in range(self.window[0]):
            out_rows, in_rows = tap_slices(x.shape[1], out.shape[1], p, self.stride[0], top)
            for q in range(self.window[1]):
                out_cols, in_cols = tap_slices(x.shape[2], out.shape[2], q, self.stride[1], left)
                target = out[:, out_rows, out_cols]
                combine(target, x[:, in_rows, in_cols], out=target)


@dataclass(frozen=True, eq=False)
class MaxPool2D(Pool2D):
    kind = "max_pool2d"

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = -inf
        self.over_taps(inputs[0], out, np.maximum)
        clamp(out, self.activation, out)


@dataclass(frozen=True, eq=False)
class AveragePool2D(Pool2D):
    kind = "average_pool2d"

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        self.over_taps(inputs[0], out, np.add)
        out /= self.count_taps(inputs[0].shape, out.shape)
        clamp(out, self.activation, out)

    def count_taps(self, in_shape: Shape, out_shape: Shape) -> np.ndarray:
        """How many taps lie inside the image, [1, out_h, out_w, 1]"""
        counts = np.zeros((1, *out_shape[1:3], 1), np.float32)
        self.over_taps(np.ones((1, *in_shape[1:3], 1), np.float32), counts, np.add)
        return counts
