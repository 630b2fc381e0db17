"""A float32 graph of fastdw.networks as a .tflite file, with the operators that TensorFlow's converter writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fastdw.networks import Graph, layers
from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply, Softmax
from fastdw.networks.graph import INPUT
from fastdw.networks.pooling import AveragePool2D, MaxPool2D
from fastdw.networks.windows import NO_PADDING, same_padding2d

SCHEMA_VERSION = 3
TYPES = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int32): schema.TensorType.INT32}
FUSED = {None: 0, "relu": 1, (0.0, inf): 1, (-1.0, 1.0): 2, "relu6": 3, (0.0, 6.0): 3}
OWN_OPERATORS = {"relu": "RELU", "relu6": "RELU6", "hard_swish": "HARD_SWISH", "sigmoid": "LOGISTIC", "tanh": "TANH", "gelu": "GELU"}


def to_tflite(graph: Graph) -> bytes:
    writer = Writer(graph)
    for layer in graph.layers:
        writer.values[layer.name] = WRITERS[type(layer)](writer, layer)
    return writer.pack(writer.values[graph.output])


class Writer:
    """Collects tensors and operators; what a layer gives is known by the index of its tensor."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.buffers, self.tensors, self.operators = [schema.BufferT()], [], []
        self.codes: list[str] = []
        self.values = {INPUT: self.tensor(graph.input_shape)}

    def tensor(self, shape: Sequence[int], data: np.ndarray | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{len(self.tensors)}", list(shape), 0
        tensor.type = TYPES[np.dtype(np.float32) if data is None else data.dtype]
        if data is not None:
            tensor.buffer = len(self.buffers)
            self.buffers.append(schema.BufferT())
            self.buffers[-1].data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, values, dtype=np.float32) -> int:
        values = np.asarray(values, dtype)
        return self.tensor(values.shape, values)

    def operator(self, name: str, inputs: Sequence[int], shape: Sequence[int], options: str = "", **fields) -> int:
        """Appends an operator; gives the tensor of its output."""
        if name not in self.codes:
            self.codes.append(name)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(name)
        operator.inputs, operator.outputs = list(inputs), [self.tensor(shape)]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.operators.append(operator)
        return operator.outputs[0]

    def inputs(self, layer: layers.Layer) -> list[int]:
        return [self.values[name] for name in layer.inputs]

    def shape(self, layer: layers.Layer) -> tuple[int, ...]:
        return self.graph.shapes[layer.name]

    def activated(self, x: int, activation: Activation) -> int:
        """An activation as operators of its own."""
        shape = self.tensors[x].shape
        if activation in OWN_OPERATORS:
            return self.operator(OWN_OPERATORS[activation], [x], shape, "GeluOptions" if activation == "gelu" else "")
        if activation == "silu":
            gate = self.operator("LOGISTIC", [x], shape)
            return self.operator("MUL", [x, gate], shape, "MulOptions")
        if activation == "hard_sigmoid":
            clamped = self.operator("ADD", [x, self.constant(3)], shape, "AddOptions", fusedActivationFunction=FUSED["relu6"])
            return self.operator("MUL", [clamped, self.constant(1 / 6)], shape, "MulOptions")
        raise ValueError(f"activation {activation!r}: TensorFlow Lite has no operator for it")

    def finished(self, layer, name: str, inputs: Sequence[int], options: str, **fields) -> int:
        """An operator with the layer's activation, inside it or behind it."""
        fused = layer.activation in FUSED
        y = self.operator(
            name, inputs, self.shape(layer), options, **fields, fusedActivationFunction=FUSED[layer.activation] if fused else 0
        )
        return y if fused else self.activated(y, layer.activation)

    def pack(self, output: int) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [self.values[INPUT]], [output]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers, model.operatorCodes = SCHEMA_VERSION, [graph], self.buffers, []
        for name in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def window(writer: Writer, layer, size: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The input, padded by an operator of its own where the padding has no name, and what the padding is called."""
    (x, *_), shape = writer.inputs(layer), writer.graph.input_shapes(layer)[0]
    if layer.padding == NO_PADDING:
        return x, schema.Padding.VALID
    if layer.padding == same_padding2d(shape, size, layer.stride, dilation):
        return x, schema.Padding.SAME
    return padded(writer, x, ((0, 0), *layer.padding, (0, 0))), schema.Padding.VALID


def padded(writer: Writer, x: int, padding: Sequence[tuple[int, int]]) -> int:
    shape = [size + sum(around) for size, around in zip(writer.tensors[x].shape, padding, strict=True)]
    return writer.operator("PAD", [x, writer.constant(padding, np.int32)], shape, "PadOptions")


def parameters(writer: Writer, layer, weight: np.ndarray) -> list[int]:
    bias = np.zeros(writer.shape(layer)[-1], np.float32) if layer.bias is None else layer.bias
    return [writer.constant(weight), writer.constant(bias)]


def write_conv(writer: Writer, layer: layers.Conv2D) -> int:
    x, padding = window(writer, layer, layer.kernel, layer.dilation)
    return writer.finished(
        layer, "CONV_2D", [x, *parameters(writer, layer, layer.weight.transpose(3, 0, 1, 2))], "Conv2DOptions", padding=padding,
        strideH=layer.stride[0], strideW=layer.stride[1], dilationHFactor=layer.dilation[0], dilationWFactor=layer.dilation[1],
    )  # fmt: skip


def write_depthwise(writer: Writer, layer: layers.DepthwiseConv2D) -> int:
    x, padding = window(writer, layer, layer.kernel, layer.dilation)
    return writer.finished(
        layer, "DEPTHWISE_CONV_2D", [x, *parameters(writer, layer, layer.weight.reshape(1, *layer.kernel, -1))], "DepthwiseConv2DOptions",
        padding=padding, strideH=layer.stride[0], strideW=layer.stride[1], depthMultiplier=layer.weight.shape[3],
        dilationHFactor=layer.dilation[0], dilationWFactor=layer.dilation[1],
    )  # fmt: skip


def write_pointwise(writer: Writer, layer: layers.PointwiseConv2D) -> int:
    inputs = [*writer.inputs(layer), *parameters(writer, layer, layer.weight.T[:, None, None])]
    return writer.finished(
        layer, "CONV_2D", inputs, "Conv2DOptions", padding=schema.Padding.VALID, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1
    )


def write_dense(writer: Writer, layer: layers.Dense) -> int:
    inputs = [*writer.inputs(layer), *parameters(writer, layer, layer.weight.T)]
    return writer.finished(layer, "FULLY_CONNECTED", inputs, "FullyConnectedOptions")


def write_mean(writer: Writer, layer: layers.GlobalAveragePool2D) -> int:
    inputs = [*writer.inputs(layer), writer.constant([1, 2], np.int32)]
    return writer.operator("MEAN", inputs, writer.shape(layer), "ReducerOptions", keepDims=layer.keepdims)


def write_binary(name: str) -> Callable[[Writer, Binary], int]:
    def write(writer: Writer, layer: Binary) -> int:
        constants = [] if layer.constant is None else [writer.constant(layer.constant)]
        return writer.finished(layer, name, [*writer.inputs(layer), *constants], f"{name.title()}Options")

    return write


def write_pool(name: str) -> Callable[[Writer, MaxPool2D | AveragePool2D], int]:
    def write(writer: Writer, layer: MaxPool2D | AveragePool2D) -> int:
        x, padding = window(writer, layer, layer.window)
        return writer.finished(
            layer, name, [x], "Pool2DOptions", padding=padding,
            strideH=layer.stride[0], strideW=layer.stride[1], filterHeight=layer.window[0], filterWidth=layer.window[1],
        )  # fmt: skip

    return write


def write_softmax(writer: Writer, layer: Softmax) -> int:
    return writer.operator("SOFTMAX", writer.inputs(layer), writer.shape(layer), "SoftmaxOptions", beta=layer.beta)


def write_reshape(writer: Writer, layer: Reshape) -> int:
    shape = writer.shape(layer)
    inputs = [*writer.inputs(layer), writer.constant(shape, np.int32)]
    return writer.operator("RESHAPE", inputs, shape, "ReshapeOptions", newShape=list(shape))


def write_concatenate(writer: Writer, layer: Concatenate) -> int:
    return writer.operator("CONCATENATION", writer.inputs(layer), writer.shape(layer), "ConcatenationOptions", axis=layer.axis)


def write_resize(writer: Writer, layer: ResizeBilinear) -> int:
    inputs = [*writer.inputs(layer), writer.constant(layer.size, np.int32)]
    ways = {"alignCorners": layer.align_corners, "halfPixelCenters": layer.half_pixel_centers}
    return writer.operator("RESIZE_BILINEAR", inputs, writer.shape(layer), "ResizeBilinearOptions", **ways)


WRITERS: dict[type[layers.Layer], Callable] = {
    layers.Conv2D: write_conv,
    layers.DepthwiseConv2D: write_depthwise,
    layers.PointwiseConv2D: write_pointwise,
    layers.Dense: write_dense,
    layers.GlobalAveragePool2D: write_mean,
    Add: write_binary("ADD"),
    Multiply: write_binary("MUL"),
    Activate: lambda writer, layer: writer.activated(*writer.inputs(layer), layer.activation),
    MaxPool2D: write_pool("MAX_POOL_2D"),
    AveragePool2D: write_pool("AVERAGE_POOL_2D"),
    Softmax: write_softmax,
    Reshape: write_reshape,
    Pad: lambda writer, layer: padded(writer, *writer.inputs(layer), layer.padding),
    Concatenate: write_concatenate,
    ResizeBilinear: write_resize,
}
