"""Layers that move elements: reshape, pad, concatenate, resize."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from fastdw.networks.compiled import prepare_concatenate, prepare_pad, prepare_resize
from fastdw.networks.layers import LayerCall, NumpyLayer
from fastdw.networks.windows import Shape


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
class Transpose(NumpyLayer):
    """The axes in another order, as np.transpose."""

    kind = "transpose"
    axes: tuple[int, ...] = field(kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shape = input_shapes[0]
        if sorted(self.axes) != list(range(len(shape))):
            raise ValueError(f"axes: got {self.axes}; expected each axis of {shape} once")
        return tuple(shape[axis] for axis in self.axes)

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, inputs[0].transpose(self.axes))


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

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return prepare_pad(self.run, threads, input_shapes[0], self.padding)

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        inside = tuple(slice(before, before + size) for size, (before, _) in zip(inputs[0].shape, self.padding, strict=True))
        out[inside] = inputs[0]


@dataclass(frozen=True, eq=False)
class Concatenate(NumpyLayer):
    """The inputs one after the other along an axis."""

    kind = "concatenate"
    axis: int = field(default=-1, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        first = input_shapes[0]
        if not -len(first) <= self.axis < len(first):
            raise ValueError(f"axis: got {self.axis}; expected one of the {len(first)} of {first}")
        axis = self.axis % len(first)
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in input_shapes}) > 1:
            shapes = " and ".join(map(str, input_shapes))
            raise ValueError(f"inputs: got shapes {shapes}; expected shapes that differ on axis {axis} alone")
        return (*first[:axis], sum(shape[axis] for shape in input_shapes), *first[axis + 1 :])

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return prepare_concatenate(self.run, threads, input_shapes, self.axis % len(input_shapes[0]))

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        np.concatenate(inputs, axis=self.axis, out=out)


@dataclass(frozen=True, eq=False)
class ResizeBilinear(NumpyLayer):
    """An image of another height and width: each output lies between two rows and two columns of the input.

    Output i lies at input i * step, at (i + 1/2) * step - 1/2 with half_pixel_centers; step = in / out, 1 / scale where a scale is
    given (out is then in * scale without its fraction), or (in - 1) / (out - 1) with align_corners. Outside the image its edge counts.
    """

    kind = "resize_bilinear"
    size: tuple[int, int] = field(kw_only=True)
    scale: tuple[float, float] | None = field(default=None, kw_only=True)
    align_corners: bool = field(default=False, kw_only=True)
    half_pixel_centers: bool = field(default=False, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shape = input_shapes[0]
        if len(shape) != 4:
            raise ValueError(f"input: got shape {shape}; expected [batch, height, width, channels]")
        return (shape[0], *self.size, shape[3])

    def neighbours(self, shape: Shape, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row (axis 0) or column (1): the one of the input before it, the one after it, and how far between them it lies."""
        size, out_size = shape[1 + axis], self.size[axis]
        if self.align_corners and out_size > 1:
            step = (size - 1) / (out_size - 1)
        else:
            step = size / out_size if self.scale is None else 1 / self.scale[axis]
        place = np.arange(out_size) * step
        if self.half_pixel_centers:
            place += (step - 1) / 2
        place = np.clip(place, 0, size - 1)
        before = place.astype(np.intp)
        return before, np.minimum(before + 1, size - 1), (place - before).astype(np.float32)

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        shape = input_shapes[0]
        return prepare_resize(threads, shape, self.size, self.neighbours(shape, 0), self.neighbours(shape, 1))

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        x = inputs[0]
        left, right, across = self.neighbours(x.shape, 1)
        across = across[:, None]
        for row, (above, below, down) in enumerate(zip(*self.neighbours(x.shape, 0), strict=True)):
            line = x[:, above] + (x[:, below] - x[:, above]) * down
            start = line[:, left]
            np.add(start, (line[:, right] - start) * across, out=out[:, row])
