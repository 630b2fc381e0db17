"""What is folded into what, and that the result stays the same."""

import numpy as np
import pytest
from graphs import conv, depthwise, meaning, pointwise, value

from fastdw.networks import Network
from fastdw.networks.arranging import Pad
from fastdw.networks.elementwise import Activate, Add, Multiply
from fastdw.networks.folding import fold
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.layers import DepthwiseConv2D
from fastdw.networks.pooling import MaxPool2D

SAME = ((1, 1), (1, 1))


def check(graph: Graph, kinds: list[str]) -> Graph:
    """Folds, compares the kinds of layer that are left, and the results."""
    folded = fold(graph)
    assert [layer.kind for layer in folded.layers] == kinds
    x = value(*graph.input_shape, seed=7)
    np.testing.assert_allclose(Network(graph)(x), meaning(graph, x), rtol=1e-5, atol=1e-4)
    return folded


def start(*layers, shape=(1, 6, 5, 4)) -> Graph:
    graph = Graph("test", shape)
    for layer in layers:
        graph.add(layer)
    return graph


@pytest.mark.parametrize("operands", [("a", "b"), ("b", "a")])
def test_an_addition_becomes_the_residual_of_the_later_convolution(operands):
    graph = start(pointwise("a", INPUT, 4, 4), conv("b", "a", 4, 4, padding=SAME), Add("sum", operands))
    folded = check(graph, ["pointwise_conv2d", "conv2d"])
    assert folded.layers[1].inputs == ("a", "a")
    assert folded.output == "b"


def test_of_two_convolutions_the_later_takes_the_addition():
    graph = start(pointwise("a", INPUT, 4, 4), pointwise("b", INPUT, 4, 4), Add("sum", ("b", "a"), activation="relu"))
    folded = check(graph, ["pointwise_conv2d", "pointwise_conv2d"])
    assert folded.layers[1].inputs == (INPUT, "a")
    assert folded.layers[1].activation == "relu"


def test_a_convolution_moves_behind_what_is_added_to_it():
    graph = start(
        pointwise("a", INPUT, 4, 4), Activate("b", (INPUT,)), MaxPool2D("c", ("b",), window=(1, 1), stride=(1, 1)), Add("sum", ("a", "c"))
    )
    folded = check(graph, ["activation", "max_pool2d", "pointwise_conv2d"])
    assert folded.layers[-1].inputs == (INPUT, "c")


def test_a_chain_of_residual_blocks():
    graph = start(
        pointwise("a", INPUT, 4, 4), pointwise("b", "a", 4, 4), Add("s", ("a", "b")), pointwise("c", "s", 4, 4), Add("t", ("s", "c"))
    )
    folded = check(graph, ["pointwise_conv2d"] * 3)
    assert [layer.inputs for layer in folded.layers] == [(INPUT,), ("a", "a"), ("b", "b")]


def test_a_convolution_with_an_activation_keeps_its_addition():
    check(start(pointwise("a", INPUT, 4, 4, activation="relu"), Add("sum", ("a", INPUT))), ["pointwise_conv2d", "add"])


def test_a_convolution_read_twice_keeps_its_addition():
    check(start(pointwise("a", INPUT, 4, 4), Add("s", ("a", INPUT)), Add("t", ("a", "s"))), ["pointwise_conv2d", "add", "add"])


def test_a_convolution_added_to_itself():
    check(start(pointwise("a", INPUT, 4, 4), Add("s", ("a", "a"))), ["pointwise_conv2d", "add"])


def test_a_convolution_that_is_the_output_too():
    graph = start(pointwise("a", INPUT, 4, 4), Add("s", ("a", INPUT)))
    graph.output = "a"
    check(graph, ["pointwise_conv2d"])


def test_an_addition_that_broadcasts_stays():
    graph = start(pointwise("a", INPUT, 4, 4), MaxPool2D("b", (INPUT,), window=(6, 5), stride=(1, 1)), Add("s", ("a", "b")))
    check(graph, ["pointwise_conv2d", "max_pool2d", "add"])


def test_one_residual_only():
    graph = start(pointwise("a", INPUT, 4, 4), Add("s", ("a", INPUT)), Add("t", ("s", INPUT)))
    check(graph, ["pointwise_conv2d", "add"])


@pytest.mark.parametrize("activation", ["relu", "relu6", (-1.0, 2.0)])
def test_an_activation_joins_its_producer(activation):
    graph = start(pointwise("a", INPUT, 4, 4), Add("s", ("a", INPUT)), Activate("r", ("s",), activation=activation))
    folded = check(graph, ["pointwise_conv2d"])
    assert folded.layers[0].activation == activation


def test_a_second_activation_stays():
    check(
        start(pointwise("a", INPUT, 4, 4, activation="relu"), Activate("r", ("a",), activation="relu6")), ["pointwise_conv2d", "activation"]
    )


def test_an_activation_between_convolution_and_addition():
    check(start(pointwise("a", INPUT, 4, 4), Activate("r", ("a",)), Add("s", ("r", INPUT))), ["pointwise_conv2d", "add"])


