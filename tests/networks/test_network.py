"""Networks as functions: results, arguments, memory, threads."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from graphs import conv, depthwise, meaning, pointwise, value

from fastdw.networks import Graph, Network
from fastdw.networks.arranging import Reshape
from fastdw.networks.elementwise import Activate, Add, Multiply, Softmax
from fastdw.networks.graph import INPUT
from fastdw.networks.layers import Dense, GlobalAveragePool2D

SAME = ((1, 1), (1, 1))


def small_graph() -> Graph:
    """Two branches, a residual, a reshape inside and one at the end."""
    graph = Graph("small", (1, 8, 8, 3))
    graph.add(conv("stem", INPUT, 3, 8, stride=(2, 2), padding=SAME, activation="relu6"))
    graph.add(depthwise("depthwise", "stem", 8, padding=SAME, activation="relu"))
    graph.add(pointwise("project", "depthwise", 8, 8))
    graph.add(Add("add", ("stem", "project")))
    graph.add(GlobalAveragePool2D("pool", ("add",), keepdims=True))
    graph.add(Reshape("flat", ("pool",), shape=(1, 8)))
    graph.add(Dense("dense", ("flat",), value(8, 6)))
    graph.add(Softmax("softmax", ("dense",)))
    graph.add(Reshape("table", ("softmax",), shape=(2, 3)))
    return graph


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(small_graph(), threads=1, fuse=False)


def test_layers(network):
    assert [(layer.name, layer.kind, layer.output_shape, layer.multiply_adds) for layer in network.layers] == [
        ("stem", "conv2d", (1, 4, 4, 8), 4 * 4 * 8 * 27),
        ("depthwise", "depthwise_conv2d", (1, 4, 4, 8), 4 * 4 * 8 * 9),
        ("project", "pointwise_conv2d", (1, 4, 4, 8), 4 * 4 * 8 * 8),
        ("pool", "global_average_pool2d", (1, 1, 1, 8), 0),
        ("dense", "dense", (1, 6), 48),
        ("softmax", "softmax", (1, 6), 0),
        ("table", "reshape", (2, 3), 0),
    ]
    assert network.multiply_adds == sum(layer.multiply_adds for layer in network.layers)
    assert network.input_shape == (1, 8, 8, 3)
    assert network.output_shape == (2, 3)


def test_repr(network):
    assert repr(network) == "<Network small: (1, 8, 8, 3) -> (2, 3), 7 layers, 5,680 multiply-adds>"


def test_result(network):
    for seed in range(3):
        x = value(1, 8, 8, 3, seed=seed)
        np.testing.assert_allclose(network(x), meaning(small_graph(), x), rtol=1e-5, atol=1e-6)


def test_results_are_arrays_of_their_own(network):
    first, second = network(value(1, 8, 8, 3, seed=1)), network(value(1, 8, 8, 3, seed=2))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, network(value(1, 8, 8, 3, seed=1)))
    assert first.ctypes.data % 64 == 0


def test_out_is_written_and_given_back(network):
    x, out = value(1, 8, 8, 3), np.full((2, 3), np.nan, np.float32)
    assert network(x, out) is out
    np.testing.assert_array_equal(out, network(x))


def test_an_output_in_the_middle_of_the_graph():
    graph = small_graph()
    graph.add(Softmax("other", ("table",)))
    graph.output = "dense"
    x = value(1, 8, 8, 3)
    np.testing.assert_allclose(Network(graph)(x), meaning(graph, x), rtol=1e-5)


def test_an_output_that_later_layers_read():
    graph = Graph("test", (1, 4, 4, 3))
    graph.add(Softmax("a", (INPUT,)))
    graph.add(Softmax("b", ("a",)))
    graph.add(Add("c", ("a", "b")))
    x = value(1, 4, 4, 3)
    np.testing.assert_allclose(Network(graph)(x), meaning(graph, x), rtol=1e-5)


def test_strided_and_read_only_inputs(network):
    x = value(1, 8, 8, 3)
    wide = np.zeros((1, 16, 9, 3), np.float32)
    wide[:, ::2, 1:] = x
    wide.flags.writeable = False
    np.testing.assert_array_equal(network(wide[:, ::2, 1:]), network(x))


def test_nan_passes(network):
    assert np.isnan(network(np.full((1, 8, 8, 3), np.nan, np.float32))).all()


def test_profile(network):
    times = network.profile(value(1, 8, 8, 3))
    assert [layer for layer, _ in times] == list(network.layers)
    assert all(seconds > 0 for _, seconds in times)


def test_threads_take_turns(network):
    inputs = [value(1, 8, 8, 3, seed=seed) for seed in range(40)]
    alone = [network(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(network, inputs), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_call_allocates_little_beside_its_result():
    graph = Graph("test", (1, 64, 64, 16))
    x = INPUT
    for index in range(6):
        x = graph.add(pointwise(f"layer{index}", x, 16, 16))
    network, image = Network(graph, threads=1), value(1, 64, 64, 16)
    out = network(image)
    assert network.scratch_bytes == 2 * image.nbytes
    tracemalloc.start()
    network(image, out)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 10_000


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 8, 8, 3)), TypeError, "^x: got float64; expected float32"),
        (np.zeros((1, 8, 8, 3), np.uint8), TypeError, "^x: got uint8; expected float32"),
        ([[1.0]], TypeError, "^x: got list; expected a float32 array"),
        (np.zeros((1, 3, 8, 8), np.float32), ValueError, r"^x: got shape \(1, 3, 8, 8\); expected \(1, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.float32), ValueError, r"^x: got shape \(8, 8, 3\); expected \(1, 8, 8, 3\)"),
    ],
)
def test_wrong_inputs(network, x, error, message):
    with pytest.raises(error, match=message):
        network(x)


def test_wrong_outputs(network):
    x = value(1, 8, 8, 3)
    read_only = np.zeros((2, 3), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=r"^out: got a read-only array; expected a writable one"):
        network(x, read_only)
    with pytest.raises(ValueError, match=r"^out: got shape \(3, 2\); expected \(2, 3\)"):
        network(x, np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps x; expected memory of its own"):
        network(x, x.reshape(-1)[3:9].reshape(2, 3))


def test_an_output_between_the_elements_of_the_input(network):
    x = value(1, 8, 8, 3)
    expected, both = network(x), np.zeros((1, 8, 8, 6), np.float32)
    strided, out = both[..., :3], both[0, 0, :2, 3:]
    strided[...] = x
    assert network(strided, out) is out
    assert np.array_equal(out, expected)


def test_a_call_that_failed_leaves_the_network_usable(network):
    with pytest.raises(TypeError):
        network(None)
    network(value(1, 8, 8, 3))


def test_wrong_graphs():
    graph = Graph("test", (1, 8, 8, 3))
    with pytest.raises(ValueError, match=r"^test: got a network without layers; expected at least one"):
        Network(graph)
    graph.add(Softmax("a", (INPUT,)))
    with pytest.raises(ValueError, match=r"^a: got a name already used; expected a new one"):
        graph.add(Softmax("a", (INPUT,)))
    with pytest.raises(ValueError, match=r"^b: got input 'c', which no layer before it gives; expected one of input, a"):
        graph.add(Softmax("b", ("c",)))
    with pytest.raises(ValueError, match=r"^b: input: got shape \(1, 8, 8, 3\); expected 4 channels, "):
        graph.add(pointwise("b", "a", 4, 4))
    with pytest.raises(ValueError, match=r"^b: input: got height and width .*; expected room for a window "):
        graph.add(conv("b", "a", 3, 4, dilation=(5, 1)))
    with pytest.raises(ValueError, match=r"^input: got shape \(1, 0, 8, 3\); expected "):
        Graph("test", (1, 0, 8, 3))


def test_weights_that_fastdw_refuses():
    graph = Graph("test", (1, 8, 8, 3))
    layer = pointwise("a", INPUT, 3, 4)
    layer.weight[1, 2] = np.inf
    graph.add(layer)
    with pytest.raises(ValueError, match=r"^test: a: weight: "):
        Network(graph)


def in_place_graph() -> Graph:
    """Elementwise layers on values that are needed again, on views, and on values that are not."""
    graph = Graph("test", (1, 6, 5, 4))
    graph.add(pointwise("a", INPUT, 4, 4))
    graph.add(Activate("kept", ("a",), activation="relu6"))  # a is read again
    graph.add(Multiply("product", ("a", "kept")))
    graph.add(Reshape("rows", ("product",), shape=(1, 30, 4)))
    graph.add(Activate("curve", ("rows",), activation="hard_swish"))  # product is read again, through its own name
    graph.add(Reshape("image", ("curve",), shape=(1, 6, 5, 4)))
    graph.add(Add("sum", ("image", "product")))
    graph.add(Softmax("scores", ("sum",)))
    graph.add(Activate("last", ("scores",), activation="tanh"))
    return graph


@pytest.mark.parametrize("output", ["last", "scores", "sum", "product", "curve", "a"])
def test_layers_in_place(output):
    graph = in_place_graph()
    graph.output = output
    x = value(1, 6, 5, 4)
    network = Network(graph)
    before = x.copy()
    for _ in range(2):
        np.testing.assert_allclose(network(x), meaning(graph, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_a_layer_in_place_takes_no_memory():
    graph = Graph("test", (1, 16, 16, 8))
    graph.add(depthwise("a", INPUT, 8, padding=SAME))
    graph.add(GlobalAveragePool2D("mean", ("a",), keepdims=True))
    graph.add(Multiply("scaled", ("a", "mean")))
    graph.add(pointwise("b", "scaled", 8, 2))
    assert Network(graph).scratch_bytes == 4 * (16 * 16 * 8 + 16)
