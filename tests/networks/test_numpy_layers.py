"""The NumPy layers against loops over single outputs."""

import numpy as np
import pytest

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.numpy_layers import AveragePool2D, Clamp, Logistic, MaxPool2D, Pad, Reshape, Softmax


def run(layer, x: np.ndarray) -> np.ndarray:
    out = np.full(layer.output_shape(x.shape), np.nan, np.float32)
    layer.prepare(1, x.shape)(x, out=out)
    return out


def window_of(x: np.ndarray, i: int, j: int, window, stride, padding) -> np.ndarray:
    top, left = i * stride[0] - padding[0][0], j * stride[1] - padding[1][0]
    return x[:, max(top, 0) : max(top + window[0], 0), max(left, 0) : max(left + window[1], 0)]


@pytest.mark.parametrize(("kind", "reduce"), [(MaxPool2D, np.max), (AveragePool2D, np.mean)])
@pytest.mark.parametrize("seed", range(40))
def test_pools(kind, reduce, seed):
    rng = np.random.default_rng(seed)
    window, stride = tuple(rng.integers(1, 5, 2).tolist()), tuple(rng.integers(1, 5, 2).tolist())
    padding = tuple((int(rng.integers(size)), int(rng.integers(size))) for size in window)
    x = rng.standard_normal((2, *rng.integers(4, 9, 2), 3)).astype(np.float32)
    y = run(kind("pool", (INPUT,), window=window, stride=stride, padding=padding), x)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            expected = reduce(window_of(x, i, j, window, stride, padding).astype(np.float64), axis=(1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("relu", 0, np.inf), ("relu6", 0, 6), ((-1.5, 2.0), -1.5, 2), (None, -np.inf, np.inf)]
)
def test_clamp(activation, low, high):
    x = np.array([-np.inf, -7, -1.5, -0.5, 0, 1, 2, 5, 6, 7, np.inf], np.float32)
    np.testing.assert_array_equal(run(Clamp("clamp", (INPUT,), activation=activation), x), np.clip(x, low, high))


def test_clamp_passes_nan():
    assert np.isnan(run(Clamp("clamp", (INPUT,), activation="relu6"), np.array([np.nan], np.float32))).all()


def test_logistic_of_extreme_values():
    x = np.array([-np.inf, -1e4, -20, 0, 20, 1e4, np.inf], np.float32)
    np.testing.assert_allclose(run(Logistic("logistic", (INPUT,)), x), [0, 0, 2.0611537e-9, 0.5, 1, 1, 1], rtol=1e-6)


def test_softmax_of_large_values():
    y = run(Softmax("softmax", (INPUT,)), np.array([[1e4, 1e4, -1e4], [0, np.log(3), -np.inf]], np.float32))
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [0.25, 0.75, 0]], rtol=1e-6)


def test_pad():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    padding = ((0, 1), (2, 0), (1, 3))
    np.testing.assert_array_equal(run(Pad("pad", (INPUT,), padding=padding), x), np.pad(x, padding))


@pytest.mark.parametrize(("shape", "expected"), [((-1,), (24,)), ((4, -1), (4, 6)), ((24, 1), (24, 1))])
def test_reshape(shape, expected):
    assert Reshape("reshape", (INPUT,), shape=shape).output_shape((2, 3, 4)) == expected


@pytest.mark.parametrize("shape", [(-1, -1), (5, -1), (25,), (0, 24), (0, -1), (-2, -12)])
def test_reshape_that_does_not_fit(shape):
    graph = Graph("test", (2, 3, 4))
    with pytest.raises(ValueError, match=r"^reshape: shape: got .*; expected the 24 elements of "):
        graph.add(Reshape("reshape", (INPUT,), shape=shape))


def test_pool_padded_by_a_whole_window():
    graph = Graph("test", (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"^pool: padding: got .*; expected less than the window "):
        graph.add(MaxPool2D("pool", (INPUT,), window=(2, 2), stride=(1, 1), padding=((2, 0), (0, 0))))
