"""The architectures: as large as their papers say, and values that stay sane."""

import numpy as np
import pytest

from fastdw.networks import ARCHITECTURES, Network, mobilenet_v1


@pytest.mark.parametrize(
    ("name", "multiply_adds", "n_parameters", "n_convolutions"),
    [("mobilenet_v1", 568_740_352, 4_221_032, 27), ("mobilenet_v2", 300_774_272, 3_487_816, 52)],
)
def test_size(name, multiply_adds, n_parameters, n_convolutions):
    graph = ARCHITECTURES[name]()
    parameters = [getattr(layer, part) for layer in graph.layers for part in ("weight", "bias") if hasattr(layer, part)]
    assert sum(layer.multiply_adds(*graph.input_shapes(layer)) for layer in graph.layers) == multiply_adds
    assert sum(array.size for array in parameters) == n_parameters
    assert sum("conv" in layer.kind for layer in graph.layers) == n_convolutions
    assert graph.input_shape == (1, 224, 224, 3)
    assert graph.output_shape == (1, 1000)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_values_stay_sane(name):
    network = Network(ARCHITECTURES[name](size=96, classes=10))
    x = np.random.default_rng(0).random(network.input_shape, np.float32)
    y = network(x)
    assert y.sum() == pytest.approx(1, abs=1e-5)
    assert 0 < y.min() < 0.2
    assert y.max() < 0.9
    assert not np.array_equal(y, network(1 - x))


def test_every_addition_of_mobilenet_v2_is_folded():
    network = Network(ARCHITECTURES["mobilenet_v2"](size=32))
    assert "add" not in [layer.kind for layer in network.layers]
    assert sum(len(layer.inputs) == 2 for layer in network.layers) == 10


def test_the_seed_decides():
    first, again, other = (mobilenet_v1(size=32, seed=seed).layers[0].weight for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
