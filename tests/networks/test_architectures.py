"""The architectures: as large as their papers say, and values that stay sane."""

import numpy as np
import pytest

from fastdw.networks import ARCHITECTURES, Graph, Network, mobilenet_v1, read_tflite
from fastdw.networks.layers import Convolution

# (multiply-adds; parameters as published, where batch normalisation has two for a channel)
PUBLISHED = {
    "mobilenet_v1": (568_740_352, 4_231_976),
    "mobilenet_v2": (300_774_272, 3_504_872),
    "mobilenet_v3_large": (216_589_760, 5_483_032),
    "mobilenet_v3_small": (56_510_400, 2_542_856),
    "efficientnet_b0": (385_814_752, 5_288_548),
    "efficientnet_lite0": (385_187_552, 4_652_008),
    "mnasnet": (314_415_872, 4_383_312),
    "deeplab_v3": (2_740_709_056, 2_113_557),
}


def size(graph: Graph) -> tuple[int, int]:
    """Multiply-adds, and parameters with batch normalisation unfolded."""
    parameters = sum(getattr(layer, part).size for layer in graph.layers for part in ("weight", "bias") if hasattr(layer, part))
    normalised = [layer for layer in graph.layers if isinstance(layer, Convolution) and not has_bias_of_its_own(layer.name)]
    multiply_adds = sum(layer.multiply_adds(*graph.input_shapes(layer)) for layer in graph.layers)
    return multiply_adds, parameters + sum(layer.bias.size for layer in normalised)


def has_bias_of_its_own(name: str) -> bool:
    return "squeeze_excite" in name or name == "logits"


@pytest.mark.parametrize("name", PUBLISHED)
def test_size(name):
    graph = ARCHITECTURES[name]()
    assert size(graph) == PUBLISHED[name]
    image = (513, 513) if name == "deeplab_v3" else (224, 224)
    assert graph.input_shape == (1, *image, 3)
    assert graph.output_shape == ((1, *image, 21) if name == "deeplab_v3" else (1, 1000))


@pytest.mark.parametrize(("name", "file"), [("ds_cnn", "kws_ref_model_float32.tflite"), ("vww", "vww_96_float.tflite")])
def test_the_small_ones_are_those_of_the_benchmark(name, file, model_file):
    def convolutions(graph: Graph) -> list:
        return [(layer.kind, graph.shapes[layer.name], layer.weight.shape) for layer in graph.layers if hasattr(layer, "weight")]

    assert convolutions(ARCHITECTURES[name]()) == convolutions(read_tflite(model_file(file)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_values_stay_sane(name):
    network = Network(ARCHITECTURES[name](size=128, classes=10))
    x = np.random.default_rng(0).random(network.input_shape, np.float32)
    y = network(x)
    assert np.isfinite(y).all()
    assert not np.array_equal(y, network(1 - x))
    if name == "deeplab_v3":
        assert 0.1 < y.std() < 100
    else:
        assert y.sum() == pytest.approx(1, abs=1e-5)
        assert 0 < y.min() < 0.2
        assert y.max() < 0.99


def test_every_addition_of_mobilenet_v2_is_folded():
    network = Network(ARCHITECTURES["mobilenet_v2"](size=32))
    assert "add" not in [layer.kind for layer in network.layers]
    assert sum(len(layer.inputs) == 2 for layer in network.layers) == 10


def test_the_seed_decides():
    first, again, other = (mobilenet_v1(size=32, seed=seed).layers[0].weight for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
