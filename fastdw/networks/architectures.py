"""Known architectures with random weights, for benches, tuning and a first run without a model file.

Weights are He-scaled and seeded, batch normalisation counts as folded, padding is TensorFlow's "same".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import Activation, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, PointwiseConv2D
from fastdw.networks.numpy_layers import Add, Softmax
from fastdw.networks.windows import same_padding2d

# (channels, stride of the depthwise layer)
MOBILENET_V1_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
# (expansion, channels, blocks, stride of the first block)
MOBILENET_V2_STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class RandomGraph(Graph):
    """A graph whose layers draw their own weights."""

    def __init__(self, name: str, size: int, seed: int):
        super().__init__(name, (1, size, size, 3))
        self.random = np.random.default_rng(seed)

    def weight(self, *shape: int, fan_in: int, gain: float) -> np.ndarray:
        return self.random.standard_normal(shape, np.float32) * np.float32((gain / fan_in) ** 0.5)

    def bias(self, channels: int) -> np.ndarray:
        return self.random.standard_normal(channels, np.float32) * np.float32(0.1)

    def conv(self, name: str, x: str, channels: int, stride: int) -> str:
        weight = self.weight(3, 3, self.shapes[x][3], channels, fan_in=9 * self.shapes[x][3], gain=2)
        padding = same_padding2d(self.shapes[x], (3, 3), (stride, stride))
        return self.add(Conv2D(name, (x,), weight, bias=self.bias(channels), activation="relu6", stride=(stride, stride), padding=padding))

    def depthwise(self, name: str, x: str, stride: int) -> str:
        channels = self.shapes[x][3]
        weight = self.weight(3, 3, channels, 1, fan_in=9, gain=2)
        padding = same_padding2d(self.shapes[x], (3, 3), (stride, stride))
        return self.add(
            DepthwiseConv2D(name, (x,), weight, bias=self.bias(channels), activation="relu6", stride=(stride, stride), padding=padding)
        )

    def pointwise(self, name: str, x: str, channels: int, activation: Activation = "relu6") -> str:
        in_channels = self.shapes[x][3]
        weight = self.weight(in_channels, channels, fan_in=in_channels, gain=2 if activation else 1)
        return self.add(PointwiseConv2D(name, (x,), weight, bias=self.bias(channels), activation=activation))

    def classifier(self, x: str, classes: int) -> str:
        x = self.add(GlobalAveragePool2D("pool", (x,)))
        features = self.shapes[x][1]
        weight = self.weight(features, classes, fan_in=features, gain=1)
        x = self.add(Dense("classifier", (x,), weight, bias=self.bias(classes)))
        return self.add(Softmax("softmax", (x,)))


def mobilenet_v1(*, size: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MobileNetV1 1.0 (Howard et al. 2017, arXiv:1704.04861, table 1)."""
    graph = RandomGraph("mobilenet_v1", size, seed)
    x = graph.conv("stem", INPUT, 32, 2)
    for index, (channels, stride) in enumerate(MOBILENET_V1_BLOCKS, 1):
        x = graph.depthwise(f"block{index}/depthwise", x, stride)
        x = graph.pointwise(f"block{index}/pointwise", x, channels)
    graph.classifier(x, classes)
    return graph


def mobilenet_v2(*, size: int = 224, classes: int = 1000, seed: int = 0) -> Graph:
    """MobileNetV2 1.0 (Sandler et al. 2018, arXiv:1801.04381, table 2)."""
    graph = RandomGraph("mobilenet_v2", size, seed)
    x = graph.conv("stem", INPUT, 32, 2)
    index = 0
    for expansion, channels, blocks, first_stride in MOBILENET_V2_STAGES:
        for stride in (first_stride, *[1] * (blocks - 1)):
            index += 1
            x = inverted_residual(graph, f"block{index}", x, expansion, channels, stride)
    graph.classifier(graph.pointwise("head", x, 1280), classes)
    return graph


def inverted_residual(graph: RandomGraph, name: str, block_input: str, expansion: int, channels: int, stride: int) -> str:
    in_channels = graph.shapes[block_input][3]
    x = block_input
    if expansion > 1:
        x = graph.pointwise(f"{name}/expand", x, expansion * in_channels)
    x = graph.depthwise(f"{name}/depthwise", x, stride)
    x = graph.pointwise(f"{name}/project", x, channels, activation=None)
    if stride == 1 and channels == in_channels:
        x = graph.add(Add(f"{name}/add", (block_input, x)))
    return x


ARCHITECTURES: dict[str, Callable[..., Graph]] = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2}
