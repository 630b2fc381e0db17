"""Rewrites a graph so that convolutions do what the layers around them did.

A rule sees a layer and the producer of one of its inputs that nothing else reads, and gives the one layer that replaces both,
or None. Fusing whole blocks is one more rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from fastdw.networks.graph import Graph
from fastdw.networks.layers import Convolution, Dense, Layer, SpatialConvolution
from fastdw.networks.numpy_layers import Add, Clamp, Pad, Pool2D
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


def clamp_into_producer(producer: Layer, layer: Layer, shapes: dict[str, Shape]) -> Layer | None:
    if not isinstance(layer, Clamp) or not isinstance(producer, Convolution | Dense | Add | Pool2D) or producer.activation is not None:
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


RULES: tuple[Rule, ...] = (pad_into_convolution, clamp_into_producer, addition_into_convolution)


def fold(graph: Graph) -> Graph:
    """The same function of the input in fewer layers; layers that the output does not need are left out."""
    layers = needed(graph.layers, graph.output)
    readers = Counter([graph.output, *(name for layer in layers for name in layer.inputs)])
    renamed: dict[str, str] = {}
    folded: dict[str, Layer] = {}
    for original in layers:
        layer = replace(original, inputs=tuple(renamed.get(name, name) for name in original.inputs))
        while pair := first_match(layer, folded, readers, graph.shapes):
            producer, layer = pair
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
