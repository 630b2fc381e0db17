"""What to compute: shapes and their arithmetic, free of arrays, plans and machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from fastdw.tile.activations import CLAMP

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))

DEPTHWISE, POINTWISE, CONV, DENSE, POOL = "depthwise", "pointwise", "conv", "dense", "pool"


class Activation(NamedTuple):
    """A function of fastdw.tile.activations by its name, or a clamp to [low, high]."""

    name: str = CLAMP
    low: float = -math.inf
    high: float = math.inf


NO_ACTIVATION = Activation()


@dataclass(frozen=True, slots=True)
class Problem:
    """One operator on images [batch, height, width, channels].

    depthwise: out_channels is channels * multiplier. pointwise: a 1x1 convolution of stride 1. dense: batch rows, each
    an image of one pixel. pool: the mean over the whole image.
    """

    kind: str
    batch: int
    height: int
    width: int
    channels: int
    out_channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    activation: Activation = NO_ACTIVATION
    dense_pixels: bool = True  # False: pixels of a row do not follow each other without a gap, in x, out or residual

    @property
    def out_height(self) -> int:
        return out_extent(self.height, self.kernel[0], self.stride[0], self.dilation[0], self.padding[0])

    @property
    def out_width(self) -> int:
        return out_extent(self.width, self.kernel[1], self.stride[1], self.dilation[1], self.padding[1])

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_height, self.out_width, self.out_channels)

    @property
    def multiplier(self) -> int:
        return self.out_channels // self.channels

    @property
    def multiply_adds(self) -> int:
        """Of the operator as written, taps on padding included."""
        outputs = math.prod(self.out_shape)
        if self.kind == POOL:
            return self.batch * self.height * self.width * self.channels
        taps = math.prod(self.kernel)
        return outputs * (taps if self.kind == DEPTHWISE else taps * self.channels)

    @property
    def weight_count(self) -> int:
        if self.kind == POOL:
            return 0
        return math.prod(self.kernel) * self.out_channels * (1 if self.kind == DEPTHWISE else self.channels)

    @property
    def bytes_moved(self) -> int:
        """The least possible: each input, weight and output once."""
        return 4 * (self.batch * self.height * self.width * self.channels + self.weight_count + math.prod(self.out_shape))

    @property
    def key(self) -> str:
        """Names the problem in profiles and reports: f32_depthwise_n1_112x112x32_k3x3_s1x1"""
        parts = [f"f32_{self.kind}", f"n{self.batch}", f"{self.height}x{self.width}x{self.channels}"]
        if self.kind in (POINTWISE, CONV, DENSE) or self.multiplier != 1:
            parts.append(f"o{self.out_channels}")
        if self.kind in (DEPTHWISE, CONV):
            parts += [f"k{self.kernel[0]}x{self.kernel[1]}", f"s{self.stride[0]}x{self.stride[1]}"]
            if self.dilation != (1, 1):
                parts.append(f"d{self.dilation[0]}x{self.dilation[1]}")
            if self.padding != ((0, 0), (0, 0)):
                parts.append("p" + "x".join(str(side) for pair in self.padding for side in pair))
        if not self.dense_pixels:
            parts.append("gaps")
        if self.activation.name != CLAMP:
            parts.append(self.activation.name)
        return "_".join(parts)


def out_extent(extent: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    return (extent + sum(padding) - span(kernel, dilation)) // stride + 1


def span(taps: int, dilation: int) -> int:
    """Input elements from the first tap to the last."""
    return (taps - 1) * dilation + 1


def same_padding(extent: int, kernel: int, stride: int, dilation: int, odd_before: bool = False) -> Pair:
    """TensorFlow's: out = ceil(extent / stride); an odd element of padding goes after, or before for ONNX's SAME_LOWER."""
    out = -(-extent // stride)
    total = max(0, (out - 1) * stride + span(kernel, dilation) - extent)
    small = total // 2
    return (total - small, small) if odd_before else (small, total - small)
