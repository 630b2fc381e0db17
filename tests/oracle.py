"""What each call means: naive float64 NumPy, straight from the formula, with the error that float32 may make.

Every function takes the arguments of the fastdw call of its name and returns an Expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fastdw import machine

HALF_ULP = 2.0**-24  # relative error of one float32 rounding
HALF_SUBNORMAL = 2.0**-150  # absolute error of one float32 rounding below the normal numbers
SECOND_ORDER = 1.01  # the terms that a first-order bound leaves out, far below 1 % up to 100,000 roundings


@dataclass(frozen=True)
class Expected:
    """The exact result, and how far any float32 evaluation may lie from it."""

    value: np.ndarray
    bound: np.ndarray

    def check(self, actual: np.ndarray) -> None:
        self._check_type(actual)
        error = np.abs(actual - self.value)
        self._fail_where(~(error <= self.bound), actual, "beyond the error bound")

    def check_exact(self, actual: np.ndarray) -> None:
        """For operands so small and whole that every partial sum is exact."""
        self._check_type(actual)
        self._fail_where(actual != self.value.astype(np.float32), actual, "where float32 is exact")

    def _check_type(self, actual: np.ndarray) -> None:
        assert actual.dtype == np.float32, f"got {actual.dtype}"
        assert actual.shape == self.value.shape, f"got shape {actual.shape}, expected {self.value.shape}"

    def _fail_where(self, wrong: np.ndarray, actual: np.ndarray, what: str) -> None:
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            got, value, bound = actual[first], self.value[first], self.bound[first]
            raise AssertionError(f"{wrong.sum()} of {wrong.size} wrong {what}, first at {first}: got {got}, expected {value} +- {bound}")


def depthwise_conv2d(x, weight, bias=None, *, stride=1, padding="valid", dilation=1, activation=None, residual=None) -> Expected:
    weight = weight.reshape(*weight.shape[:3], -1)

    def correlate(x, weight):
        return _correlate(x, weight, stride, padding, dilation, _multiply_channels)

    n_terms = weight.shape[0] * weight.shape[1]
    return _finish(*_contract(x, weight, n_terms, correlate), n_terms, bias, residual, activation)


def conv2d(x, weight, bias=None, *, stride=1, padding="valid", dilation=1, activation=None, residual=None) -> Expected:
    def correlate(x, weight):
        return _correlate(x, weight, stride, padding, dilation, np.matmul)

    n_terms = weight.shape[0] * weight.shape[1] * weight.shape[2]
    return _finish(*_contract(x, weight, n_terms, correlate), n_terms, bias, residual, activation)


def pointwise_conv2d(x, weight, bias=None, *, activation=None, residual=None) -> Expected:
    weight = weight.reshape(weight.shape[-2:])
    n_terms = weight.shape[0]
    return _finish(*_contract(x, weight, n_terms, np.matmul), n_terms, bias, residual, activation)


def dense(x, weight, bias=None, *, activation=None) -> Expected:
    return pointwise_conv2d(x, weight, bias, activation=activation)


def separable_conv2d(
    x,
    depthwise_weight,
    pointwise_weight,
    depthwise_bias=None,
    pointwise_bias=None,
    *,
    depthwise_activation=None,
    activation=None,
    residual=None,
    **window,
) -> Expected:
    middle = depthwise_conv2d(x, depthwise_weight, depthwise_bias, activation=depthwise_activation, **window)
    return pointwise_conv2d(middle, pointwise_weight, pointwise_bias, activation=activation, residual=residual)


def inverted_residual(
    x, expand_weight, depthwise_weight, project_weight, expand_bias=None, depthwise_bias=None, project_bias=None, *, padding="same",
    expand_activation="relu6", depthwise_activation="relu6", activation=None, squeeze_excite=None, residual=False, **window
) -> Expected:  # fmt: skip
    y = x if expand_weight is None else pointwise_conv2d(x, expand_weight, expand_bias, activation=expand_activation)
    y = depthwise_conv2d(y, depthwise_weight, depthwise_bias, padding=padding, activation=depthwise_activation, **window)
    if squeeze_excite is not None:
        y = gated(y, squeeze_excite)
    return pointwise_conv2d(y, project_weight, project_bias, activation=activation, residual=x if residual else None)


def gated(y: Expected, gate) -> Expected:
    """Each pixel times the gate of a SqueezeExcite."""
    mean = Expected(y.value.mean((1, 2)), y.bound.mean((1, 2)))
    mean = Expected(mean.value, mean.bound + rounding_bound(np.mean(np.abs(y.value) + y.bound, (1, 2)), y.value[0, ..., 0].size + 1))
    squeezed = dense(mean, gate.squeeze_weight, gate.squeeze_bias, activation=gate.squeeze_activation)
    scale = dense(squeezed, gate.excite_weight, gate.excite_bias, activation=gate.excite_activation)
    factor, slack = scale.value[:, None, None], scale.bound[:, None, None]
    largest = (np.abs(y.value) + y.bound) * (np.abs(factor) + slack)
    return Expected(y.value * factor, largest - np.abs(y.value * factor) + rounding_bound(largest, 1))


def global_average_pool2d(x, *, keepdims=False) -> Expected:
    n_pixels = x.shape[1] * x.shape[2]
    value = np.mean(x, (1, 2), np.float64, keepdims=keepdims)
    magnitude = np.mean(np.abs(x), (1, 2), np.float64, keepdims=keepdims)
    return Expected(value, rounding_bound(magnitude, n_pixels + 1))


def rounding_bound(magnitude: np.ndarray, n_roundings: int) -> np.ndarray:
    return SECOND_ORDER * n_roundings * (HALF_ULP * magnitude + HALF_SUBNORMAL)


# ---- geometry ----


def pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def resolve_padding(padding, size, kernel, stride, dilation) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of any padding that the calls take; all other arguments are pairs."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding in ("same", "same_lower"):
        return tuple(_same_padding(padding, *axis) for axis in zip(size, kernel, stride, dilation, strict=True))
    vertical, horizontal = pair(padding)
    return pair(vertical), pair(horizontal)


def _same_padding(padding: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    smaller, larger = total // 2, total - total // 2
    return (smaller, larger) if padding == "same" else (larger, smaller)


def out_size(size, kernel, stride, padding, dilation) -> tuple[int, int]:
    size, kernel, stride, dilation = pair(size), pair(kernel), pair(stride), pair(dilation)
    pads = resolve_padding(padding, size, kernel, stride, dilation)
    axes = zip(size, kernel, stride, pads, dilation, strict=True)
    return tuple((extent + sum(pad) - (taps - 1) * d - 1) // step + 1 for extent, taps, step, pad, d in axes)


def windows(x, kernel, stride, padding, dilation) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each tap (p, q), row-major: the input that it meets, [batch, out_h, out_w, channels]; padding reads +0."""
    stride, dilation = pair(stride), pair(dilation)
    pads = resolve_padding(padding, x.shape[1:3], kernel, stride, dilation)
    rows, cols = out_size(x.shape[1:3], kernel, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    for p, q in np.ndindex(*kernel):
        top, left = p * dilation[0], q * dilation[1]
        bottom, right = top + (rows - 1) * stride[0] + 1, left + (cols - 1) * stride[1] + 1
        yield p, q, padded[:, top : bottom : stride[0], left : right : stride[1]]


# ---- sums and their bounds ----


def _multiply_channels(window: np.ndarray, tap: np.ndarray) -> np.ndarray:
    return (window[..., None] * tap).reshape(*window.shape[:3], -1)


def _correlate(x, weight, stride, padding, dilation, contract: Callable) -> np.ndarray:
    return sum(contract(window, weight[p, q]) for p, q, window in windows(x, weight.shape[:2], stride, padding, dilation))


def _contract(x, weight, n_terms: int, correlate: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray | float]:
    """The sum, the sum of magnitudes, and the error that x brings along from an earlier step."""
    weight = weight.astype(np.float64)
    if isinstance(x, Expected):
        inherited = correlate(x.bound, np.abs(weight))
        return correlate(x.value, weight), correlate(np.abs(x.value), np.abs(weight)) + inherited, inherited
    x = x.astype(np.float64)
    return correlate(x, weight), correlate(np.abs(x), np.abs(weight)), 0.0


def _finish(value, magnitude, inherited, n_terms, bias, residual, activation) -> Expected:
    for addend in (bias, residual):
        if addend is not None:
            value = value + addend
            magnitude = magnitude + np.abs(addend)
    bound = inherited + rounding_bound(magnitude, n_terms + 3)  # a product rounded by itself, the bias, the residual
    return activated(Expected(value, bound), activation)


# ---- activations ----
def clamp_bounds(activation) -> tuple[np.float32, np.float32]:
    low, high = {None: (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}.get(activation, activation)
    return np.float32(low), np.float32(high)


def clamp(value: np.ndarray, activation) -> np.ndarray:
    low, high = clamp_bounds(activation)
    value = np.where(value < low, low, value)
    return np.where(value > high, high, value)


def _normal(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erfc, otypes=[np.float64])(x / -math.sqrt(2)) / 2


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return clamp(x + 3, (0, 6)) / 6


def _times(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """x * factor, where the factor falls to zero faster than x rises."""
    return np.where(factor == 0, np.copysign(0, x), x * factor)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def quiet(function: Callable) -> Callable:
    return np.errstate(all="ignore")(function)


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hard_sigmoid": quiet(_hard_sigmoid),
    "hard_swish": quiet(lambda x: _times(x, _hard_sigmoid(x))),
    "sigmoid": quiet(_sigmoid),
    "silu": quiet(lambda x: _times(x, _sigmoid(x))),
    "tanh": np.tanh,
    "gelu": quiet(lambda x: _times(x, _normal(x))),
}
STEEPEST = {"hard_sigmoid": 1 / 6, "hard_swish": 1.5, "sigmoid": 0.25, "silu": 1.1, "tanh": 1.0, "gelu": 1.13}
IS_FUSED = machine.host().is_fused
BUDGET = {  # units in the last place, and an absolute error beside them: as functional.py states
    "hard_sigmoid": (2, 0.0),
    "hard_swish": (3, 0.0),
    "sigmoid": (4, 0.0),
    "silu": (4, 2.0**-118),
    "tanh": (4, 0.0),
    "gelu": (4, 2.0**-25),
}


def activation_error(name: str, value: np.ndarray) -> np.ndarray:
    """How far from its exact value an activation of a float32 number may lie."""
    n_ulps, absolute = BUDGET[name]
    n_ulps += not IS_FUSED
    exponent = np.frexp(value)[1].astype(np.float64) - 24
    return n_ulps * np.exp2(np.maximum(exponent, -149)) + absolute


def activated(x: Expected, activation) -> Expected:
    if activation not in FUNCTIONS:
        return Expected(clamp(x.value, activation), x.bound)
    value = FUNCTIONS[activation](x.value)
    bound = STEEPEST[activation] * x.bound
    return Expected(value, bound + activation_error(activation, np.abs(value) + bound))
