"""How each TensorFlow Lite operator becomes layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear, Transpose
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply, Softmax
from fastdw.networks.layers import Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, PointwiseConv2D
from fastdw.networks.pooling import AveragePool2D, MaxPool2D
from fastdw.networks.tflite_step import Step
from fastdw.networks.windows import NO_PADDING

DEFAULT_WEIGHTS_FORMAT = 0


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


def convert_binary(kind: type[Binary]) -> Callable[[Step], str]:
    def convert(step: Step) -> str:
        activation = step.sum_activation()
        constants = [position for position in (0, 1) if step.is_constant(position)]
        if not constants:
            return step.add(kind(step.name, (step.value(0), step.value(1)), activation=activation))
        return step.add(kind(step.name, (step.value(1 - constants[0]),), constant=step.constant(constants[0]), activation=activation))

    return convert


def convert_with_inverse(kind: type[Binary], inverse: Callable[[np.ndarray], np.ndarray]) -> Callable[[Step], str]:
    """Subtraction of a constant, and division by one."""

    def convert(step: Step) -> str:
        constant = inverse(step.constant(1))
        if not np.isfinite(constant).all():
            raise ValueError("divisor: got a number near 0; expected other ones")
        return step.add(kind(step.name, (step.value(0),), constant=constant, activation=step.sum_activation()))

    return convert


def reciprocal(divisor: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", over="ignore"):
        return np.float32(1) / divisor


def convert_average_pool(step: Step) -> str:
    window, activation = step.pair("FilterHeight", "FilterWidth"), step.activation()
    padding = step.padding(window)
    if window != step.shape()[1:3] or padding != NO_PADDING:
        return step.add(
            AveragePool2D(step.name, (step.value(),), window=window, stride=step.stride(), padding=padding, activation=activation)
        )
    mean = step.add(GlobalAveragePool2D(step.name, (step.value(),), keepdims=True))
    return mean if activation is None else step.add(Activate(f"{step.name}_activation", (mean,), activation=activation))


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


def convert_activation(activation: Activation) -> Callable[[Step], str]:
    return lambda step: step.add(Activate(step.name, (step.value(),), activation=activation))


def convert_gelu(step: Step) -> str:
    if step.option("Approximate"):
        raise ValueError("approximate: got True, which is not supported; expected False")
    return step.add(Activate(step.name, (step.value(),), activation="gelu"))


def convert_concatenation(step: Step) -> str:
    values = tuple(step.value(position) for position in range(len(step.operator.inputs)))
    if not values:
        raise ValueError("inputs: got none; expected at least one")
    joined = step.add(Concatenate(step.name, values, axis=step.option("Axis")))
    activation = step.activation()
    return joined if activation is None else step.add(Activate(f"{step.name}_activation", (joined,), activation=activation))


def convert_resize_bilinear(step: Step) -> str:
    size = step.input(1).integers()
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size: got {size}; expected a height and a width of at least 1")
    ways = {"align_corners": bool(step.option("AlignCorners")), "half_pixel_centers": bool(step.option("HalfPixelCenters"))}
    return step.add(ResizeBilinear(step.name, (step.value(),), size=(size[0], size[1]), **ways))


def convert_transpose(step: Step) -> str:
    return step.add(Transpose(step.name, (step.value(),), axes=step.input(1).integers()))


def convert_quantization(step: Step) -> str | np.ndarray:
    """Between integers and floats: nothing to do where everything runs in float32."""
    return step.constant(0) if step.is_constant(0) else step.value()


CONVERSIONS: dict[str, Callable[[Step], str | np.ndarray]] = {
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
