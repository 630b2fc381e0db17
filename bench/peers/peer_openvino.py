"""OpenVINO's CPU device, float32, one stream, buffers shared with NumPy.

Each layer is given in every form that suits it, and the fastest is kept: an NCHW image; an NHWC image between two transpositions, which
the CPU device turns into a change of strides; for pointwise layers a matrix product on NHWC.
"""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as ops

from bench.data import aligned_empty
from bench.layers import Layer
from bench.peers import Runner, fastest, nchw, nhwc, weight_oihw

DISTRIBUTION = "openvino"
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int) -> Runner:
    forms = {
        "dense": [_product],
        "pointwise": [_product, _nhwc_convolution, _nchw_convolution],
    }.get(layer.kind, [_nhwc_convolution, _nchw_convolution])
    core = openvino.Core()
    return fastest([form(core, layer, list(zip(weights, biases, strict=True)), threads) for form in forms])


def _product(core, layer, parameters, threads):
    x = ops.parameter(layer.in_shape, np.float32)
    sums = [ops.add(ops.matmul(x, ops.constant(weight), False, False), ops.constant(bias)) for weight, bias in parameters]
    request, image, outputs = request_of(core, openvino.Model([_activated(layer, total) for total in sums], [x]), threads)
    return _runner("NHWC, MatMul", request, lambda new: np.copyto(image, new), lambda k: outputs[k])


def _nhwc_convolution(core, layer, parameters, threads):
    x = ops.parameter(layer.in_shape, np.float32)
    image = ops.transpose(x, ops.constant(TO_NCHW))
    results = [ops.transpose(_convolved(layer, image, *pair), ops.constant(TO_NHWC)) for pair in parameters]
    request, image, outputs = request_of(core, openvino.Model(results, [x]), threads)
    return _runner("NHWC", request, lambda new: np.copyto(image, new), lambda k: outputs[k])


def _nchw_convolution(core, layer, parameters, threads):
    x = ops.parameter([1, layer.in_channels, layer.height, layer.width], np.float32)
    request, image, outputs = request_of(core, openvino.Model([_convolved(layer, x, *pair) for pair in parameters], [x]), threads)
    return _runner("NCHW", request, lambda new: np.copyto(image, nchw(new)), lambda k: nhwc(outputs[k]))


def _convolved(layer, image, weight, bias):
    weight = weight_oihw(layer, weight)
    if layer.kind == "depthwise":
        convolve, weight = ops.group_convolution, weight.reshape(layer.in_channels, layer.multiplier, 1, layer.kernel, layer.kernel)
    else:
        convolve = ops.convolution
    begin, end = np.transpose(layer.padding).tolist()
    y = convolve(image, ops.constant(weight), [layer.stride] * 2, begin, end, [layer.dilation] * 2)
    return _activated(layer, ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1))))


def _activated(layer, y):
    return ops.clamp(y, 0.0, 6.0) if layer.activation == "relu6" else y


def request_of(core, model, threads):
    """(request, its input array, its output arrays)."""
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    image = aligned_empty(tuple(model.inputs[0].shape))
    outputs = [aligned_empty(tuple(output.shape)) for output in model.outputs]
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))
    for k, output in enumerate(outputs):
        request.set_output_tensor(k, openvino.Tensor(output, shared_memory=True))
    return request, image, outputs


def _runner(form, request, set_input, output_nhwc):
    def infer():
        request.infer(share_outputs=True)

    def start_and_wait():
        request.start_async(share_inputs=True)
        request.wait()

    # `infer` is quicker by a thread's wake-up, but makes a dictionary of all outputs
    call = infer if len(request.results) == 1 else start_and_wait
    return Runner("openvino", form, call, set_input, output_nhwc)
