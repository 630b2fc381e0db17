"""Depthwise convolution of signals [batch, length, channels]: images of one row, on the kernels of the 2-D calls.

A causal output depends on its own sample and on those before it, so a signal can come in pieces: a state carries the last
(kernel - 1) * dilation samples. The outputs whose window begins in the state are computed from a copy of those samples and of
as many of the piece; all others from the piece where it lies. Each output is the same sum in the same order for any pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from fastdw import arguments
from fastdw.arguments import GivenActivation, GivenArray, GivenPadding, GivenWeight, error, shown
from fastdw.call import refuse_overlap
from fastdw.functional import depthwise_conv2d, separable_conv2d
from fastdw.gather import check_writable
from fastdw.packing import PackedWeight, aligned_empty
from fastdw.problem import DEPTHWISE, Pair, same_padding, span
from fastdw.request import Strided, check_channel_stride

CAUSAL = "causal"
PADDINGS = (*arguments.PADDINGS, CAUSAL)
PADDING_NUMBERS = "an integer or (before, after)"
SIGNAL = "[batch, length, channels]"
WEIGHT = "[kernel, channels, multiplier] or [kernel, channels]"

Valid = Callable[[np.ndarray, np.ndarray], object]  # valid(x, out): a convolution without padding


class Window(NamedTuple):
    """Where the taps of an output lie."""

    taps: int
    stride: int
    dilation: int
    padding: Pair  # (before, after)

    @property
    def reach(self) -> int:
        """Samples from the first tap to the last, that one left out."""
        return (self.taps - 1) * self.dilation

    def out_length(self, length: int) -> int:
        return (length + sum(self.padding) - self.reach - 1) // self.stride + 1

    @property
    def of_images(self) -> dict[str, Any]:
        return {"stride": (1, self.stride), "dilation": (1, self.dilation), "padding": ((0, 0), self.padding)}


def depthwise_conv1d(
    x: GivenArray,
    weight: GivenWeight,
    bias: GivenArray | None = None,
    *,
    stride: SupportsIndex = 1,
    padding: GivenPadding = "valid",
    dilation: SupportsIndex = 1,
    activation: GivenActivation = None,
    state: np.ndarray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Depthwise 1-D convolution of signals [batch, length, channels].

    y[n, i, c*m + k] = act(bias[c*m + k] + sum over p of x[n, i*stride + p*dilation - before, c] * weight[p, c, k])

    Args:
      x: float32 [batch, length, channels]; channel stride 1, other strides free. May hold anything.
      weight: float32 [kernel, channels, multiplier] or [kernel, channels], finite; or what pack_depthwise(weight[None]) returned.
      bias, activation, threads: as for depthwise_conv2d.
      stride, dilation: integers.
      padding: "valid", "same" (TensorFlow's), "same_lower" (ONNX's), "causal" (all before the signal), an integer, or (before, after).
      state: for a signal that comes in pieces: float32 [batch, (kernel - 1) * dilation, channels], zeros at first, updated in place.
        It holds the samples before x, which stand where the padding would. Pieces of any length, 1 included, give the bits of
        the whole signal. For padding="causal", and lengths that are multiples of the stride; fastdw.stream takes all others.
      out: float32 of the result's shape, written in place; channel stride 1; must not overlap an input.

    Returns:
      float32 [batch, out_length, channels*multiplier]; `out` itself when given.

    Raises:
      TypeError: an argument is not of its type; an array is not float32.
      ValueError: shapes that do not fit; weights that are not finite; a state with another padding; a result larger than memory.
    """
    x, laid, window = _checked(x, weight, stride, padding, dilation, "weight", least=int(state is None))
    channels = laid.shape[2] * (laid.shape[3] if len(laid.shape) == 4 else 1)
    given = {"weight": laid, "bias": bias, "activation": activation, "threads": threads}
    return _convolve(depthwise_conv2d, x, window, padding, channels, state, out, given)


