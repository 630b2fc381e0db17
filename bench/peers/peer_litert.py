"""LiteRT (TensorFlow Lite) with its XNNPACK delegate, which it applies by default: NHWC, every copy one operator of one model."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from bench.layers import Layer
from bench.peers import Runner

DISTRIBUTION = "ai-edge-litert"
SCHEMA_VERSION = 3


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    interpreter = Interpreter(model_content=_model(layer, weights, biases), num_threads=threads)
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_indices = [detail["index"] for detail in interpreter.get_output_details()]

    return Runner(
        name="litert",
        form="NHWC, XNNPACK",
        call=interpreter.invoke,
        set_input=lambda x: interpreter.set_tensor(input_index, x),
        output_nhwc=lambda k: interpreter.get_tensor(output_indices[k]),
    )


def _model(layer, weights, biases):
    """The bytes of a model with one input and, for each copy, an operator and an output."""
    code, options_type, options = _operator(layer)
    buffers, tensors, operators = [schema.BufferT()], [], []

    def tensor(name, shape, data=None):
        buffer = 0
        if data is not None:
            buffer = len(buffers)
            buffers.append(schema.BufferT())
            buffers[-1].data = np.ascontiguousarray(data, np.float32).view(np.uint8).ravel()
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type, entry.buffer = name, list(shape), schema.TensorType.FLOAT32, buffer
        tensors.append(entry)
        return len(tensors) - 1

    x = tensor("x", layer.in_shape)
    outputs = []
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        weight = _weight(layer, weight)
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [x, tensor(f"weight{k}", weight.shape, weight), tensor(f"bias{k}", bias.shape, bias)]
        operator.outputs = [tensor(f"y{k}", layer.out_shape)]
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        operators.append(operator)
        outputs += operator.outputs

    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, [x], outputs
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = SCHEMA_VERSION, [operator_code], [graph], buffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(layer):
    """(operator code, type of its options, options)."""
    codes, types = schema.BuiltinOperator, schema.BuiltinOptions
    if layer.kind == "dense":
        code, options_type, options = codes.FULLY_CONNECTED, types.FullyConnectedOptions, schema.FullyConnectedOptionsT()
        options.keepNumDims = True
    elif layer.kind == "depthwise":
        code, options_type, options = codes.DEPTHWISE_CONV_2D, types.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = layer.multiplier
    else:
        code, options_type, options = codes.CONV_2D, types.Conv2DOptions, schema.Conv2DOptionsT()
    if layer.kind != "dense":
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = layer.stride
        options.dilationHFactor = options.dilationWFactor = layer.dilation
    activations = {"relu6": schema.ActivationFunctionType.RELU6, None: schema.ActivationFunctionType.NONE}
    options.fusedActivationFunction = activations[layer.activation]
    return code, options_type, options


def _weight(layer, weight):
    """[1, kernel_h, kernel_w, channels], [out, kernel_h, kernel_w, in] or [out, in]."""
    if layer.kind == "depthwise":
        return weight.reshape(1, layer.kernel, layer.kernel, layer.out_channels)
    if layer.kind == "dense":
        return weight.T
    return weight.reshape(layer.kernel, layer.kernel, layer.in_channels, layer.out_channels).transpose(3, 0, 1, 2)
