"""How each ONNX operator becomes layers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Reshape
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply, Softmax
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
from fastdw.networks.onnx_step import NHWC, Step, Value, stored
from fastdw.networks.pooling import AveragePool2D, MaxPool2D
from fastdw.networks.windows import NO_PADDING

NAMED_CLAMPS: dict[tuple[float, float], Activation] = {(0.0, inf): "relu", (0.0, 6.0): "relu6", (-inf, inf): None}


def convert_conv(step: Step) -> Value:
    weight, groups, channels = step.constant(1), step.attribute("group", 1), step.shape()[1] if len(step.shape()) == 4 else 0
    if weight.ndim != 4:
        raise ValueError(f"weight: got shape {weight.shape}; expected 4 axes")
    if groups < 1 or weight.shape[1] * groups != channels or weight.shape[0] % groups:
        raise ValueError(f"weight: got shape {weight.shape} in {groups} groups; expected one for the {channels} input channels")
    weight = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    kernel, stride, dilation = weight.shape[:2], step.pair("strides"), step.pair("dilations")
    padding, bias, inputs = step.padding(kernel, stride, dilation), bias_of(step, weight.shape[3]), (step.image(),)
    window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if groups > 1 and groups == channels:
        return step.add_image(DepthwiseConv2D(step.name, inputs, weight.reshape(*kernel, groups, -1), bias=bias, **window))
    if groups > 1:
        return step.add_image(GroupedConv2D(step.name, inputs, weight, bias=bias, groups=groups, **window))
    if kernel == stride == (1, 1) and padding == NO_PADDING:
        return step.add_image(PointwiseConv2D(step.name, inputs, weight[0, 0], bias=bias))
    return step.add_image(Conv2D(step.name, inputs, weight, bias=bias, **window))


def bias_of(step: Step, n_channels: int) -> np.ndarray | None:
    if not step.has_input(2):
        return None
    bias = step.constant(2)
    if bias.shape != (n_channels,):
        raise ValueError(f"bias: got shape {bias.shape}; expected ({n_channels},)")
    return bias


def convert_gemm(step: Step) -> Value:
    if step.attribute("transA", 0):
        raise ValueError("transA: got 1, which is not supported; expected 0")
    weight = step.constant(1).T if step.attribute("transB", 0) else step.constant(1)
    if weight.ndim != 2:
        raise ValueError(f"weight: got shape {weight.shape}; expected 2 axes")
    bias = None
    if step.has_input(2):
        bias = np.float32(step.attribute("beta", 1.0)) * step.constant(2)
        if bias.size not in (1, weight.shape[1]):
            raise ValueError(f"bias: got shape {bias.shape}; expected ({weight.shape[1]},)")
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[1])
    weight = np.ascontiguousarray(weight * np.float32(step.attribute("alpha", 1.0)))
    return step.add_plain(Dense(step.name, (step.plain(),), weight, bias=bias))


def convert_matmul(step: Step) -> Value:
    weight, shape = step.constant(1), step.shape()
    if weight.ndim != 2:
        raise ValueError(f"weight: got shape {weight.shape}; expected 2 axes")
    if len(shape) == 2:
        return step.add_plain(Dense(step.name, (step.plain(),), weight))
    rows = step.graph.add(Reshape(f"{step.name}_rows", (step.plain(),), shape=(-1, weight.shape[0])))
    product = step.graph.add(Dense(step.name, (rows,), weight))
    return step.add_plain(Reshape(f"{step.name}_axes", (product,), shape=(*shape[:-1], weight.shape[1])))


def convert_activation(activation: Activation) -> Callable[[Step], Value]:
    return lambda step: activated(step, activation)


def activated(step: Step, activation: Activation) -> Value:
    value = step.value()
    if activation is None:
        return value
    return Value(step.graph.add(Activate(step.name, (value.name,), activation=activation)), value.layout)


def convert_clip(step: Step) -> Value:
    low, high = (
        float(step.raw_constant(position).reshape(-1)[0]) if step.has_input(position) else step.attribute(name, default)
        for position, name, default in ((1, "min", -inf), (2, "max", inf))
    )
    low, high = (-inf if low <= -np.finfo(np.float32).max else low), (inf if high >= np.finfo(np.float32).max else high)
    if not low <= high:
        raise ValueError(f"bounds: got {low} and {high}; expected the first to be at most the second")
    return activated(step, NAMED_CLAMPS.get((low, high), (low, high)))


def convert_hard_sigmoid(step: Step) -> Value:
    """max(0, min(1, alpha * x + beta))"""
    alpha, beta = step.attribute("alpha", 0.2), step.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and abs(beta - 0.5) < 1e-6:
        return activated(step, "hard_sigmoid")
    value = step.value()
    slope = step.graph.add(Multiply(f"{step.name}_slope", (value.name,), constant=np.array(alpha, np.float32)))
    sums = Add(step.name, (slope,), constant=np.array(beta, np.float32), activation=(0.0, 1.0))
    return Value(step.graph.add(sums), value.layout)


def convert_gelu(step: Step) -> Value:
    if step.attribute("approximate", "none") != "none":
        raise ValueError(f"approximate: got {step.attribute('approximate')!r}, which is not supported; expected 'none'")
    return activated(step, "gelu")


def convert_binary(kind: type[Binary], inverse: Callable[[np.ndarray], np.ndarray] | None = None) -> Callable[[Step], Value]:
    """A sum or product; with `inverse`, the difference or quotient, of which the second operand must be a constant."""

    def convert(step: Step) -> Value:
        if step.is_constant(1) or (step.is_constant(0) and inverse is None):
            position = 1 if step.is_constant(1) else 0
            value, constant = step.value(1 - position), step.constant(position)
            constant = constant if inverse is None else inverse(constant)
            if not np.isfinite(constant).all():
                raise ValueError("divisor: got a number near 0; expected other ones")
            return binary(step, kind, value, constant)
        if inverse is not None:
            raise ValueError("second operand: got a tensor that is computed, which is not supported; expected a constant")
        first, second = step.value(0), step.value(1)
        if len(first.layout) != len(second.layout):
            raise ValueError(f"inputs: got shapes {step.shape(0)} and {step.shape(1)}; expected the same number of axes")
        layout = NHWC if NHWC in (first.layout, second.layout) else first.layout
        names = tuple(stored(step.graph, value, layout, f"{step.name}_{position}") for position, value in enumerate((first, second)))
        return Value(step.graph.add(kind(step.name, names)), layout)

    return convert


def binary(step: Step, kind: type[Binary], value: Value, constant: np.ndarray) -> Value:
    """With a constant, whose axes are the value's last ones in the order of the file."""
    n_axes = len(value.layout)
    if constant.size == 1:
        constant = constant.reshape(())
    elif constant.ndim > n_axes:
        raise ValueError(f"constant: got shape {constant.shape}; expected at most {n_axes} axes")
    else:
        constant = np.ascontiguousarray(constant.reshape((1,) * (n_axes - constant.ndim) + constant.shape).transpose(value.layout))
    return Value(step.graph.add(kind(step.name, (value.name,), constant=constant)), value.layout)


