"""Windows that take the maximum or the mean of each channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

from fastdw.networks.activations import Activation, activate
from fastdw.networks.layers import NumpyLayer
from fastdw.networks.windows import NO_PADDING, Padding, Shape, output_shape2d, tap_slices


@dataclass(frozen=True, eq=False)
class Pool2D(NumpyLayer):
    """A window slides over each channel; taps on the padding do not count."""

    window: tuple[int, int] = field(kw_only=True)
    stride: tuple[int, int] = field(kw_only=True)
    padding: Padding = field(default=NO_PADDING, kw_only=True)
    activation: Activation = field(default=None, kw_only=True)

    def output_shape(self, *input_shapes: Shape) -> Shape:
        for window, around in zip(self.window, self.padding, strict=True):
            if max(around) >= window:
                raise ValueError(f"padding: got {self.padding}; expected less than the window {self.window}")
        return output_shape2d(input_shapes[0], input_shapes[0][-1], self.window, self.stride, padding=self.padding)

    def over_taps(self, x: np.ndarray, out: np.ndarray, combine: Any) -> None:
        """out = combine(out, x under the tap), tap after tap"""
        (top, _), (left, _) = self.padding
        for p in range(self.window[0]):
            out_rows, in_rows = tap_slices(x.shape[1], out.shape[1], p, self.stride[0], top)
            for q in range(self.window[1]):
                out_cols, in_cols = tap_slices(x.shape[2], out.shape[2], q, self.stride[1], left)
                target = out[:, out_rows, out_cols]
                combine(target, x[:, in_rows, in_cols], out=target)


@dataclass(frozen=True, eq=False)
class MaxPool2D(Pool2D):
    kind = "max_pool2d"

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = -inf
        self.over_taps(inputs[0], out, np.maximum)
        activate(out, self.activation, out)


@dataclass(frozen=True, eq=False)
class AveragePool2D(Pool2D):
    """The mean of the taps inside the image; of all taps, zeros on the padding, with count_padding."""

    kind = "average_pool2d"
    count_padding: bool = field(default=False, kw_only=True)

    def run(self, *inputs: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        self.over_taps(inputs[0], out, np.add)
        out /= self.window[0] * self.window[1] if self.count_padding else self.count_taps(inputs[0].shape, out.shape)
        activate(out, self.activation, out)

    def count_taps(self, in_shape: Shape, out_shape: Shape) -> np.ndarray:
        """How many taps lie inside the image, [1, out_h, out_w, 1]"""
        counts = np.zeros((1, *out_shape[1:3], 1), np.float32)
        self.over_taps(np.ones((1, *in_shape[1:3], 1), np.float32), counts, np.add)
        return counts