def separable_conv1d(
    x: GivenArray,
    depthwise_weight: GivenWeight,
    pointwise_weight: GivenWeight,
    depthwise_bias: GivenArray | None = None,
    pointwise_bias: GivenArray | None = None,
    *,
    stride: SupportsIndex = 1,
    padding: GivenPadding = "valid",
    dilation: SupportsIndex = 1,
    depthwise_activation: GivenActivation = None,
    activation: GivenActivation = None,
    state: np.ndarray | None = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Depthwise-separable 1-D convolution: depthwise_conv1d, then a pointwise convolution, to the last bit.

    Args:
      x, stride, padding, dilation, state: as for depthwise_conv1d.
      depthwise_weight, depthwise_bias, depthwise_activation: of the depthwise convolution.
      pointwise_weight: float32 [in_channels, out_channels], finite; or what pack_pointwise returned.
      pointwise_bias, activation, out: of the pointwise convolution. threads: of both.

    Returns:
      float32 [batch, out_length, out_channels]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv1d.
    """
    name = "depthwise_weight"
    x, weight, window = _checked(x, depthwise_weight, stride, padding, dilation, name, least=int(state is None))
    if not isinstance(pointwise_weight, PackedWeight):
        pointwise_weight = arguments.array(pointwise_weight, "pointwise_weight")
    if len(pointwise_weight.shape) != 2:
        raise error("pointwise_weight", f"shape {shown(pointwise_weight.shape)}", "[in_channels, out_channels]")
    given = {name: weight, "pointwise_weight": pointwise_weight, "depthwise_bias": depthwise_bias, "pointwise_bias": pointwise_bias}
    given |= {"depthwise_activation": depthwise_activation, "activation": activation, "threads": threads}
    return _convolve(separable_conv2d, x, window, padding, pointwise_weight.shape[1], state, out, given)


def _convolve(function: Callable, x, window: Window, padding, channels: int, state, out, given: dict[str, Any]) -> np.ndarray:
    if state is not None:
        _check_state(state, x, window, padding)
    out = out_for(x, out, (x.shape[0], window.out_length(x.shape[1]), channels))
    if state is None:
        function(x[:, None], out=out[:, None], **given, **window.of_images)
        return out
    refuse_overlap(state, "state", x=x, out=out)
    refuse_overlap(out, x=x)
    joined = np.concatenate((state, x[:, : window.reach]), axis=1)
    valid = window._replace(padding=(0, 0)).of_images
    convolve_piece(lambda x, out: function(x[:, None], out=out[:, None], **given, **valid), window, joined, x, 0, out)
    state[...] = last_samples(window, joined, x)
    return out


def convolve_piece(valid: Valid, window: Window, joined: np.ndarray, x: np.ndarray, start: int, out: np.ndarray) -> None:
    """The outputs of a piece.

    joined: the samples before x, `reach` of them, then as many of x or all of it. start: which sample of x the first output is for.
    """
    reach, stride, n_outputs = window.reach, window.stride, out.shape[1]
    n_joined = min(n_outputs, max(0, -(-(reach - start) // stride)))
    if n_joined:
        valid(joined[:, start : start + (n_joined - 1) * stride + reach + 1], out[:, :n_joined])
    if n_outputs > n_joined:
        valid(x[:, start + n_joined * stride - reach :], out[:, n_joined:])


def last_samples(window: Window, joined: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The samples that come before the next piece."""
    length = x.shape[1]
    return x[:, length - window.reach :] if length >= window.reach else joined[:, length : length + window.reach]


def _checked(x, weight, stride, padding, dilation, name: str, least: int = 1) -> tuple[Any, Any, Window]:
    """x, the weight as that of an image of one row, and the window, which fits x."""
    x = x if isinstance(x, Strided) else arguments.array(x, "x")
    if len(x.shape) != 3:
        raise error("x", f"shape {shown(x.shape)}", SIGNAL)
    if min(x.shape[0], x.shape[2]) < 1 or x.shape[1] < least:
        raise error("x", f"shape {x.shape}", f"{SIGNAL} with every extent at least 1")
    check_channel_stride("x", x)
    weight = image_weight(weight, name)
    taps, channels = weight.shape[1:3]
    if channels != x.shape[2]:
        hint = "; x looks like [batch, channels, length]: np.ascontiguousarray(x.transpose(0, 2, 1))" if channels == x.shape[1] else ""
        raise error(name, f"{channels} input channels", f"{x.shape[2]}, the channels of x{hint}")
    window = make_window(x.shape[1], taps, stride, padding, dilation)
    padded = max(x.shape[1], 1) + sum(window.padding)
    if span(taps, window.dilation) > padded:
        raise error(name, f"a kernel that spans {span(taps, window.dilation)} samples", f"at most {padded}, the padded length of x")
    return x, weight, window


def image_weight(weight, name: str):
    """The weight of an image of one row: [1, kernel, channels, multiplier]."""
    if isinstance(weight, PackedWeight):
        if weight.kind != DEPTHWISE or weight.shape[0] != 1:
            raise error(name, f"a weight {weight.shape} packed for {weight.kind}", "[1, kernel, channels, multiplier], by pack_depthwise")
        return weight
    weight = arguments.array(weight, name)
    if weight.ndim not in (2, 3):
        raise error(name, f"shape {shown(weight.shape)}", WEIGHT)
    if 0 in weight.shape:
        raise error(name, f"shape {weight.shape}", f"{WEIGHT} with every extent at least 1")
    return weight.reshape(1, *weight.shape[:2], -1)


def make_window(length: int, taps: int, stride, padding, dilation) -> Window:
    stride, dilation = arguments.integer(stride, "stride", 1), arguments.integer(dilation, "dilation", 1)
    if isinstance(padding, str):
        arguments.padding_name(padding, PADDINGS, PADDING_NUMBERS)
        if padding == "valid":
            sides = (0, 0)
        elif padding == CAUSAL:
            sides = ((taps - 1) * dilation, 0)
        else:
            sides = same_padding(length, taps, stride, dilation, padding == "same_lower")
    elif isinstance(padding, (tuple, list)):
        if len(padding) != 2 or any(isinstance(side, (tuple, list)) for side in padding):
            raise error("padding", shown(padding), PADDING_NUMBERS)
        sides = (arguments.integer(padding[0], "padding", 0), arguments.integer(padding[1], "padding", 0))
    else:
        sides = (arguments.integer(padding, "padding", 0),) * 2
    return Window(taps, stride, dilation, sides)


def out_for(x: np.ndarray, out: Any, shape: tuple[int, ...]) -> np.ndarray:
    if out is None:
        return aligned_empty(shape, x.shape)
    check_writable(out, shape)
    return out


def _check_state(state: Any, x: np.ndarray, window: Window, padding: Any) -> None:
    if padding != CAUSAL:
        raise error("state", f"an array with padding={shown(padding)}", 'padding="causal", or no state')
    if type(state) is not np.ndarray:
        raise arguments.wrong_type("state", state, "a float32 NumPy array")
    arguments.array(state, "state")
    expected = (x.shape[0], window.reach, x.shape[2])
    if state.shape != expected:
        raise error("state", f"shape {shown(state.shape)}", f"{expected}: [batch, (kernel - 1) * dilation, channels]")
    if not state.flags.writeable:
        raise error("state", "a read-only array", "a writable one")
    if x.shape[1] % window.stride:
        raise error("x", f"{x.shape[1]} samples", f"a multiple of the stride {window.stride} with a state: fastdw.stream takes any number")


def as_images(function: Callable, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the 2-D call, for explain and prepare; x may be a shape alone."""
    name = "weight" if function is depthwise_conv1d else "depthwise_weight"
    given = dict(given)
    if given.pop("state", None) is not None:
        raise error("state", "an array", "none: fastdw.stream prepares a call that carries one")
    window = (given.pop("stride", 1), given.pop("padding", "valid"), given.pop("dilation", 1))
    x, given[name], found = _checked(given["x"], given[name], *window, name)
    given["x"] = Strided((x.shape[0], 1, *x.shape[1:]), (x.strides[0], 0, *x.strides[1:])) if isinstance(x, Strided) else x[:, None]
    if given.get("out") is not None:
        check_writable(given["out"])
        given["out"] = given["out"][:, None]
    return given | found.of_images
