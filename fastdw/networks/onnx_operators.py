"""How each ONNX operator becomes layers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Reshape
from fastdw.networks.elementwise import Add, Binary, Multiply, Softmax
from fastdw.networks.layers import Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, GroupedConv2D, PointwiseConv2D
from fastdw.networks.onnx_arranging import (
    convert_concat,
    convert_flatten,
    convert_pad,
    convert_reshape,
    convert_resize,
    convert_squeeze,
    convert_transpose,
    convert_unsqueeze,
)
from fastdw.networks.onnx_conversion import NHWC, Conversion, Value, stored
from fastdw.networks.onnx_quantization import convert_quantize
from fastdw.networks.pooling import AveragePool2D, MaxPool2D
from fastdw.networks.windows import NO_PADDING

FLOAT_TYPES = (1, 10, 11, 16)  # TensorProto.DataType: of 32, 16 and 64 bits, and bfloat16
NAMED_CLAMPS: dict[tuple[float, float], Activation] = {(0.0, inf): "relu", (0.0, 6.0): "relu6", (-inf, inf): None}


def convert_conv(op: Conversion) -> Value:
    inputs, weight, groups, channels = (op.image(),), op.constant(1), op.attribute("group", 1), op.shape()[1]
    if weight.ndim != 4:
        raise ValueError(f"weight: got shape {weight.shape}; expected 4 axes")
    if groups < 1 or weight.shape[1] * groups != channels or weight.shape[0] % groups:
        raise ValueError(f"weight: got shape {weight.shape} in {groups} groups; expected one for the {channels} input channels")
    weight = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    kernel, stride, dilation = weight.shape[:2], op.pair("strides"), op.pair("dilations")
    padding, bias = op.padding(kernel, stride, dilation), bias_of(op, weight.shape[3])
    window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if groups > 1 and groups == channels:
        return op.add_image(DepthwiseConv2D(op.name, inputs, weight.reshape(*kernel, groups, -1), bias=bias, **window))
    if groups > 1:
        return op.add_image(GroupedConv2D(op.name, inputs, weight, bias=bias, groups=groups, **window))
    if kernel == stride == (1, 1) and padding == NO_PADDING:
        return op.add_image(PointwiseConv2D(op.name, inputs, weight[0, 0], bias=bias))
    return op.add_image(Conv2D(op.name, inputs, weight, bias=bias, **window))


def bias_of(op: Conversion, n_channels: int) -> np.ndarray | None:
    if not op.has_input(2):
        return None
    bias = op.constant(2)
    if bias.shape != (n_channels,):
        raise ValueError(f"bias: got shape {bias.shape}; expected ({n_channels},)")
    return bias


def convert_gemm(op: Conversion) -> Value:
    if op.attribute("transA", 0):
        raise ValueError("transA: got 1, which is not supported; expected 0")
    weight = op.constant(1).T if op.attribute("transB", 0) else op.constant(1)
    if weight.ndim != 2:
        raise ValueError(f"weight: got shape {weight.shape}; expected 2 axes")
    bias = None
    if op.has_input(2):
        bias = np.float32(op.attribute("beta", 1.0)) * op.constant(2)
        if bias.size != 1 and (bias.size, bias.shape[-1]) != (weight.shape[1], weight.shape[1]):
            raise ValueError(f"bias: got shape {bias.shape}; expected ({weight.shape[1]},)")
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[1])
    weight = np.ascontiguousarray(weight * np.float32(op.attribute("alpha", 1.0)))
    return op.add_plain(Dense(op.name, (op.plain(),), weight, bias=bias))


def convert_matmul(op: Conversion) -> Value:
    weight, shape = op.constant(1), op.shape()
    if weight.ndim != 2:
        raise ValueError(f"weight: got shape {weight.shape}; expected 2 axes")
    if len(shape) == 2:
        return op.add_plain(Dense(op.name, (op.plain(),), weight))
    rows = op.graph.add(Reshape(f"{op.name}_rows", (op.plain(),), shape=(-1, weight.shape[0])))
    product = op.graph.add(Dense(op.name, (rows,), weight))
    return op.add_plain(Reshape(f"{op.name}_axes", (product,), shape=(*shape[:-1], weight.shape[1])))


def convert_activation(activation: Activation) -> Callable[[Conversion], Value]:
    return lambda op: op.activated(activation)


def convert_clip(op: Conversion) -> Value:
    low, high = clip_bound(op, 1, "min", -inf), clip_bound(op, 2, "max", inf)
    low, high = (-inf if low <= -np.finfo(np.float32).max else low), (inf if high >= np.finfo(np.float32).max else high)
    if not low <= high:
        raise ValueError(f"bounds: got {low} and {high}; expected the first to be at most the second")
    return op.activated(NAMED_CLAMPS.get((low, high), (low, high)))


def clip_bound(op: Conversion, position: int, name: str, default: float) -> float:
    """A constant input, or an attribute in old models."""
    if not op.has_input(position):
        return op.attribute(name, default)
    constant = op.raw_constant(position)
    if constant.size != 1:
        raise ValueError(f"{name}: got shape {constant.shape}; expected one number")
    return float(constant.item())


def convert_hard_sigmoid(op: Conversion) -> Value:
    """max(0, min(1, alpha * x + beta))"""
    alpha, beta = op.attribute("alpha", 0.2), op.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and abs(beta - 0.5) < 1e-6:
        return op.activated("hard_sigmoid")
    value = op.value()
    slope = op.graph.add(Multiply(f"{op.name}_slope", (value.name,), constant=np.array(alpha, np.float32)))
    sums = Add(op.name, (slope,), constant=np.array(beta, np.float32), activation=(0.0, 1.0))
    return Value(op.graph.add(sums), value.layout)


def convert_gelu(op: Conversion) -> Value:
    if op.attribute("approximate", "none") != "none":
        raise ValueError(f"approximate: got {op.attribute('approximate')!r}, which is not supported; expected 'none'")
    return op.activated("gelu")


def convert_binary(kind: type[Binary], inverse: Callable[[np.ndarray], np.ndarray] | None = None) -> Callable[[Conversion], Value]:
    """A sum or product; with `inverse`, the difference or quotient, of which the second operand must be a constant."""

    def convert(op: Conversion) -> Value:
        if op.is_constant(1) or (op.is_constant(0) and inverse is None):
            position = 1 if op.is_constant(1) else 0
            value, constant = op.value(1 - position), op.constant(position)
            constant = constant if inverse is None else inverse(constant)
            if not np.isfinite(constant).all():
                raise ValueError("divisor: got a number near 0; expected other ones")
            return binary(op, kind, value, constant)
        if inverse is not None:
            raise ValueError("second operand: got a tensor that is computed, which is not supported; expected a constant")
        first, second = op.value(0), op.value(1)
        if len(first.layout) != len(second.layout):
            raise ValueError(f"inputs: got shapes {op.shape(0)} and {op.shape(1)}; expected the same number of axes")
        layout = NHWC if NHWC in (first.layout, second.layout) else first.layout
        names = tuple(stored(op.graph, value, layout, f"{op.name}_{position}") for position, value in enumerate((first, second)))
        return Value(op.graph.add(kind(op.name, names)), layout)

    return convert


def binary(op: Conversion, kind: type[Binary], value: Value, constant: np.ndarray) -> Value:
    """With a constant, whose axes are the value's last ones in the order of the file."""
    n_axes = len(value.layout)
    if constant.ndim > n_axes:
        raise ValueError(f"constant: got shape {constant.shape}; expected at most {n_axes} axes")
    if constant.size == 1:
        constant = constant.reshape(())
    else:
        constant = np.ascontiguousarray(constant.reshape((1,) * (n_axes - constant.ndim) + constant.shape).transpose(value.layout))
    return Value(op.graph.add(kind(op.name, (value.name,), constant=constant)), value.layout)


