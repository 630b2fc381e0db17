"""What the activations mean: y = act(x), element by element, in NumPy float32. NaN passes."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, inf

import numpy as np

Activation = str | tuple[float, float] | None

BOUNDS: dict[str, tuple[float, float]] = {"relu": (0.0, inf), "relu6": (0.0, 6.0)}


def clamp(x: np.ndarray, low: float, high: float, out: np.ndarray) -> None:
    if low > -inf:
        x = np.maximum(x, np.float32(low), out=out)
    if high < inf:
        x = np.minimum(x, np.float32(high), out=out)
    if x is not out:
        np.copyto(out, x)


def hard_sigmoid(x: np.ndarray, out: np.ndarray) -> None:
    """relu6(x + 3) / 6"""
    np.add(x, np.float32(3), out=out)
    clamp(out, 0.0, 6.0, out)
    out *= np.float32(1 / 6)


def hard_swish(x: np.ndarray, out: np.ndarray) -> None:
    """x * relu6(x + 3) / 6"""
    gate = np.empty_like(x)
    hard_sigmoid(x, gate)
    np.multiply(x, gate, out=out)


def sigmoid(x: np.ndarray, out: np.ndarray) -> None:
    """1 / (1 + exp(-x))"""
    np.negative(x, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)


def silu(x: np.ndarray, out: np.ndarray) -> None:
    """x / (1 + exp(-x))"""
    gate = np.empty_like(x)
    sigmoid(x, gate)
    with np.errstate(invalid="ignore"):
        np.multiply(x, gate, out=out)


def gelu(x: np.ndarray, out: np.ndarray) -> None:
    """x * (1 + erf(x / sqrt(2))) / 2"""
    halves = np.frompyfunc(lambda value: (1 + erf(value * 0.5**0.5)) / 2, 1, 1)(x.astype(np.float64)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        np.multiply(x, halves.astype(np.float32), out=out)


def tanh(x: np.ndarray, out: np.ndarray) -> None:
    np.tanh(x, out=out)


FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "sigmoid": sigmoid,
    "silu": silu,
    "gelu": gelu,
    "tanh": tanh,
}


def activate(x: np.ndarray, activation: Activation, out: np.ndarray) -> None:
    """out = act(x); both may be the same array."""
    if activation in FUNCTIONS:
        FUNCTIONS[activation](x, out)
    else:
        low, high = BOUNDS[activation] if isinstance(activation, str) else activation or (-inf, inf)
        clamp(x, low, high, out)
