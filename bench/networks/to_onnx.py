"""A float32 graph of fastdw.networks as an ONNX model, with the operators that exporters write. Images are NCHW inside and outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fastdw.networks import Graph, layers
from fastdw.networks.activations import BOUNDS, Activation
from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply, Softmax
from fastdw.networks.graph import INPUT
from fastdw.networks.pooling import AveragePool2D, MaxPool2D

OPSET, IR_VERSION = 17, 9
AXES = (0, 2, 3, 1)  # where the axes of an NHWC image are in an NCHW one
NODES = {"relu": "Relu", "hard_swish": "HardSwish", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def to_onnx(graph: Graph) -> onnx.ModelProto:
    writer = Writer(graph)
    for layer in graph.layers:
        writer.values[layer.name] = WRITERS[type(layer)](writer, layer)
    return writer.model()


def nchw_shape(shape: Sequence[int]) -> list[int]:
    return [shape[0], shape[3], shape[1], shape[2]] if len(shape) == 4 else list(shape)


class Writer:
    """Collects nodes and constants; what a layer gives is known by a name."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values = {INPUT: "x"}

    def constant(self, values, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], **attributes) -> str:
        name = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def inputs(self, layer: layers.Layer) -> list[str]:
        return [self.values[name] for name in layer.inputs]

    def activated(self, x: str, activation: Activation) -> str:
        if activation is None:
            return x
        if activation in NODES:
            return self.node(NODES[activation], [x])
        if activation == "hard_sigmoid":
            return self.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)
        if activation == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        if isinstance(activation, str) and activation not in BOUNDS:
            raise ValueError(f"activation {activation!r}: ONNX {OPSET} has no operator for it")
        low, high = BOUNDS[activation] if isinstance(activation, str) else activation
        return self.node("Clip", [x, self.constant(low), self.constant(high)])

    def model(self) -> onnx.ModelProto:
        values = (("x", self.graph.input_shape), (self.values[self.graph.output], self.graph.output_shape))
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, nchw_shape(shape)) for name, shape in values)
        graph = helper.make_graph(self.nodes, self.graph.name, [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    return [before for before, _ in padding] + [after for _, after in padding]


def write_convolution(writer: Writer, layer: layers.Convolution) -> str:
    weight, attributes = layer.weight, {}
    if isinstance(layer, layers.SpatialConvolution):
        attributes = {"strides": layer.stride, "dilations": layer.dilation, "pads": pads(layer.padding), "kernel_shape": layer.kernel}
    if isinstance(layer, layers.DepthwiseConv2D):
        attributes["group"] = weight.shape[2]
        weight = weight.reshape(*layer.kernel, 1, -1)
    elif isinstance(layer, layers.PointwiseConv2D):
        weight = weight[None, None]
    biases = [] if layer.bias is None else [writer.constant(layer.bias)]
    inputs = [*writer.inputs(layer), writer.constant(weight.transpose(3, 2, 0, 1)), *biases]
    return writer.activated(writer.node("Conv", inputs, **attributes), layer.activation)


def write_dense(writer: Writer, layer: layers.Dense) -> str:
    biases = [] if layer.bias is None else [writer.constant(layer.bias)]
    return writer.activated(writer.node("Gemm", [*writer.inputs(layer), writer.constant(layer.weight), *biases]), layer.activation)


def write_mean(writer: Writer, layer: layers.GlobalAveragePool2D) -> str:
    mean = writer.node("GlobalAveragePool", writer.inputs(layer))
    return mean if layer.keepdims else writer.node("Flatten", [mean])


def write_binary(kind: str) -> Callable[[Writer, Binary], str]:
    def write(writer: Writer, layer: Binary) -> str:
        inputs = writer.inputs(layer)
        if layer.constant is not None:
            constant = layer.constant
            if len(writer.graph.shapes[layer.name]) == 4 and constant.ndim:
                constant = constant.reshape((1,) * (4 - constant.ndim) + constant.shape).transpose(0, 3, 1, 2)
            inputs.append(writer.constant(constant))
        return writer.activated(writer.node(kind, inputs), layer.activation)

    return write


def write_pool(kind: str) -> Callable[[Writer, MaxPool2D | AveragePool2D], str]:
    def write(writer: Writer, layer: MaxPool2D | AveragePool2D) -> str:
        counting = {"count_include_pad": int(layer.count_padding)} if isinstance(layer, AveragePool2D) else {}
        attributes = {"kernel_shape": layer.window, "strides": layer.stride, "pads": pads(layer.padding), **counting}
        return writer.activated(writer.node(kind, writer.inputs(layer), **attributes), layer.activation)

    return write


def write_softmax(writer: Writer, layer: Softmax) -> str:
    (x,) = writer.inputs(layer)
    axis = 1 if len(writer.graph.shapes[layer.name]) == 4 else -1
    return writer.node("Softmax", [x if layer.beta == 1 else writer.node("Mul", [x, writer.constant(layer.beta)])], axis=axis)


def write_reshape(writer: Writer, layer: Reshape) -> str:
    (x,), (shape,) = writer.inputs(layer), writer.graph.input_shapes(layer)
    if len(shape) == 4:
        x = writer.node("Transpose", [x], perm=[0, 2, 3, 1])
    y = writer.node("Reshape", [x, writer.constant(writer.graph.shapes[layer.name], np.int64)])
    return writer.node("Transpose", [y], perm=[0, 3, 1, 2]) if len(writer.graph.shapes[layer.name]) == 4 else y


def write_pad(writer: Writer, layer: Pad) -> str:
    padding = [layer.padding[axis] for axis in (0, 3, 1, 2)] if len(layer.padding) == 4 else layer.padding
    return writer.node("Pad", [*writer.inputs(layer), writer.constant(pads(padding), np.int64)])


def write_concatenate(writer: Writer, layer: Concatenate) -> str:
    axis = layer.axis % len(writer.graph.shapes[layer.name])
    return writer.node("Concat", writer.inputs(layer), axis=AXES[axis] if len(writer.graph.shapes[layer.name]) == 4 else axis)


def write_resize(writer: Writer, layer: ResizeBilinear) -> str:
    place = "align_corners" if layer.align_corners else "half_pixel" if layer.half_pixel_centers else "asymmetric"
    size = writer.constant(nchw_shape(writer.graph.shapes[layer.name]), np.int64)
    return writer.node("Resize", [*writer.inputs(layer), "", "", size], mode="linear", coordinate_transformation_mode=place)


WRITERS: dict[type[layers.Layer], Callable] = {
    layers.Conv2D: write_convolution,
    layers.DepthwiseConv2D: write_convolution,
    layers.PointwiseConv2D: write_convolution,
    layers.Dense: write_dense,
    layers.GlobalAveragePool2D: write_mean,
    Add: write_binary("Add"),
    Multiply: write_binary("Mul"),
    Activate: lambda writer, layer: writer.activated(*writer.inputs(layer), layer.activation),
    MaxPool2D: write_pool("MaxPool"),
    AveragePool2D: write_pool("AveragePool"),
    Softmax: write_softmax,
    Reshape: write_reshape,
    Pad: write_pad,
    Concatenate: write_concatenate,
    ResizeBilinear: write_resize,
}