def reciprocal(divisor: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", over="ignore"):
        return np.float32(1) / divisor


def convert_batch_normalization(step: Step) -> Value:
    """(x - mean) * scale / sqrt(variance + epsilon) + bias, of each channel"""
    if step.attribute("training_mode", 0):
        raise ValueError("training_mode: got 1; expected 0")
    scale, bias, mean, variance = (step.constant(position).astype(np.float64) for position in (1, 2, 3, 4))
    channels = (step.shape()[1] if len(step.shape()) > 1 else 1,)
    if {scale.shape, bias.shape, mean.shape, variance.shape} != {channels} or (variance < 0).any():
        raise ValueError(f"parameters: got shapes {scale.shape}, {mean.shape}, or a variance below 0; expected {channels}")
    factor = scale / np.sqrt(variance + step.attribute("epsilon", 1e-5))
    shape = [channels[0] if axis == 1 else 1 for axis in step.value().layout]
    product = Multiply(f"{step.name}_scale", (step.value().name,), constant=factor.astype(np.float32).reshape(shape))
    sums = Add(step.name, (step.graph.add(product),), constant=(bias - mean * factor).astype(np.float32).reshape(shape))
    return Value(step.graph.add(sums), step.value().layout)


def convert_global_average_pool(step: Step) -> Value:
    return step.add_image(GlobalAveragePool2D(step.name, (step.image(),), keepdims=True))


def convert_reduce_mean(step: Step) -> Value:
    axes, shape = step.integers(1, "axes"), step.shape()
    if len(shape) != 4 or axes is None or {step.axis(axis) for axis in axes} != {2, 3}:
        raise ValueError(f"axes: got {axes} of {len(shape)}; expected height and width, (2, 3) of 4")
    if step.attribute("keepdims", 1):
        return convert_global_average_pool(step)
    return step.add_plain(GlobalAveragePool2D(step.name, (step.image(),)))


def convert_pool(kind: type[MaxPool2D] | type[AveragePool2D]) -> Callable[[Step], Value]:
    def convert(step: Step) -> Value:
        window, stride = step.pair("kernel_shape", (0, 0)), step.pair("strides")
        padding, x = step.padding(window, stride), step.image()
        if step.pair("dilations") != (1, 1):
            raise ValueError(f"dilations: got {step.attribute('dilations')}, which is not supported; expected 1")
        spans = (size + sum(around) - extent for size, around, extent in zip(step.shape()[2:], padding, window, strict=True))
        if step.attribute("ceil_mode", 0) and any(span % by for span, by in zip(spans, stride, strict=True)):
            raise ValueError("ceil_mode: got 1 and windows that stick out, which is not supported; expected 0")
        if kind is AveragePool2D and padding == NO_PADDING and window == step.shape()[2:]:
            return step.add_image(GlobalAveragePool2D(step.name, (x,), keepdims=True))
        counting: dict[str, Any] = {"count_padding": bool(step.attribute("count_include_pad", 0))} if kind is AveragePool2D else {}
        return step.add_image(kind(step.name, (x,), window=window, stride=stride, padding=padding, **counting))

    return convert


def convert_softmax(step: Step) -> Value:
    n_axes = len(step.shape())
    axis = step.axis(step.attribute("axis", -1 if step.model.opset >= 13 else 1))
    if step.model.opset < 13 and axis != n_axes - 1:
        raise ValueError(f"axis: got {axis} of {n_axes}, which is not supported; expected the last")
    layout = (*(other for other in range(n_axes) if other != axis), axis)
    if step.value().layout[-1] == axis:
        layout = step.value().layout
    return Value(step.graph.add(Softmax(step.name, (stored(step.graph, step.value(), layout, f"{step.name}_last"),))), layout)


def convert_quantize(step: Step) -> Value:
    """To integers: nothing to do in float32, but the range of the integers may stand for a relu that the exporter left out."""
    scale = step.constant(1)
    zero_point = step.raw_constant(2) if step.has_input(2) else np.zeros(1, np.uint8)
    integers = np.iinfo(zero_point.dtype) if zero_point.dtype.kind in "iu" else None
    if integers is None or scale.size != 1 or zero_point.size != 1 or zero_point.item() != integers.min:
        return step.value()
    return activated(step, (0.0, float((integers.max - integers.min) * scale.item())))


CONVERSIONS: dict[str, Callable[[Step], Value]] = {
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
    **dict.fromkeys(("Identity", "Dropout", "Cast", "DequantizeLinear"), lambda step: step.value()),
}