@pytest.mark.parametrize("make", [depthwise, lambda name, x, channels, **keywords: conv(name, x, channels, 5, **keywords)])
def test_pads_become_padding(make):
    first = Pad("p", (INPUT,), padding=((0, 0), (1, 0), (2, 3), (0, 0)))
    second = Pad("q", ("p",), padding=((0, 0), (0, 1), (0, 0), (0, 0)))
    graph = start(first, second, make("a", "q", 4, stride=(2, 1), padding=((0, 1), (1, 0))))
    folded = check(graph, [graph.layers[2].kind])
    assert folded.layers[0].padding == ((1, 2), (3, 3))


def test_a_pad_read_twice_stays():
    pad = Pad("p", (INPUT,), padding=((0, 0), (1, 1), (1, 1), (0, 0)))
    check(start(pad, depthwise("a", "p", 4), depthwise("b", "p", 4), Add("s", ("a", "b"))), ["pad", "depthwise_conv2d", "depthwise_conv2d"])


def test_a_pad_of_channels_stays():
    check(start(Pad("p", (INPUT,), padding=((0, 0), (1, 1), (1, 1), (0, 1))), depthwise("a", "p", 5)), ["pad", "depthwise_conv2d"])


def test_a_pad_of_the_residual_stays():
    graph = start(
        conv("a", INPUT, 4, 4, padding=((2, 2), (2, 2))),
        Pad("p", (INPUT,), padding=((0, 0), (1, 1), (1, 1), (0, 0))),
        Add("s", ("a", "p")),
    )
    check(graph, ["pad", "conv2d"])


def test_layers_that_nothing_needs_are_left_out():
    graph = start(pointwise("a", INPUT, 4, 4), pointwise("b", "a", 4, 3), pointwise("c", "a", 4, 2))
    graph.output = "b"
    check(graph, ["pointwise_conv2d", "pointwise_conv2d"])


def batch_normalised(make) -> Graph:
    """A convolution, a factor and a summand of each channel, relu6."""
    graph = start(make("a", INPUT, 4))
    channels = graph.output_shape[-1]
    graph.add(Multiply("m", ("a",), constant=value(channels, seed=2)))
    graph.add(Add("s", ("m",), constant=value(1, 1, 1, channels, seed=3)))
    graph.add(Activate("r", ("s",), activation="relu6"))
    return graph


@pytest.mark.parametrize(
    "make",
    [
        lambda *where: depthwise(*where, padding=SAME),
        lambda name, x, channels: DepthwiseConv2D(name, (x,), value(3, 3, channels, 2)),
        lambda *where: conv(*where, 5, padding=SAME),
        lambda *where: pointwise(*where, 5),
    ],
)
def test_batch_normalisation_joins_the_convolution(make):
    graph = batch_normalised(make)
    folded = check(graph, [graph.layers[0].kind])
    assert folded.layers[0].activation == "relu6"


@pytest.mark.parametrize("constant", [value(1), value(6, 5, 4), value(5, 1), np.full(4, 3e38, np.float32)])
def test_other_factors_stay(constant):
    graph = start(pointwise("a", INPUT, 4, 4), Multiply("m", ("a",), constant=constant))
    assert [layer.kind for layer in fold(graph).layers] == ["pointwise_conv2d", "multiply"]


def test_a_factor_after_an_activation_or_a_residual_stays():
    factor = value(4, seed=2)
    check(start(pointwise("a", INPUT, 4, 4, activation="relu"), Multiply("m", ("a",), constant=factor)), ["pointwise_conv2d", "multiply"])
    graph = start(pointwise("a", INPUT, 4, 4), Add("s", ("a", INPUT)), Multiply("m", ("s",), constant=factor))
    check(graph, ["pointwise_conv2d", "multiply"])


@pytest.mark.parametrize("after", [pointwise("a", INPUT, 4, 4), MaxPool2D("a", (INPUT,), window=(2, 2), stride=(2, 2))])
def test_hard_swish_written_out(after):
    graph = start(
        after,
        Add("three", ("a",), constant=np.float32([3]), activation="relu6"),
        Multiply("sixth", ("three",), constant=np.array(1 / 6, np.float32)),
        Multiply("m", ("sixth", "a")),
    )
    folded = check(graph, [after.kind])
    assert folded.layers[0].activation == "hard_swish"


def test_silu_written_out():
    graph = start(pointwise("a", INPUT, 4, 4), Activate("s", ("a",), activation="sigmoid"), Multiply("m", ("a", "s")))
    folded = check(graph, ["pointwise_conv2d"])
    assert folded.layers[0].activation == "silu"


def test_a_gate_of_another_value_stays():
    graph = start(pointwise("a", INPUT, 4, 4), Activate("s", ("a",), activation="sigmoid"), Multiply("m", (INPUT, "s")))
    check(graph, ["pointwise_conv2d", "multiply"])