def reciprocal(divisor: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", over="ignore"):
        return np.float32(1) / divisor


def convert_batch_normalization(op: Conversion) -> Value:
    """(x - mean) * scale / sqrt(variance + epsilon) + bias, of each channel"""
    if op.attribute("training_mode", 0):
        raise ValueError("training_mode: got 1; expected 0")
    scale, bias, mean, variance = (op.constant(position).astype(np.float64) for position in (1, 2, 3, 4))
    channels = (op.shape()[1] if len(op.shape()) > 1 else 1,)
    if {scale.shape, bias.shape, mean.shape, variance.shape} != {channels} or (variance < 0).any():
        raise ValueError(f"parameters: got shapes {scale.shape}, {mean.shape}, or a variance below 0; expected {channels}")
    factor = scale / np.sqrt(variance + op.attribute("epsilon", 1e-5))
    shape = [channels[0] if axis == 1 else 1 for axis in op.value().layout]
    product = Multiply(f"{op.name}_scale", (op.value().name,), constant=factor.astype(np.float32).reshape(shape))
    sums = Add(op.name, (op.graph.add(product),), constant=(bias - mean * factor).astype(np.float32).reshape(shape))
    return Value(op.graph.add(sums), op.value().layout)


def convert_global_average_pool(op: Conversion) -> Value:
    return op.add_image(GlobalAveragePool2D(op.name, (op.image(),), keepdims=True))


def convert_reduce_mean(op: Conversion) -> Value:
    axes, shape = op.integers(1, "axes"), op.shape()
    if len(shape) != 4 or axes is None or {op.axis(axis) for axis in axes} != {2, 3}:
        raise ValueError(f"axes: got {axes} of {len(shape)}; expected height and width, (2, 3) of 4")
    if op.attribute("keepdims", 1):
        return convert_global_average_pool(op)
    return op.add_plain(GlobalAveragePool2D(op.name, (op.image(),)))


def convert_pool(kind: type[MaxPool2D] | type[AveragePool2D]) -> Callable[[Conversion], Value]:
    def convert(op: Conversion) -> Value:
        x, window, stride = op.image(), op.pair("kernel_shape", (0, 0)), op.pair("strides")
        padding = op.padding(window, stride)
        if op.pair("dilations") != (1, 1):
            raise ValueError(f"dilations: got {op.attribute('dilations')}, which is not supported; expected 1")
        spans = (size + sum(around) - extent for size, around, extent in zip(op.shape()[2:], padding, window, strict=True))
        if op.attribute("ceil_mode", 0) and any(span % by for span, by in zip(spans, stride, strict=True)):
            raise ValueError("ceil_mode: got 1 and windows that stick out, which is not supported; expected 0")
        if kind is AveragePool2D and padding == NO_PADDING and window == op.shape()[2:]:
            return op.add_image(GlobalAveragePool2D(op.name, (x,), keepdims=True))
        counting: dict[str, Any] = {"count_padding": bool(op.attribute("count_include_pad", 0))} if kind is AveragePool2D else {}
        return op.add_image(kind(op.name, (x,), window=window, stride=stride, padding=padding, **counting))

    return convert


def convert_softmax(op: Conversion) -> Value:
    n_axes = len(op.shape())
    axis = op.axis(op.attribute("axis", -1 if op.model.opset >= 13 else 1))
    if op.model.opset < 13 and axis != n_axes - 1:
        raise ValueError(f"axis: got {axis} of {n_axes}, which is not supported; expected the last")
    layout = (*(other for other in range(n_axes) if other != axis), axis)
    if op.value().layout[-1] == axis:
        layout = op.value().layout
    return Value(op.graph.add(Softmax(op.name, (stored(op.graph, op.value(), layout, f"{op.name}_last"),))), layout)


def convert_cast(op: Conversion) -> Value:
    if op.attribute("to") not in FLOAT_TYPES:
        raise ValueError(f"to: got type {op.attribute('to')} for a tensor that is computed; expected one of {FLOAT_TYPES}, float numbers")
    return op.value()


def convert_dropout(op: Conversion) -> Value:
    if op.has_input(2) and op.raw_constant(2).any():
        raise ValueError("training_mode: got True; expected False")
    return op.value()


CONVERSIONS: dict[str, Callable[[Conversion], Value]] = {
    "Conv": convert_conv,
    "Gemm": convert_gemm,
    "MatMul": convert_matmul,
    "BatchNormalization": convert_batch_normalization,
    "Relu": convert_activation("relu"),
    "Clip": convert_clip,
    "HardSwish": convert_activation("hard_swish"),
    "HardSigmoid": convert_hard_sigmoid,
    "Sigmoid": convert_activation("sigmoid"),
    "Tanh": convert_activation("tanh"),
    "Gelu": convert_gelu,
    "Add": convert_binary(Add),
    "Sub": convert_binary(Add, np.negative),
    "Mul": convert_binary(Multiply),
    "Div": convert_binary(Multiply, reciprocal),
    "GlobalAveragePool": convert_global_average_pool,
    "ReduceMean": convert_reduce_mean,
    "AveragePool": convert_pool(AveragePool2D),
    "MaxPool": convert_pool(MaxPool2D),
    "Pad": convert_pad,
    "Flatten": convert_flatten,
    "Reshape": convert_reshape,
    "Squeeze": convert_squeeze,
    "Unsqueeze": convert_unsqueeze,
    "Transpose": convert_transpose,
    "Softmax": convert_softmax,
    "Concat": convert_concat,
    "Resize": convert_resize,
    "QuantizeLinear": convert_quantize,
    "Cast": convert_cast,
    "Dropout": convert_dropout,
    **dict.fromkeys(("Identity", "DequantizeLinear"), lambda op: op.value()),
}
