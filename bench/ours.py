"""fastdw as a contestant: prepared calls, each copy writing an array of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

import fastdw
from bench.data import aligned_empty
from bench.layers import Layer
from bench.peers import Runner


def make(layer: Layer, weights: list[np.ndarray], biases: list[np.ndarray], threads: int, offset_bytes: int = 0) -> Runner:
    """offset_bytes: how far behind a 64-byte boundary x and out begin."""
    prepared = [prepare(layer, weight, bias, threads) for weight, bias in zip(weights, biases, strict=True)]
    x = aligned_empty(fastdw_shape(layer, layer.in_shape), offset_bytes)
    outputs = [aligned_empty(fastdw_shape(layer, layer.out_shape), offset_bytes) for _ in weights]
    copies = list(zip(prepared, outputs, strict=True))

    def call_all() -> None:
        for call, out in copies:
            call(x, out)

    return Runner(
        name=f"fastdw +{offset_bytes}" if offset_bytes else "fastdw",
        form=f"NHWC, {offset_bytes} bytes off alignment" if offset_bytes else "NHWC, aligned",
        call=partial(prepared[0], x, outputs[0]) if len(copies) == 1 else call_all,
        set_input=lambda new: np.copyto(x, new.reshape(x.shape)),
        output_nhwc=lambda k: outputs[k].reshape(layer.out_shape),
    )


def prepare(layer: Layer, weight: np.ndarray, bias: np.ndarray, threads: int) -> Callable[..., np.ndarray]:
    function, keywords = functional(layer)
    return fastdw.prepare(function, fastdw_shape(layer, layer.in_shape), weight, bias, threads=threads, **keywords)


def functional(layer: Layer) -> tuple[Callable[..., np.ndarray], dict]:
    """(public function, its keywords) for a layer."""
    window = {"stride": layer.stride, "padding": "same", "dilation": layer.dilation}
    function, keywords = {
        "depthwise": (fastdw.depthwise_conv2d, window),
        "pointwise": (fastdw.pointwise_conv2d, {}),
        "conv": (fastdw.conv2d, window),
        "dense": (fastdw.dense, {}),
    }[layer.kind]
    return function, {**keywords, "activation": layer.activation}


def fastdw_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Dense layers take and give rows."""
    return (shape[0], shape[3]) if layer.kind == "dense" else shape
