"""stream(): a causal convolution of a signal that comes in pieces, prepared once, with the state that it carries."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastdw import arguments
from fastdw.arguments import GivenWeight
from fastdw.call import refuse_overlap
from fastdw.conv1d import (
    CAUSAL,
    convolve_piece,
    depthwise_conv1d,
    image_weight,
    make_window,
    out_for,
    separable_conv1d,
)
from fastdw.explaining import AS_IMAGES
from fastdw.functional import pack_depthwise, pack_pointwise
from fastdw.packing import PackedWeight, aligned_zeros
from fastdw.prepared import prepare
from fastdw.request import check_channel_stride

KEPT_LENGTHS = 16
LEAST_ROOM = 64  # samples
WEIGHTS = {depthwise_conv1d: ("weight", None), separable_conv1d: ("depthwise_weight", "pointwise_weight")}


class Stream:
    """A prepared causal convolution: stream(x, out=None) takes the next piece. For one signal, and one thread at a time.

    `state` and `start` together are all that a stream remembers: keep them to go back, or set them to go on elsewhere.
    """

    def __init__(self, function: Callable, batch: int, given: dict[str, Any]):
        name, pointwise = WEIGHTS[function]
        weight = image_weight(given[name], name)
        given[name] = weight if isinstance(weight, PackedWeight) else pack_depthwise(weight)
        if pointwise and not isinstance(given[pointwise], PackedWeight):
            given[pointwise] = pack_pointwise(given[pointwise])
        stride, dilation = given.pop("stride", 1), given.pop("dilation", 1)
        self._window = make_window(1, weight.shape[1], stride, CAUSAL, dilation)
        self._batch, self._channels = batch, weight.shape[2]
        self._function = AS_IMAGES[function]
        self._given = given | self._window._replace(padding=(0, 0)).of_images
        self._layers: dict[int, Callable] = {}
        self._out_channels = self._layer(self._window.reach + 1).out_shape[3]
        self._reach = self._window.reach
        self._joined = aligned_zeros((batch, 2 * self._reach + max(self._reach, LEAST_ROOM), self._channels))
        self._first = 0  # of the state, which moves along: short pieces are put behind it
        self._start = 0

    @property
    def state(self) -> np.ndarray:
        """The samples before the next piece: float32 [batch, (kernel - 1) * dilation, channels], a copy that is read-only.

        Raises, when set:
          TypeError, ValueError: it is not float32, or not of the shape.
        """
        state = self._before.copy()
        state.flags.writeable = False
        return state

    @state.setter
    def state(self, value: np.ndarray) -> None:
        value = arguments.array(value, "state")
        if value.shape != self._before.shape:
            raise arguments.error("state", f"shape {arguments.shown(value.shape)}", f"{self._before.shape}")
        self._before[...] = value

    @property
    def start(self) -> int:
        """Which sample of the next piece the next output is for: 0 or more, and less than the stride.

        Raises, when set:
          TypeError, ValueError: it is no such integer.
        """
        return self._start

    @start.setter
    def start(self, value: int) -> None:
        start = arguments.integer(value, "start", 0)
        if start >= self._window.stride:
            raise arguments.error("start", str(start), f"less than {self._window.stride}, the stride")
        self._start = start

    @property
    def _before(self) -> np.ndarray:
        return self._joined[:, self._first : self._first + self._reach]

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The outputs that the next samples bring.

        Args:
          x: float32 [batch, length, channels]; any length, 0 too.
          out: float32 of the result's shape, written in place; must not overlap x.

        Returns:
          float32 [batch, out_length, out_channels]: out_length is the length of x, or with a stride how many outputs are due.

        Raises:
          TypeError, ValueError: as for depthwise_conv1d. The state is as it was.
        """
        x, reach = arguments.array(x, "x"), self._reach
        if x.ndim != 3 or (x.shape[0], x.shape[2]) != (self._batch, self._channels):
            raise arguments.error("x", f"shape {arguments.shown(x.shape)}", f"({self._batch}, any length, {self._channels})")
        check_channel_stride("x", x)
        length = x.shape[1]
        n_outputs = max(0, -(-(length - self._start) // self._window.stride))
        out = out_for(x, out, (self._batch, n_outputs, self._out_channels))
        refuse_overlap(out, x=x)
        n_joined = min(reach, length)
        if self._first + reach + n_joined > self._joined.shape[1]:
            self._joined[:, :reach] = self._before
            self._first = 0
        joined = self._joined[:, self._first : self._first + reach + n_joined]
        joined[:, reach:] = x[:, :n_joined]
        convolve_piece(self._convolve, self._window, joined, x, self._start, out)
        if length > reach:
            self._before[...] = x[:, length - reach :]
        else:
            self._first += length
        self._start += n_outputs * self._window.stride - length
        return out

    def reset(self) -> None:
        """Go back to the beginning of a signal."""
        self._before.fill(0)
        self._start = 0

    def _convolve(self, x: np.ndarray, out: np.ndarray) -> None:
        self._layer(x.shape[1])(x[:, None], out[:, None])

    def _layer(self, length: int) -> Any:
        layer = self._layers.get(length)
        if layer is None:
            if len(self._layers) >= KEPT_LENGTHS:
                self._layers.clear()
            layer = self._layers[length] = prepare(self._function, (self._batch, 1, length, self._channels), **self._given)
        return layer

    def __repr__(self) -> str:
        return f"Stream(({self._batch}, any length, {self._channels}) -> {self._out_channels} channels, {self._window})"


def stream(function: Callable, *weights: GivenWeight | None, batch: int = 1, **keywords: Any) -> Stream:
    """A causal convolution of a signal in pieces: conv = stream(fastdw.depthwise_conv1d, weight, bias); y = conv(piece).

    Pieces of any length give the bits that the whole signal gives at once with padding="causal".

    Args:
      function: fastdw.depthwise_conv1d or fastdw.separable_conv1d.
      weights, keywords: the call's own arguments, but x, padding, state and out. Weights are packed.
      batch: how many signals go side by side.

    Raises:
      TypeError, ValueError: as for the call.
    """
    if function not in WEIGHTS:
        names = " or ".join(f"fastdw.{call.__name__}" for call in WEIGHTS)
        raise TypeError(f"function: got {arguments.shown(function)}; expected {names}")
    for name in {"x", "padding", "state", "out"} & keywords.keys():
        raise TypeError(f"{name}: got {arguments.shown(keywords[name])}; expected none: a stream is causal and carries its own state")
    given = dict(inspect.signature(function).bind(None, *weights, **keywords).arguments)
    del given["x"]
    return Stream(function, arguments.integer(batch, "batch", 1), given)
