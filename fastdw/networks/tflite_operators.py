"""How each TensorFlow Lite operator becomes layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear, Transpose
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply, Softmax
from fastdw.networks.layers import Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, PointwiseConv2D
from fastdw.networks.pooling import AveragePool2D, MaxPool2D
from fastdw.networks.tflite_conversion import Conversion, implied_activation
from fastdw.networks.windows import NO_PADDING

DEFAULT_WEIGHTS_FORMAT = 0


def convert_conv2d(op: Conversion) -> str:
    weight = np.ascontiguousarray(op.weight(4).transpose(1, 2, 3, 0))
    kernel, stride, dilation = weight.shape[:2], op.stride(), op.pair("DilationHFactor", "DilationWFactor")
    bias, activation = op.bias(weight.shape[3]), op.sum_activation()
    if kernel == stride == (1, 1):
        return op.add(PointwiseConv2D(op.name, (op.value(),), weight[0, 0], bias=bias, activation=activation))
    padding = op.padding(kernel, dilation)
    return op.add(
        Conv2D(op.name, (op.value(),), weight, bias=bias, activation=activation, stride=stride, padding=padding, dilation=dilation)
    )


def convert_depthwise_conv2d(op: Conversion) -> str:
    weight, channels = op.weight(4), op.shape()[-1]
    if weight.shape[0] != 1 or weight.shape[3] % channels:
        raise ValueError(f"weight: got shape {weight.shape}; expected (1, height, width, a multiple of the {channels} input channels)")
    weight = weight.reshape(*weight.shape[1:3], channels, -1)
    kernel, dilation = weight.shape[:2], op.pair("DilationHFactor", "DilationWFactor")
    return op.add(
        DepthwiseConv2D(
            op.name,
            (op.value(),),
            weight,
            bias=op.bias(channels * weight.shape[3]),
            activation=op.sum_activation(),
            stride=op.stride(),
            padding=op.padding(kernel, dilation),
            dilation=dilation,
        )
    )


def convert_fully_connected(op: Conversion) -> str:
    if op.option("WeightsFormat") != DEFAULT_WEIGHTS_FORMAT:
        raise ValueError(f"weights format: got {op.option('WeightsFormat')}; expected {DEFAULT_WEIGHTS_FORMAT}, the default")
    weight = np.ascontiguousarray(op.weight(2).T)
    value = op.value()
    if len(op.shape()) != 2:
        value = op.add(Reshape(f"{op.name}_rows", (value,), shape=(-1, weight.shape[0])))
    value = op.add(Dense(op.name, (value,), weight, bias=op.bias(weight.shape[1]), activation=op.sum_activation()))
    if op.option("KeepNumDims") and len(op.shape()) != 2:
        value = op.add(Reshape(f"{op.name}_axes", (value,), shape=(*op.shape()[:-1], weight.shape[1])))
    return value


def convert_binary(kind: type[Binary]) -> Callable[[Conversion], str]:
    def convert(op: Conversion) -> str:
        activation = op.sum_activation()
        constants = [position for position in (0, 1) if op.is_constant(position)]
        if not constants:
            return op.add(kind(op.name, (op.value(0), op.value(1)), activation=activation))
        return op.add(kind(op.name, (op.value(1 - constants[0]),), constant=op.constant(constants[0]), activation=activation))

    return convert


def convert_with_inverse(kind: type[Binary], inverse: Callable[[np.ndarray], np.ndarray]) -> Callable[[Conversion], str]:
    """Subtraction of a constant, and division by one."""

    def convert(op: Conversion) -> str:
        constant = inverse(op.constant(1))
        if not np.isfinite(constant).all():
            raise ValueError("divisor: got a number near 0; expected other ones")
        return op.add(kind(op.name, (op.value(0),), constant=constant, activation=op.sum_activation()))

    return convert


def reciprocal(divisor: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", over="ignore"):
        return np.float32(1) / divisor


def convert_average_pool(op: Conversion) -> str:
    window, activation = op.pair("FilterHeight", "FilterWidth"), op.activation()
    padding = op.padding(window)
    if window != op.shape()[1:3] or padding != NO_PADDING:
        return op.add(AveragePool2D(op.name, (op.value(),), window=window, stride=op.stride(), padding=padding, activation=activation))
    mean = op.add(GlobalAveragePool2D(op.name, (op.value(),), keepdims=True))
    return mean if activation is None else op.add(Activate(f"{op.name}_activation", (mean,), activation=activation))


def convert_max_pool(op: Conversion) -> str:
    window = op.pair("FilterHeight", "FilterWidth")
    padding, activation = op.padding(window), op.activation()
    return op.add(MaxPool2D(op.name, (op.value(),), window=window, stride=op.stride(), padding=padding, activation=activation))


def convert_mean(op: Conversion) -> str:
    axes = op.input(1).integers()
    n_axes = len(op.shape())
    if n_axes != 4 or {axis % 4 for axis in axes} != {1, 2}:
        raise ValueError(f"axes: got {axes} of {n_axes}; expected height and width, (1, 2) of 4")
    return op.add(GlobalAveragePool2D(op.name, (op.value(),), keepdims=bool(op.option("KeepDims"))))


def convert_pad(op: Conversion) -> str:
    sizes = op.input(1).integers()
    if len(sizes) != 2 * len(op.shape()):
        raise ValueError(f"paddings: got {sizes}; expected two sizes for each axis of {op.shape()}")
    return op.add(Pad(op.name, (op.value(),), padding=tuple(zip(sizes[::2], sizes[1::2], strict=True))))


def convert_reshape(op: Conversion) -> str:
    return op.add(Reshape(op.name, (op.value(),), shape=op.output.shape))


def convert_softmax(op: Conversion) -> str:
    beta = op.option("Beta")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta: got {beta}; expected a finite number above 0")
    return op.add(Softmax(op.name, (op.value(),), beta=beta))


def convert_activation(activation: Activation) -> Callable[[Conversion], str]:
    return lambda op: op.add(Activate(op.name, (op.value(),), activation=activation))


def convert_gelu(op: Conversion) -> str:
    if op.option("Approximate"):
        raise ValueError("approximate: got True, which is not supported; expected False")
    return op.add(Activate(op.name, (op.value(),), activation="gelu"))


def convert_concatenation(op: Conversion) -> str:
    values = tuple(op.value(position) for position in range(len(op.operator.inputs)))
    if not values:
        raise ValueError("inputs: got none; expected at least one")
    joined = op.add(Concatenate(op.name, values, axis=op.option("Axis")))
    activation = op.activation()
    return joined if activation is None else op.add(Activate(f"{op.name}_activation", (joined,), activation=activation))


def convert_resize_bilinear(op: Conversion) -> str:
    size = op.input(1).integers()
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size: got {size}; expected a height and a width of at least 1")
    aligned, centered = bool(op.option("AlignCorners")), bool(op.option("HalfPixelCenters"))
    return op.add(ResizeBilinear(op.name, (op.value(),), size=(size[0], size[1]), align_corners=aligned, half_pixel_centers=centered))


def convert_transpose(op: Conversion) -> str:
    return op.add(Transpose(op.name, (op.value(),), axes=op.input(1).integers()))


def convert_quantization(op: Conversion) -> str | np.ndarray:
    """Between integers and floats: nothing to do where everything runs in float32, but for what a new range leaves out."""
    if op.is_constant(0):
        return op.constant(0)
    activation = implied_activation(op.output)
    if activation is None or implied_activation(op.input(0)) is not None:
        return op.value()
    return op.add(Activate(op.name, (op.value(),), activation=activation))


CONVERSIONS: dict[str, Callable[[Conversion], str | np.ndarray]] = {
    "CONV_2D": convert_conv2d,
    "DEPTHWISE_CONV_2D": convert_depthwise_conv2d,
    "FULLY_CONNECTED": convert_fully_connected,
    "ADD": convert_binary(Add),
    "SUB": convert_with_inverse(Add, np.negative),
    "MUL": convert_binary(Multiply),
    "DIV": convert_with_inverse(Multiply, reciprocal),
    "AVERAGE_POOL_2D": convert_average_pool,
    "MAX_POOL_2D": convert_max_pool,
    "MEAN": convert_mean,
    "PAD": convert_pad,
    "RESHAPE": convert_reshape,
    "SQUEEZE": convert_reshape,
    "SOFTMAX": convert_softmax,
    "LOGISTIC": convert_activation("sigmoid"),
    "RELU": convert_activation("relu"),
    "RELU6": convert_activation("relu6"),
    "RELU_N1_TO_1": convert_activation((-1.0, 1.0)),
    "RELU_0_TO_1": convert_activation((0.0, 1.0)),
    "HARD_SWISH": convert_activation("hard_swish"),
    "TANH": convert_activation("tanh"),
    "GELU": convert_gelu,
    "CONCATENATION": convert_concatenation,
    "RESIZE_BILINEAR": convert_resize_bilinear,
    "TRANSPOSE": convert_transpose,
    "QUANTIZE": convert_quantization,
    "DEQUANTIZE": convert_quantization,
}
