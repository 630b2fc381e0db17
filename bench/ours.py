"""fastdw as a contestant: prepared calls, each copy writing an array of its own."""

from functools import partial

import numpy as np

import fastdw
from bench.data import aligned_empty
from bench.peers import Runner


def make(layer, weights, biases, threads, offset_bytes=0):
    """offset_bytes: how far behind a 64-byte boundary x and out begin."""
    prepared = [prepare(layer, weight, bias, threads) for weight, bias in zip(weights, biases, strict=True)]
    x = aligned_empty(fastdw_shape(layer, layer.in_shape), offset_bytes)
    outputs = [aligned_empty(fastdw_shape(layer, layer.out_shape), offset_bytes) for _ in weights]
    copies = list(zip(prepared, outputs, strict=True))

    def call_all():
        for call, out in copies:
            call(x, out)

    return Runner(
        name=f"fastdw +{offset_bytes}" if offset_bytes else "fastdw",
        form=f"NHWC, {offset_bytes} bytes off alignment" if offset_bytes else "NHWC, aligned",
        call=partial(prepared[0], x, outputs[0]) if len(copies) == 1 else call_all,
        set_input=lambda new: np.copyto(x, new.reshape(x.shape)),
        output_nhwc=lambda k: outputs[k].reshape(layer.out_shape),
    )


def prepare(layer, weight, bias, threads):
    function, keywords = functional(layer)
    return fastdw.prepare(function, fastdw_shape(layer, layer.in_shape), weight, bias, threads=threads, **keywords)


def functional(layer):
    """(public function, its keywords) for a layer."""
    window = {"stride": layer.stride, "padding": "same"}
    function, keywords = {
        "depthwise": (fastdw.depthwise_conv2d, window),
        "pointwise": (fastdw.pointwise_conv2d, {}),
        "conv": (fastdw.conv2d, window),
        "dense": (fastdw.dense, {}),
    }[layer.kind]
    return function, {**keywords, "activation": layer.activation}


def fastdw_shape(layer, shape):
    """Dense layers take and give rows."""
    return (shape[0], shape[3]) if layer.kind == "dense" else shape
