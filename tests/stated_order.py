"""The order of operations that fastdw promises, evaluated in float32, bit for bit.

y = act((sum + bias) + residual): the sum starts at +0 and takes taps row-major, then input channels ascending, one fused
multiply-add each. Every function takes the arguments of the fastdw call of its name.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import oracle

from fastdw.problem import Activation
from fastdw.tile import TileShape, activate, operations
from fastdw.tile.activations import FUNCTIONS


def fused_multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 with one rounding.

    The product is exact in float64. The sum is rounded to odd there (Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008), so that rounding it again to float32 is right.
    """
    with np.errstate(all="ignore"):
        product = np.multiply(a, b, dtype=np.float64)
        total = np.asarray(product + c)
        added = total - product
        error = (product - (total - added)) + (c - added)
        bits = total.view(np.int64)
        away_from_zero = (error > 0) == (total > 0)
        inexact_and_even = (error != 0) & np.isfinite(error) & (bits & 1 == 0)
        odd = np.where(inexact_and_even, np.where(away_from_zero, bits + 1, bits - 1), bits)
        return odd.view(np.float64).astype(np.float32)


def multiply_then_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 with two roundings, as on a CPU that has no fused multiply-add."""
    with np.errstate(all="ignore"):
        return np.multiply(a, b, dtype=np.float32) + c


multiply_add = fused_multiply_add if oracle.IS_FUSED else multiply_then_add


def depthwise_conv2d(x, weight, bias=None, *, stride=1, padding="valid", dilation=1, activation=None, residual=None):
    weight = weight.reshape(*weight.shape[:3], -1)
    multiplier = weight.shape[3]
    total = np.float32(0)
    for p, q, window in oracle.windows(x, weight.shape[:2], stride, padding, dilation):
        total = multiply_add(np.repeat(window, multiplier, axis=-1), weight[p, q].reshape(-1), total)
    return _finish(total, bias, residual, activation)


def conv2d(x, weight, bias=None, *, stride=1, padding="valid", dilation=1, activation=None, residual=None):
    total = np.float32(0)
    for p, q, window in oracle.windows(x, weight.shape[:2], stride, padding, dilation):
        for channel in range(weight.shape[2]):
            total = multiply_add(window[..., channel : channel + 1], weight[p, q, channel], total)
    return _finish(total, bias, residual, activation)


def pointwise_conv2d(x, weight, bias=None, *, activation=None, residual=None):
    weight = weight.reshape(1, 1, *weight.shape[-2:])
    return conv2d(x, weight, bias, activation=activation, residual=residual)


def dense(x, weight, bias=None, *, activation=None):
    return pointwise_conv2d(x[:, None, None], weight, bias, activation=activation)[:, 0, 0]


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
):
    middle = depthwise_conv2d(x, depthwise_weight, depthwise_bias, activation=depthwise_activation, **window)
    return pointwise_conv2d(middle, pointwise_weight, pointwise_bias, activation=activation, residual=residual)


def inverted_residual(
    x, expand_weight, depthwise_weight, project_weight, expand_bias=None, depthwise_bias=None, project_bias=None, *, padding="same",
    expand_activation="relu6", depthwise_activation="relu6", activation=None, squeeze_excite=None, residual=False, **window
):  # fmt: skip
    y = x if expand_weight is None else pointwise_conv2d(x, expand_weight, expand_bias, activation=expand_activation)
    y = depthwise_conv2d(y, depthwise_weight, depthwise_bias, padding=padding, activation=depthwise_activation, **window)
    if squeeze_excite is not None:
        y = gated(y, squeeze_excite)
    return pointwise_conv2d(y, project_weight, project_bias, activation=activation, residual=x if residual else None)


def gated(y, gate):
    """The mean, two dense layers, one rounded product."""
    squeezed = dense(global_average_pool2d(y), gate.squeeze_weight, gate.squeeze_bias, activation=gate.squeeze_activation)
    return y * dense(squeezed, gate.excite_weight, gate.excite_bias, activation=gate.excite_activation)[:, None, None]


def global_average_pool2d(x, *, keepdims=False):
    """Pixels row-major, one rounded addition each, then one rounded division."""
    total = np.zeros((x.shape[0], 1, 1, x.shape[3]), np.float32)
    with np.errstate(all="ignore"):
        for i, j in np.ndindex(*x.shape[1:3]):
            total = total + x[:, i : i + 1, j : j + 1]
        mean = total / np.float32(x.shape[1] * x.shape[2])
    return mean if keepdims else mean[:, 0, 0]


def _finish(total, bias, residual, activation):
    """A missing bias, and a bias of -0, count as +0; the clamp compares, so NaN passes; other activations are their formula."""
    with np.errstate(all="ignore"):
        total = total + (np.float32(0) if bias is None else bias + np.float32(0))
        if residual is not None:
            total = total + residual
        if activation in FUNCTIONS:
            with mock.patch.object(operations, "fused_multiply_add", multiply_add):
                return activate(TileShape(1, 1, 1, 1, activation=activation), total, 0, 0)
        return oracle.clamp(total, activation)


def argument(activation: Activation) -> str | tuple[float, float]:
    """As the public calls take it."""
    return activation.name if activation.name in FUNCTIONS else (activation.low, activation.high)


def bits(array: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers, with every NaN the same."""
    return np.where(np.isnan(array), np.float32(np.nan), array).view(np.int32)


def check_bits(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Bit for bit equal; all NaNs count as equal."""
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape == expected.shape, f"{what}: got shape {actual.shape}, expected {expected.shape}"
    wrong = bits(actual) != bits(expected)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        got, wanted = actual[first], expected[first]
        raise AssertionError(f"{what}: {wrong.sum()} of {wrong.size} differ, first at {first}: got {got!r}, expected {wanted!r}")
