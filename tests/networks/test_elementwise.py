"""Activations and softmax at known points."""

import numpy as np
import pytest
from graphs import run_layer, value

from fastdw.networks.activations import activate
from fastdw.networks.elementwise import Activate, Add, Multiply, Softmax
from fastdw.networks.graph import INPUT


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("relu", 0, np.inf), ("relu6", 0, 6), ((-1.5, 2.0), -1.5, 2), (None, -np.inf, np.inf)]
)
def test_clamp(activation, low, high):
    x = np.array([-np.inf, -7, -1.5, -0.5, 0, 1, 2, 5, 6, 7, np.inf], np.float32)
    np.testing.assert_array_equal(run_layer(Activate("activation", (INPUT,), activation=activation), x), np.clip(x, low, high))


def test_clamp_passes_nan():
    assert np.isnan(run_layer(Activate("activation", (INPUT,), activation="relu6"), np.array([np.nan], np.float32))).all()


def test_sigmoid_of_extreme_values():
    x = np.array([-np.inf, -1e4, -20, 0, 20, 1e4, np.inf], np.float32)
    np.testing.assert_allclose(
        run_layer(Activate("activation", (INPUT,), activation="sigmoid"), x), [0, 0, 2.0611537e-9, 0.5, 1, 1, 1], rtol=1e-6
    )


def test_softmax_of_large_values():
    y = run_layer(Softmax("softmax", (INPUT,)), np.array([[1e4, 1e4, -1e4], [0, np.log(3), -np.inf]], np.float32))
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [0.25, 0.75, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("hard_sigmoid", [0, 0, 1 / 6, 0.5, 2 / 3, 1, 1]),
        ("hard_swish", [0, 0, -1 / 3, 0, 2 / 3, 3, 20]),
        ("silu", [-4.122307e-8, -0.14227762, -0.23840584, 0, 0.7310586, 2.8577224, 20]),
        ("gelu", [0, -0.0040496940, -0.045500264, 0, 0.8413447, 2.9959503, 20]),
        ("tanh", [-1, -0.99505475, -0.9640276, 0, 0.7615942, 0.99505475, 1]),
    ],
)
@pytest.mark.parametrize("in_place", [True, False])
def test_curves(activation, expected, in_place):
    x = np.array([-20, -3, -2, 0, 1, 3, 20], np.float32)
    out = x if in_place else np.full_like(x, np.nan)
    activate(x, activation, out)
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=1e-8)


SHAPES = [
    ((2, 5, 7, 19), (2, 5, 7, 19)),
    ((2, 5, 7, 19), (2, 1, 1, 19)),
    ((2, 5, 7, 24), (1, 1, 1, 24)),
    ((2, 5, 7, 3), (3,)),
    ((2, 1, 1, 70), (2, 5, 6, 70)),
    ((2, 5, 7, 4), (2, 5, 7, 1)),
    ((1, 70), (4, 70)),
    ((4, 70), (1,)),
    ((2, 5, 7, 19), (1, 1, 1, 1)),
    ((9,), (9,)),
    ((1, 37, 41, 24), (1, 37, 41, 24)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES)
@pytest.mark.parametrize("kind", [Add, Multiply])
def test_two_inputs(kind, first, second):
    a, b = value(*first), value(*second, seed=1)
    expected = np.clip(kind.operation(a, b), -0.5, 0.75)
    for threads in (1, 2):
        layer = kind("layer", (INPUT, "other"), activation=(-0.5, 0.75))
        out = np.full(expected.shape, np.nan, np.float32)
        layer.prepare(threads, first, second)(a, b, out=out)
        np.testing.assert_array_equal(out, expected)
        constant = kind("layer", (INPUT,), constant=b, activation=(-0.5, 0.75))
        np.testing.assert_array_equal(run_layer(constant, a), expected)


@pytest.mark.parametrize("kind", [Add, Multiply])
def test_two_inputs_in_place(kind):
    for shape in ((2, 5, 7, 19), (2, 1, 1, 19)):
        a, b = value(2, 5, 7, 19), value(*shape, seed=1)
        expected = np.maximum(kind.operation(a, b), 0)
        kind("layer", (INPUT, "other"), activation="relu").prepare(1, a.shape, shape)(a, b, out=a)
        np.testing.assert_array_equal(a, expected)


def test_strided_inputs_and_out():
    a, b, out = value(2, 12, 7, 19)[:, ::2], value(2, 7, 6, 19, seed=1).swapaxes(1, 2), value(2, 6, 7, 40)[..., 3:22]
    Add("layer", (INPUT, "other")).prepare(1, a.shape, b.shape)(a, b, out=out)
    np.testing.assert_array_equal(out, a + b)


@pytest.mark.parametrize("shape", [(1, 1000), (3, 12), (2, 3, 5), (1,)])
@pytest.mark.parametrize("beta", [1.0, 0.25, -1.0])
def test_softmax(shape, beta):
    x = 10 * value(*shape)
    powers = np.exp(beta * x.astype(np.float64) - (beta * x).max(axis=-1, keepdims=True))
    np.testing.assert_allclose(
        run_layer(Softmax("softmax", (INPUT,), beta=beta), x), powers / powers.sum(axis=-1, keepdims=True), rtol=1e-5, atol=1e-30
    )


def test_softmax_passes_nan():
    y = run_layer(Softmax("softmax", (INPUT,)), np.float32([[1, np.nan, 2], [np.nan, 0, 0], [1, np.inf, 0], [1, 1, 1]]))
    assert np.isnan(y[:2]).all()
    assert np.isnan(y[2, 1])
    assert np.isfinite(y[3]).all()
