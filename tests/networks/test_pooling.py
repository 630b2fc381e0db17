"""Pools against loops over single outputs."""

import numpy as np
import pytest
from graphs import run_layer

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.pooling import AveragePool2D, MaxPool2D


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
    y = run_layer(kind("pool", (INPUT,), window=window, stride=stride, padding=padding), x)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            expected = reduce(window_of(x, i, j, window, stride, padding).astype(np.float64), axis=(1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-5, atol=1e-6)


def test_average_that_counts_the_padding():
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 3)).astype(np.float32)
    layer = AveragePool2D("pool", (INPUT,), window=(3, 3), stride=(2, 1), padding=((1, 1), (1, 2)), count_padding=True)
    y = run_layer(layer, x)
    padded = np.pad(x, ((0, 0), *layer.padding, (0, 0)))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            np.testing.assert_allclose(y[:, i, j], padded[:, 2 * i : 2 * i + 3, j : j + 3].mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_pool_padded_by_a_whole_window():
    graph = Graph("test", (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"^pool: padding: got .*; expected less than the window "):
        graph.add(MaxPool2D("pool", (INPUT,), window=(2, 2), stride=(1, 1), padding=((2, 0), (0, 0))))
