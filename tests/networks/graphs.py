"""Small graphs, and what they mean: every layer on its own, nothing folded, no memory shared."""

from __future__ import annotations

import numpy as np

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import Conv2D, DepthwiseConv2D, Layer, PointwiseConv2D


def value(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv(name: str, x: str, in_channels: int, out_channels: int, **keywords) -> Conv2D:
    return Conv2D(name, (x,), value(3, 3, in_channels, out_channels), bias=value(out_channels, seed=1), **keywords)


def depthwise(name: str, x: str, channels: int, **keywords) -> DepthwiseConv2D:
    return DepthwiseConv2D(name, (x,), value(3, 3, channels, 1), bias=value(channels, seed=1), **keywords)


def pointwise(name: str, x: str, in_channels: int, out_channels: int, **keywords) -> PointwiseConv2D:
    return PointwiseConv2D(name, (x,), value(in_channels, out_channels), bias=value(out_channels, seed=1), **keywords)


def meaning(graph: Graph, x: np.ndarray) -> np.ndarray:
    values = {INPUT: x}
    for layer in graph.layers:
        out = np.full(graph.shapes[layer.name], np.nan, np.float32)
        layer.prepare(1, *graph.input_shapes(layer))(*[values[name] for name in layer.inputs], out=out)
        values[layer.name] = out
    return values[graph.output]


def run_layer(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    shapes = [x.shape for x in inputs]
    out = np.full(layer.output_shape(*shapes), np.nan, np.float32)
    layer.prepare(1, *shapes)(*inputs, out=out)
    return out
