"""What each call means: naive float64 NumPy, straight from the formula, with the error that float32 may make.

Every function takes the arguments of the fastdw call of its name and returns an Expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

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
    stride=1,
    padding="valid",
    dilation=1,
    depthwise_activation=None,
    activation=None,
    residual=None,
) -> Expected:
    middle = depthwise_conv2d(
        x, depthwise_weight, depthwise_bias, stride=stride, padding=padding, dilation=dilation, activation=depthwise_activation
    )
    return pointwise_conv2d(middle, pointwise_weight, pointwise_bias, activation=activation, residual=residual)


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
    return Expected(clamp(value, activation), bound)


def clamp_bounds(activation) -> tuple[np.float32, np.float32]:
    low, high = {None: (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}.get(activation, activation)
    return np.float32(low), np.float32(high)


def clamp(value: np.ndarray, activation) -> np.ndarray:
    low, high = clamp_bounds(activation)
    value = np.where(value < low, low, value)
    return np.where(value > high, high, value)
