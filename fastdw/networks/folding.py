"""Rewrites a graph so that convolutions do what the layers around them did.

A rule sees a layer and the producer of one of its inputs that nothing else reads, and gives the one layer that replaces both,
or None. Fusing whole blocks is one more rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.arranging import Pad
from fastdw.networks.elementwise import Activate, Add, Binary, Multiply
from fastdw.networks.graph import Graph
from fastdw.networks.layers import Convolution, Dense, DepthwiseConv2D, Layer, SpatialConvolution
from fastdw.networks.pooling import Pool2D
from fastdw.networks.windows import Shape

Rule = Callable[[Layer, Layer, dict[str, Shape]], Layer | None]  # rule(producer, layer, shapes)


def pad_into_convolution(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    if not isinstance(producer, Pad) or not isinstance(layer, SpatialConvolution) or layer.inputs[0] != producer.name:
        return None
    batch, (top, bottom), (left, right), channels = producer.padding
    if any(batch) or any(channels):
        return None
    rows, cols = layer.padding
    padding = (top + rows[0], bottom + rows[1]), (left + cols[0], right + cols[1])
    return replace(layer, inputs=(producer.inputs[0], *layer.inputs[1:]), padding=padding)


def activation_into_producer(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    if (
        not isinstance(layer, Activate)
        or not isinstance(producer, Convolution | Dense | Binary | Pool2D)
        or producer.activation is not None
    ):
        return None
    return replace(producer, activation=layer.activation)


def addition_into_convolution(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    if not isinstance(layer, Add) or len(layer.inputs) != 2 or not isinstance(producer, Convolution):
        return None
    if producer.activation is not None or producer.has_residual:
        return None
    (residual,) = (name for name in layer.inputs if name != producer.name)
    if shapes[residual] != shapes[producer.name]:
        return None
    return replace(producer, inputs=(producer.inputs[0], residual), activation=layer.activation)


def constant_into_weight(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    """A factor or a summand of each channel, which is what batch normalisation is, becomes part of the weight and the bias."""
    if not isinstance(layer, Binary) or layer.constant is None or layer.constant.size == 1:
        return None  # a lone number may be part of an activation that is written out
    if not isinstance(producer, Convolution | Dense) or producer.activation is not None or len(producer.inputs) == 2:
        return None
    shape, constant = shapes[producer.name], layer.constant.astype(np.float64)
    if constant.shape[-1] != constant.size or constant.size != shape[-1] or shapes[layer.name] != shape:
        return None
    channels = constant.reshape(producer.weight.shape[2:] if isinstance(producer, DepthwiseConv2D) else -1)
    bias = np.zeros(constant.size) if producer.bias is None else producer.bias
    weight = producer.weight
    with np.errstate(over="ignore"):
        if isinstance(layer, Multiply):
            weight = (weight * channels).astype(np.float32)
            bias = bias * constant.reshape(-1)
        else:
            bias = bias + constant.reshape(-1)
        bias = bias.astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return None
    return replace(producer, weight=weight, bias=bias, activation=layer.activation)


def written_out_hard_sigmoid(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    """relu6(x + 3) * (1 / 6)"""
    if is_by(producer, Add, 3, "relu6") and is_by(layer, Multiply, 1 / 6, None):
        return Activate(layer.name, producer.inputs, activation="hard_sigmoid")
    return None


def written_out_swish(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    """x * sigmoid(x), x * hard_sigmoid(x)"""
    if not isinstance(producer, Activate) or not isinstance(layer, Multiply) or layer.activation is not None:
        return None
    if producer.activation not in SWISHES or sorted(layer.inputs) != sorted((producer.name, *producer.inputs)):
        return None
    return Activate(layer.name, producer.inputs, activation=SWISHES[producer.activation])


def is_by(layer: Layer, kind: type[Binary], constant: float, activation: Activation) -> bool:
    if not isinstance(layer, kind) or layer.constant is None or layer.constant.size != 1:
        return False
    return layer.activation == activation and abs(layer.constant.item() - constant) < 1e-6


SWISHES = {"sigmoid": "silu", "hard_sigmoid": "hard_swish"}
RULES: tuple[Rule, ...] = (
    pad_into_convolution,
    written_out_hard_sigmoid,
    written_out_swish,
    activation_into_producer,
    constant_into_weight,
    addition_into_convolution,
)


def fold(graph: Graph) -> Graph:
    """The same function of the input in fewer layers; layers that the output does not need are left out."""
    layers = needed(graph.layers, graph.output)
    readers = Counter([graph.output, *(name for layer in layers for name in layer.inputs)])
    renamed: dict[str, str] = {}
    folded: dict[str, Layer] = {}
    for original in layers:
        layer = replace(original, inputs=tuple(renamed.get(name, name) for name in original.inputs))
        while pair := first_match(layer, folded, readers, graph.shapes):
            producer, replacement = pair
            readers.subtract((*producer.inputs, *layer.inputs))
            readers.update(replacement.inputs)
            layer = replacement
            del folded[producer.name]
        renamed[original.name] = layer.name
        readers[layer.name] = readers[original.name]
        folded[layer.name] = layer
    result = Graph(graph.name, graph.input_shape, graph.quantization)
    for layer in folded.values():
        result.add(layer)
    result.output = renamed.get(graph.output, graph.output)
    return result


def needed(layers: list[Layer], output: str) -> list[Layer]:
    """The layers that the output depends on."""
    wanted = {output}
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
    return [layer for layer in layers if layer.name in wanted]


def first_match(layer: Layer, before: dict[str, Layer], readers: Counter, shapes: dict[str, Shape]) -> tuple[Layer, Layer] | None:
    """The producer to fold and the layer that replaces the pair; the latest producer first."""
    for name in reversed(before):
        if name in layer.inputs and readers[name] == 1:
            for rule in RULES:
                if fused := rule(before[name], layer, shapes):
                    return before[name], fused
    return None
