"""Activations and softmax at known points."""

import numpy as np
import pytest
from graphs import run_layer

from fastdw.networks.elementwise import Activate, Softmax
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
    Activate("activation", (INPUT,), activation=activation).run(x, out=out)
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=1e-8)
