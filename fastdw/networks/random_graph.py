"""A graph whose layers draw their own weights, and the blocks that architectures are made of."""

from __future__ import annotations

import numpy as np

from fastdw.networks.activations import Activation
from fastdw.networks.elementwise import Add, Multiply, Softmax
from fastdw.networks.graph import Graph
from fastdw.networks.layers import Conv2D, Dense, DepthwiseConv2D, GlobalAveragePool2D, PointwiseConv2D
from fastdw.networks.windows import same_padding2d


def divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple, but never less than 90 % of it: how the MobileNets round their channels."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


class RandomGraph(Graph):
    """Weights are He-scaled and seeded, batch normalisation counts as folded, padding is TensorFlow's "same".

    `activation` is what the convolutions have where nothing else is said.
    """

    def __init__(self, name: str, size: int | tuple[int, int], seed: int, *, channels: int = 3, activation: Activation = "relu6"):
        height, width = size if isinstance(size, tuple) else (size, size)
        super().__init__(name, (1, height, width, channels))
        self.random = np.random.default_rng(seed)
        self.activation = activation

    def weight(self, *shape: int, fan_in: int, gain: float = 2) -> np.ndarray:
        return self.random.standard_normal(shape, np.float32) * np.float32((gain / fan_in) ** 0.5)

    def bias(self, channels: int) -> np.ndarray:
        return self.random.standard_normal(channels, np.float32) * np.float32(0.1)

    def conv(self, name: str, x: str, channels: int, stride: int = 1, kernel: tuple[int, int] = (3, 3)) -> str:
        in_channels = self.shapes[x][3]
        weight = self.weight(*kernel, in_channels, channels, fan_in=kernel[0] * kernel[1] * in_channels)
        padding = same_padding2d(self.shapes[x], kernel, (stride, stride))
        return self.add(
            Conv2D(name, (x,), weight, bias=self.bias(channels), activation=self.activation, stride=(stride, stride), padding=padding)
        )

    def depthwise(self, name: str, x: str, stride: int = 1, kernel: int = 3, dilation: int = 1) -> str:
        channels = self.shapes[x][3]
        weight = self.weight(kernel, kernel, channels, 1, fan_in=kernel * kernel)
        window = {"stride": (stride, stride), "dilation": (dilation, dilation)}
        padding = same_padding2d(self.shapes[x], (kernel, kernel), **window)
        return self.add(
            DepthwiseConv2D(name, (x,), weight, bias=self.bias(channels), activation=self.activation, padding=padding, **window)
        )

    def pointwise(self, name: str, x: str, channels: int, activation: Activation | str = "usual") -> str:
        in_channels = self.shapes[x][3]
        activation = self.activation if activation == "usual" else activation
        weight = self.weight(in_channels, channels, fan_in=in_channels, gain=2 if activation else 1)
        return self.add(PointwiseConv2D(name, (x,), weight, bias=self.bias(channels), activation=activation))

    def squeeze_excite(self, name: str, x: str, squeezed: int, activation: Activation, gate: Activation) -> str:
        """x * gate(expand(act(squeeze(mean of x)))), a factor for each channel (Hu et al. 2017, arXiv:1709.01507)."""
        mean = self.add(GlobalAveragePool2D(f"{name}/mean", (x,), keepdims=True))
        squeeze = self.pointwise(f"{name}/squeeze", mean, squeezed, activation)
        factors = self.pointwise(f"{name}/expand", squeeze, self.shapes[x][3], gate)
        return self.add(Multiply(f"{name}/scale", (x, factors)))

    def inverted_residual(
        self,
        name: str,
        block_input: str,
        hidden: int,
        channels: int,
        *,
        stride: int = 1,
        kernel: int = 3,
        dilation: int = 1,
        squeeze: int = 0,
        squeeze_activation: Activation = "relu",
        gate: Activation = "hard_sigmoid",
    ) -> str:
        """1x1 to `hidden` channels, where these are more, depthwise, 1x1 to `channels`, and the input added where it fits
        (Sandler et al. 2018, arXiv:1801.04381); with squeeze-and-excitation to `squeeze` channels before the last, if not 0."""
        in_channels = self.shapes[block_input][3]
        x = block_input
        if hidden != in_channels:
            x = self.pointwise(f"{name}/expand", x, hidden)
        x = self.depthwise(f"{name}/depthwise", x, stride, kernel, dilation)
        if squeeze:
            x = self.squeeze_excite(f"{name}/squeeze_excite", x, squeeze, squeeze_activation, gate)
        x = self.pointwise(f"{name}/project", x, channels, activation=None)
        if stride == 1 and channels == in_channels:
            x = self.add(Add(f"{name}/add", (block_input, x)))
        return x

    def mean(self, x: str) -> str:
        return self.add(GlobalAveragePool2D("pool", (x,)))

    def dense(self, name: str, x: str, features: int, activation: Activation = None) -> str:
        in_features = self.shapes[x][1]
        weight = self.weight(in_features, features, fan_in=in_features, gain=2 if activation else 1)
        return self.add(Dense(name, (x,), weight, bias=self.bias(features), activation=activation))

    def classifier(self, x: str, classes: int) -> str:
        return self.add(Softmax("softmax", (self.dense("classifier", x, classes),)))
