"""What a layer is, and the layers that fastdw's kernels compute.

A layer says what is computed: what it reads, the shape that comes out, its multiply-adds. `prepare` turns it into a call
for inputs of known shapes. A new kind of layer, a fused block too, is a new class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np

import fastdw
from fastdw.networks.activations import Activation
from fastdw.networks.windows import NO_PADDING, Padding, Shape, output_shape2d
from fastdw.problem import DEPTHWISE, POINTWISE

# call(*inputs, out=array). Where a kernel of fastdw computes it, it has an attribute `plan`; where kernels compute all of it on
# "x", "residual", "input 2", ..., the inputs in order, also attributes `steps` and `keep`: those of a prepared layer.
LayerCall = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Layer(ABC):
    """output = kind(*inputs). The output goes by the name of the layer, the input of the network by `graph.INPUT`."""

    kind: ClassVar[str]
    works_in_place: ClassVar[bool] = False  # whether out may be an input of the same shape
    name: str
    inputs: tuple[str, ...]

    def output_shape(self, *input_shapes: Shape) -> Shape:
        """The shape of the output; ValueError where the inputs do not fit the layer."""
        return input_shapes[0]

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return 0

    @property
    def n_parameters(self) -> int:
        return sum(value.size for value in vars(self).values() if isinstance(value, np.ndarray))

    @abstractmethod
    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        """A call for inputs of these shapes: call(*inputs, out=array)."""


def with_plan(call: LayerCall, layer: Any) -> LayerCall:
    """The call, with what a network asks of the prepared layer that does all its work."""
    for name in ("plan", "steps", "keep"):
        if hasattr(layer, name):
            setattr(call, name, getattr(layer, name))
    return call


@dataclass(frozen=True, eq=False)
class NumpyLayer(Layer):
    """A layer that NumPy computes: `run`, unless `prepare` finds that a task can."""

    @abstractmethod
    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        """out = the layer of the inputs."""

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return self.run


@dataclass(frozen=True, eq=False)
class Convolution(Layer):
    """act((sum + bias) + residual). A second input is the residual. stage: its kind where it may be a stage of a block."""

    stage: ClassVar[str] = ""
    weight: np.ndarray = field(repr=False)
    bias: np.ndarray | None = field(default=None, repr=False, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    @property
    def has_residual(self) -> bool:
        return len(self.inputs) == 2

    @property
    def geometry(self) -> dict[str, Any]:
        return {}

    def check_channels(self, input_shapes: tuple[Shape, ...], expected: int) -> None:
        if input_shapes[0][-1] != expected:
            raise ValueError(f"input: got shape {input_shapes[0]}; expected {expected} channels, as the weight {self.weight.shape} has")

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        function, keywords = getattr(fastdw, self.kind), {"activation": self.activation, "threads": threads, **self.geometry}
        if not self.has_residual:
            return fastdw.prepare(function, input_shapes[0], self.weight, self.bias, **keywords)
        layer = fastdw.prepare(function, input_shapes[0], self.weight, self.bias, residual=True, **keywords)
        return with_plan(lambda x, residual, out: layer(x, out=out, residual=residual), layer)


@dataclass(frozen=True, eq=False)
class SpatialConvolution(Convolution):
    """A convolution with a window: weight [kernel_h, kernel_w, ...]."""

    stride: tuple[int, int] = field(default=(1, 1), kw_only=True)
    padding: Padding = field(default=NO_PADDING, kw_only=True)
    dilation: tuple[int, int] = field(default=(1, 1), kw_only=True)

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def geometry(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def windowed_shape(self, shape: Shape, channels: int) -> Shape:
        return output_shape2d(shape, channels, self.kernel, self.stride, self.dilation, self.padding)


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D(SpatialConvolution):
    """weight [kernel_h, kernel_w, channels, multiplier]"""

    kind = "depthwise_conv2d"
    stage = DEPTHWISE

    def output_shape(self, *input_shapes: Shape) -> Shape:
        channels, multiplier = self.weight.shape[2:]
        self.check_channels(input_shapes, channels)
        return self.windowed_shape(input_shapes[0], channels * multiplier)

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return prod(self.output_shape(*input_shapes)) * prod(self.kernel)


@dataclass(frozen=True, eq=False)
class Conv2D(SpatialConvolution):
    """weight [kernel_h, kernel_w, in_channels, out_channels]"""

    kind = "conv2d"

    def output_shape(self, *input_shapes: Shape) -> Shape:
        in_channels, out_channels = self.weight.shape[2:]
        self.check_channels(input_shapes, in_channels)
        return self.windowed_shape(input_shapes[0], out_channels)

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return prod(self.output_shape(*input_shapes)) * prod(self.weight.shape[:3])


@dataclass(frozen=True, eq=False)
class GroupedConv2D(Conv2D):
    """Each group of input channels gives a group of output channels: weight [kernel_h, kernel_w, in_channels / groups, out_channels]"""

    kind = "grouped_conv2d"
    groups: int = field(kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        in_channels, out_channels = self.weight.shape[2:]
        self.check_channels(input_shapes, in_channels * self.groups)
        if out_channels % self.groups:
            raise ValueError(f"weight: got {out_channels} output channels; expected a multiple of the {self.groups} groups")
        return self.windowed_shape(input_shapes[0], out_channels)

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        in_channels, out_channels = self.weight.shape[2], self.weight.shape[3] // self.groups
        shape = (*input_shapes[0][:3], in_channels)
        calls = []
        for group in range(self.groups):
            inside, outside = (slice(group * size, (group + 1) * size) for size in (in_channels, out_channels))
            bias = None if self.bias is None else self.bias[outside]
            part = Conv2D(self.name, self.inputs, self.weight[..., outside], bias=bias, activation=self.activation, **self.geometry)
            calls.append((part.prepare(threads, shape, *input_shapes[1:]), inside, outside))

        def call(x: np.ndarray, *residual: np.ndarray, out: np.ndarray) -> None:
            for part, inside, outside in calls:
                part(x[..., inside], *(array[..., outside] for array in residual), out=out[..., outside])

        return call


@dataclass(frozen=True, eq=False)
class PointwiseConv2D(Convolution):
    """weight [in_channels, out_channels]"""

    kind = "pointwise_conv2d"
    stage = POINTWISE

    def output_shape(self, *input_shapes: Shape) -> Shape:
        in_channels, out_channels = self.weight.shape
        self.check_channels(input_shapes, in_channels)
        return output_shape2d(input_shapes[0], out_channels, (1, 1))

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return prod(input_shapes[0]) * self.weight.shape[1]


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """weight [in_features, out_features]"""

    kind = "dense"
    weight: np.ndarray = field(repr=False)
    bias: np.ndarray | None = field(default=None, repr=False, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        in_features, out_features = self.weight.shape
        if len(input_shapes[0]) != 2 or input_shapes[0][1] != in_features:
            raise ValueError(f"input: got shape {input_shapes[0]}; expected [batch, {in_features}], as the weight {self.weight.shape} has")
        return input_shapes[0][0], out_features

    def multiply_adds(self, *input_shapes: Shape) -> int:
        return prod(input_shapes[0]) * self.weight.shape[1]

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        return fastdw.prepare(fastdw.dense, input_shapes[0], self.weight, self.bias, activation=self.activation, threads=threads)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool2D(Layer):
    kind = "global_average_pool2d"
    keepdims: bool = field(default=False, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        shape = input_shapes[0]
        if len(shape) != 4:
            raise ValueError(f"input: got shape {shape}; expected [batch, height, width, channels]")
        return (shape[0], 1, 1, shape[3]) if self.keepdims else (shape[0], shape[3])

    def prepare(self, threads: int | None, *input_shapes: Shape) -> LayerCall:
        layer = fastdw.prepare(fastdw.global_average_pool2d, input_shapes[0], threads=threads)
        return with_plan(lambda x, out: layer(x, out=out[:, 0, 0]), layer) if self.keepdims else layer
