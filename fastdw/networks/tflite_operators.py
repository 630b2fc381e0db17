"""How each TensorFlow Lite operator becomes layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdw.networks.graph import Graph
from fastdw.networks.layers import Activation, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, Layer, PointwiseConv2D
from fastdw.networks.numpy_layers import Add, AveragePool2D, Clamp, Logistic, MaxPool2D, Pad, Reshape, Softmax
from fastdw.networks.tflite_file import Model, Operator, Tensor
from fastdw.networks.windows import NO_PADDING, Padding, Shape, same_padding2d

ACTIVATIONS: dict[int, Activation] = {0: None, 1: "relu", 2: (-1.0, 1.0), 3: "relu6"}
SAME, VALID = 0, 1
DEFAULT_WEIGHTS_FORMAT = 0


@dataclass(frozen=True)
class Step:
    """One operator under conversion: what came before it, and what conversions ask about it."""

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


def convert_conv2d(step: Step) -> str:
    weight = np.ascontiguousarray(step.weight(4).transpose(1, 2, 3, 0))
    kernel, stride, dilation = weight.shape[:2], step.stride(), step.pair("DilationHFactor", "DilationWFactor")
    bias, activation = step.bias(weight.shape[3]), step.sum_activation()
    if kernel == stride == (1, 1):
        return step.add(PointwiseConv2D(step.name, (step.value(),), weight[0, 0], bias=bias, activation=activation))
    padding = step.padding(kernel, dilation)
    return step.add(
        Conv2D(step.name, (step.value(),), weight, bias=bias, activation=activation, stride=stride, padding=padding, dilation=dilation)
    )


def convert_depthwise_conv2d(step: Step) -> str:
    weight, channels = step.weight(4), step.shape()[-1]
    if weight.shape[0] != 1 or weight.shape[3] % channels:
        raise ValueError(f"weight: got shape {weight.shape}; expected (1, height, width, a multiple of the {channels} input channels)")
    weight = weight.reshape(*weight.shape[1:3], channels, -1)
    kernel, dilation = weight.shape[:2], step.pair("DilationHFactor", "DilationWFactor")
    return step.add(
        DepthwiseConv2D(
            step.name,
            (step.value(),),
            weight,
            bias=step.bias(channels * weight.shape[3]),
            activation=step.sum_activation(),
            stride=step.stride(),
            padding=step.padding(kernel, dilation),
            dilation=dilation,
        )
    )


def convert_fully_connected(step: Step) -> str:
    if step.option("WeightsFormat") != DEFAULT_WEIGHTS_FORMAT:
        raise ValueError(f"weights format: got {step.option('WeightsFormat')}; expected {DEFAULT_WEIGHTS_FORMAT}, the default")
    weight = np.ascontiguousarray(step.weight(2).T)
    value = step.value()
    if len(step.shape()) != 2:
        value = step.add(Reshape(f"{step.name}_rows", (value,), shape=(-1, weight.shape[0])))
    value = step.add(Dense(step.name, (value,), weight, bias=step.bias(weight.shape[1]), activation=step.sum_activation()))
    if step.option("KeepNumDims") and len(step.shape()) != 2:
        value = step.add(Reshape(f"{step.name}_axes", (value,), shape=(*step.shape()[:-1], weight.shape[1])))
    return value


def convert_add(step: Step) -> str:
    activation = step.sum_activation()
    constants = [position for position in (0, 1) if step.is_constant(position)]
    if not constants:
        return step.add(Add(step.name, (step.value(0), step.value(1)), activation=activation))
    return step.add(Add(step.name, (step.value(1 - constants[0]),), constant=step.constant(constants[0]), activation=activation))


def convert_average_pool(step: Step) -> str:
    window, activation = step.pair("FilterHeight", "FilterWidth"), step.activation()
    padding = step.padding(window)
    if window != step.shape()[1:3] or padding != NO_PADDING:
        return step.add(
            AveragePool2D(step.name, (step.value(),), window=window, stride=step.stride(), padding=padding, activation=activation)
        )
    mean = step.add(GlobalAveragePool2D(step.name, (step.value(),), keepdims=True))
    return mean if activation is None else step.add(Clamp(f"{step.name}_clamp", (mean,), activation=activation))


def convert_max_pool(step: Step) -> str:
    window = step.pair("FilterHeight", "FilterWidth")
    padding, activation = step.padding(window), step.activation()
    return step.add(MaxPool2D(step.name, (step.value(),), window=window, stride=step.stride(), padding=padding, activation=activation))


def convert_mean(step: Step) -> str:
    axes = step.input(1).integers()
    n_axes = len(step.shape())
    if n_axes != 4 or {axis % 4 for axis in axes} != {1, 2}:
        raise ValueError(f"axes: got {axes} of {n_axes}; expected height and width, (1, 2) of 4")
    return step.add(GlobalAveragePool2D(step.name, (step.value(),), keepdims=bool(step.option("KeepDims"))))


def convert_pad(step: Step) -> str:
    sizes = step.input(1).integers()
    if len(sizes) != 2 * len(step.shape()):
        raise ValueError(f"paddings: got {sizes}; expected two sizes for each axis of {step.shape()}")
    return step.add(Pad(step.name, (step.value(),), padding=tuple(zip(sizes[::2], sizes[1::2], strict=True))))


def convert_reshape(step: Step) -> str:
    return step.add(Reshape(step.name, (step.value(),), shape=step.output.shape))


def convert_softmax(step: Step) -> str:
    beta = step.option("Beta")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta: got {beta}; expected a finite number above 0")
    return step.add(Softmax(step.name, (step.value(),), beta=beta))


def convert_logistic(step: Step) -> str:
    return step.add(Logistic(step.name, (step.value(),)))


def convert_clamp(activation: Activation) -> Callable[[Step], str]:
    return lambda step: step.add(Clamp(step.name, (step.value(),), activation=activation))


def convert_quantization(step: Step) -> str | np.ndarray:
    """Between integers and floats: nothing to do where everything runs in float32."""
    return step.constant(0) if step.is_constant(0) else step.value()


CONVERSIONS: dict[str, Callable[[Step], str | np.ndarray]] = {
    "CONV_2D": convert_conv2d,
    "DEPTHWISE_CONV_2D": convert_depthwise_conv2d,
    "FULLY_CONNECTED": convert_fully_connected,
    "ADD": convert_add,
    "AVERAGE_POOL_2D": convert_average_pool,
    "MAX_POOL_2D": convert_max_pool,
    "MEAN": convert_mean,
    "PAD": convert_pad,
    "RESHAPE": convert_reshape,
    "SQUEEZE": convert_reshape,
    "SOFTMAX": convert_softmax,
    "LOGISTIC": convert_logistic,
    "RELU": convert_clamp("relu"),
    "RELU6": convert_clamp("relu6"),
    "RELU_N1_TO_1": convert_clamp((-1.0, 1.0)),
    "QUANTIZE": convert_quantization,
    "DEQUANTIZE": convert_quantization,
}
