"""Inputs, weights and the float64 answer of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.layers import Layer

ALIGNMENT_BYTES = 64
TOLERANCE = 1e-4


def aligned_empty(shape: tuple[int, ...] | int, offset_bytes: int = 0) -> np.ndarray:
    """A float32 array whose first element lies `offset_bytes` behind a 64-byte boundary."""
    n_bytes = int(np.prod(shape)) * np.dtype(np.float32).itemsize
    memory = np.empty(n_bytes + ALIGNMENT_BYTES + offset_bytes, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES + offset_bytes
    return memory[start : start + n_bytes].view(np.float32).reshape(shape)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned_empty(array.shape)
    copy[...] = array
    return copy


@dataclass(frozen=True)
class Case:
    """A layer with its input, and the weights of as many copies of it as are timed in a row."""

    layer: Layer
    x: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def make_case(layer: Layer, copies: int = 1, seed: int = 0) -> Case:
    """Every copy has weights of its own: no system can merge two of them."""
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...] | int, scale: float) -> np.ndarray:
        return aligned_copy(rng.standard_normal(shape, np.float32) * np.float32(scale))

    return Case(
        layer,
        normal(layer.in_shape, 1.0),
        [normal(layer.weight_shape, 2.0 / layer.taps**0.5) for _ in range(copies)],
        [normal(layer.out_channels, 1.0) for _ in range(copies)],
    )


def reference(layer: Layer, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The layer in float64, by definition: a sum over taps of shifted images."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    if layer.kind in ("pointwise", "dense"):
        weight = weight.reshape(1, 1, *weight.shape)
    padded = np.pad(x, ((0, 0), *layer.padding, (0, 0)))
    y = np.zeros(layer.out_shape)
    for p in range(layer.kernel):
        for q in range(layer.kernel):
            row, col = p * layer.dilation, q * layer.dilation
            rows, cols = (slice(at, at + layer.stride * n, layer.stride) for at, n in ((row, layer.out_height), (col, layer.out_width)))
            tap = padded[:, rows, cols]
            y += (tap[..., np.newaxis] * weight[p, q]).reshape(y.shape) if layer.kind == "depthwise" else tap @ weight[p, q]
    y += bias
    return np.clip(y, 0, 6) if layer.activation == "relu6" else y


def references(case: Case) -> list[np.ndarray]:
    """The answer of each copy, kept as float32."""
    return [reference(case.layer, case.x, w, b).astype(np.float32) for w, b in zip(case.weights, case.biases, strict=True)]


def largest_error(y: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference from the answer, relative to the largest value in it; infinite where a shape or a value is wrong."""
    if y.shape != expected.shape or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(y - expected).max() / np.abs(expected).max())
