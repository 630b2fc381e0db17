"""ONNX Runtime in its blocked layout (NCHWc).

On an image that arrives in NCHW, ONNX Runtime converts to its blocked layout, convolves, and converts back. In a network only the ends
pay for that. So its own optimiser is asked for the optimised model, the conversions are cut off that model's ends, and what is left is
timed; `set_input` and `output_nhwc` run the conversions. Where the optimiser chooses no blocked layout, the model stays whole.
Pointwise layers are tried as a matrix product too.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bench.data import aligned_copy, aligned_empty
from bench.layers import Layer
from bench.peers import Runner, fastest, nchw, nhwc, weight_oihw

DISTRIBUTION = "onnxruntime"
OPSET, IR_VERSION = 17, 9
CONVERSIONS = ("ReorderInput", "ReorderOutput")


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    if layer.kind == "dense":
        return _product(layer, weights, biases, threads)
    convolution = _convolution(layer, weights, biases, threads)
    if layer.kind == "pointwise":
        return fastest([convolution, _product(layer, weights, biases, threads)])
    return convolution


def _product(layer, weights, biases, threads):
    """Gemm on [pixels, channels], which is NHWC as it stands."""
    pixels = layer.height * layer.width
    nodes, constants = [], _bounds()
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants += [numpy_helper.from_array(weight, f"weight{k}"), numpy_helper.from_array(bias, f"bias{k}")]
        nodes += _activated(layer, helper.make_node("Gemm", ["x", f"weight{k}", f"bias{k}"], [f"y{k}"]))
    session = session_of(_model(nodes, constants, [pixels, layer.in_channels], len(weights)), threads)
    x = aligned_empty((pixels, layer.in_channels))
    outputs = [aligned_empty((pixels, layer.out_channels)) for _ in weights]
    return Runner(
        name="onnxruntime",
        form="NHWC, Gemm",
        call=bound_call(session, x, outputs),
        set_input=lambda new: np.copyto(x, new.reshape(x.shape)),
        output_nhwc=lambda k: outputs[k].reshape(layer.out_shape),
    )


def _convolution(layer, weights, biases, threads):
    attributes = {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "dilations": [layer.dilation] * 2,
        "pads": np.transpose(layer.padding).ravel().tolist(),
        "group": layer.in_channels if layer.kind == "depthwise" else 1,
    }
    nodes, constants = [], _bounds()
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        constants += [numpy_helper.from_array(weight_oihw(layer, weight), f"weight{k}"), numpy_helper.from_array(bias, f"bias{k}")]
        nodes += _activated(layer, helper.make_node("Conv", ["x", f"weight{k}", f"bias{k}"], [f"y{k}"], **attributes))
    image_shape = [1, layer.in_channels, layer.height, layer.width]
    runner = blocked(nodes, constants, image_shape, len(weights), threads)
    return replace(runner, set_input=lambda new: runner.set_input(nchw(new)), output_nhwc=lambda k: nhwc(runner.output_nhwc(k)))


def blocked(nodes, constants, shape, copies, threads):
    """A runner of nodes that take x and give y0, y1, ..., in the layout that the optimiser chooses. Its input and outputs are as the
    model has them: NCHW for images."""
    optimised = _optimised(_model(nodes, constants, shape, copies))
    conversions = [node for node in optimised.graph.node if node.op_type in CONVERSIONS]
    convert_input, convert_output = (
        next((_alone(node) for node in conversions if node.op_type == name), lambda image: image) for name in CONVERSIONS
    )
    session = session_of(_without(optimised, conversions), threads)

    x = aligned_copy(convert_input(np.zeros(shape, np.float32)))
    names = [output.name for output in session.get_outputs()]
    outputs = [aligned_copy(y) for y in session.run(names, {session.get_inputs()[0].name: x})]
    return Runner(
        name="onnxruntime",
        form="NCHWc" if conversions else "NCHW",
        call=bound_call(session, x, outputs),
        set_input=lambda new: np.copyto(x, convert_input(new)),
        output_nhwc=lambda k: convert_output(outputs[k]),
    )


def _bounds():
    return [numpy_helper.from_array(np.array(bound, np.float32), name) for name, bound in (("low", 0), ("high", 6))]


def _activated(layer, node):
    """The node, and its relu6 where the layer has one."""
    if layer.activation is None:
        return [node]
    output = node.output[0]
    node.output[0] = f"sum_{output}"
    return [node, helper.make_node("Clip", [node.output[0], "low", "high"], [output])]


def _value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(nodes, constants, in_shape, copies):
    graph = helper.make_graph(nodes, "layer", [_value("x", in_shape)], [_value(f"y{k}", None) for k in range(copies)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _options(threads=1):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


def session_of(model, threads):
    return onnxruntime.InferenceSession(model.SerializeToString(), _options(threads), providers=["CPUExecutionProvider"])


def _optimised(model):
    """The model after every optimisation, the layout's among them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = _options()
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def _without(model, conversions):
    """The model from behind the first conversion to before the last, its outputs in their old order."""
    after = {node.input[0]: node.output[0] for node in conversions if node.op_type == "ReorderInput"}
    before = {node.output[0]: node.input[0] for node in conversions if node.op_type == "ReorderOutput"}
    inputs = [_value(after.get(value.name, value.name), None) for value in model.graph.input]
    outputs = [_value(before.get(value.name, value.name), None) for value in model.graph.output]
    nodes = [node for node in model.graph.node if node.op_type not in CONVERSIONS]
    graph = helper.make_graph(nodes, "layer", inputs, outputs, model.graph.initializer)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _alone(node):
    """A function of one array that runs this node."""
    graph = helper.make_graph([node], "conversion", [_value(node.input[0], None)], [_value(node.output[0], None)])
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft.nchwc", 1)]
    session = session_of(helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION), threads=1)
    return lambda image: session.run(None, {node.input[0]: image})[0]


def bound_call(session, x, outputs):
    """A call that reads x and writes the outputs in place."""
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(x))
    for output, y in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(y))
    return lambda: session.run_with_iobinding(binding)
