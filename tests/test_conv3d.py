"""Volumes: depthwise_conv3d against float64."""

import numpy as np
import pytest

import fastdw
from fastdw import conv3d

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 9, 8, 16), np.float32)
W = RNG.standard_normal((3, 3, 3, 16), np.float32)


def oracle(x, weight, bias, stride, sides, dilation) -> np.ndarray:
    weight = weight.reshape(*weight.shape[:4], -1).astype(np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), *sides, (0, 0)))
    extents = [(padded.shape[1 + a] - (weight.shape[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in range(3)]
    y = np.zeros((len(x), *extents, *weight.shape[3:]))
    for taps in np.ndindex(weight.shape[:3]):
        places = (slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(taps, dilation, extents, stride, strict=True))
        y += padded[(slice(None), *places)][..., np.newaxis] * weight[taps]
    return y.reshape(*y.shape[:4], -1) + bias


@pytest.mark.parametrize(
    ("taps", "stride", "sides", "dilation", "multiplier"),
    [
        ((3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1)), (1, 1, 1), 1),
        ((3, 3, 3), (2, 2, 2), ((0, 1), (1, 0), (2, 3)), (1, 1, 1), 1),
        ((5, 3, 3), (1, 1, 1), ((6, 7), (0, 0), (0, 0)), (1, 1, 1), 1),
        ((2, 3, 3), (1, 1, 1), ((2, 2), (1, 1), (1, 1)), (3, 2, 1), 1),
        ((1, 3, 3), (3, 1, 1), ((0, 0), (0, 0), (0, 0)), (1, 1, 1), 2),
    ],
)
def test_against_float64(taps, stride, sides, dilation, multiplier):
    weight = RNG.standard_normal((*taps, 16, multiplier), np.float32)
    bias = RNG.standard_normal(16 * multiplier, np.float32)
    found = fastdw.depthwise_conv3d(X, weight, bias, stride=stride, padding=sides, dilation=dilation, activation="relu")
    expected = np.maximum(oracle(X, weight, bias, stride, sides, dilation), 0)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-6 * np.prod(taps) * np.abs(expected).max()


def test_named_padding():
    y = fastdw.depthwise_conv3d(X, W, padding="same", stride=2)
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X, W, padding=((0, 1), (1, 1), (0, 1)), stride=2), y)
    y = fastdw.depthwise_conv3d(X, W, padding="same_lower", stride=2)
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X, W, padding=((1, 0), (1, 1), (1, 0)), stride=2), y)
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X, W, padding=1), fastdw.depthwise_conv3d(X, W, padding="same"))


def test_one_plane_is_the_2d_call():
    y = fastdw.depthwise_conv3d(X, W[:1], padding=(0, 1, 1))
    np.testing.assert_array_equal(y[:, 2], fastdw.depthwise_conv2d(X[:, 2], W[0], padding=1))


def test_threads_batch_and_layout_leave_the_bits():
    y = fastdw.depthwise_conv3d(X, W, padding=1)
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X, W, padding=1, threads=1), y)
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X[1:], W[..., None], padding=1), y[1:])
    x, out = np.zeros((2, 12, 9, 8, 24), np.float32), np.full((2, 6, 9, 8, 40), 7, np.float32)
    x[:, ::2, ..., 8:] = X
    view = out[..., 16:32]
    assert fastdw.depthwise_conv3d(x[:, ::2, ..., 8:], W, padding=1, out=view) is view
    np.testing.assert_array_equal(view, y)
    assert (out[..., :16] == 7).all()


def test_numpy_integers():
    given = {"stride": np.int64(2), "padding": np.int64(1), "dilation": np.uint8(1)}
    np.testing.assert_array_equal(fastdw.depthwise_conv3d(X, W, **given), fastdw.depthwise_conv3d(X, W, stride=2, padding=1))


def huge(*extents: int) -> np.ndarray:
    """More than there is memory for the result, in memory of one pixel."""
    return np.broadcast_to(np.zeros(16, np.float32), (1, *extents, 16))


WRONG = [
    ({"x": X[0]}, ValueError, r"^x: got shape \(6, 9, 8, 16\); expected \[batch, depth, height, width, channels\]"),
    ({"x": X[:, :0]}, ValueError, r"^x: got shape \(2, 0, 9, 8, 16\); expected .* at least 1"),
    ({"x": X.astype(np.float16)}, TypeError, r"^x: got float16; expected float32"),
    ({"weight": W[0, 0]}, ValueError, r"^weight: got shape \(3, 16\); expected \[kernel_d, kernel_h, kernel_w, channels, multiplier\] or"),
    ({"weight": W[..., :8]}, ValueError, r"^weight: got 8 input channels; expected 16, the channels of x$"),
    ({"x": X.transpose(0, 4, 1, 2, 3).copy()}, ValueError, r"^weight: got 16 input channels; expected 8, .*x looks like \[batch, channels"),
    ({"x": huge(1 << 26, 1 << 20, 8)}, ValueError, r"^x: got what gives a result of shape .*; expected a result of at most \d+ elements"),
    ({"x": huge(1 << 20, 1 << 20, 8)}, ValueError, r"^x: got shape .*; expected a smaller one: there is no memory for .* bytes"),
    ({"padding": 2**31 - 1}, ValueError, r"^padding: got what gives a result of shape .*; expected a result of at most \d+ elements"),
    ({"weight": W * np.nan}, ValueError, r"^weight: got infinities or NaNs; expected finite numbers"),
    ({"dilation": (3, 1, 1)}, ValueError, r"^weight: got a kernel that spans 7 in depth; expected at most 6, the padded depth of x"),
    ({"dilation": (1, 1, 4)}, ValueError, r"^weight: got a kernel that spans 9 in width; expected at most 8"),
    ({"bias": np.zeros(8, np.float32)}, ValueError, r"^bias: got shape \(8,\); expected \(16,\)"),
    ({"stride": (1, 1)}, ValueError, r"^stride: got \(1, 1\); expected one integer or \(planes, rows, columns\)"),
    ({"stride": (1, 0, 1)}, ValueError, r"^stride: got 0; expected an integer of at least 1"),
    ({"padding": "causal"}, ValueError, r"^padding: got 'causal'; expected one of 'valid', 'same', 'same_lower', an integer"),
    ({"padding": (1, 1)}, ValueError, r"^padding: got \(1, 1\); expected an integer, \(planes"),
    ({"padding": ((1, 1), 1, 1)}, ValueError, r"^padding: got \(\(1, 1\), 1, 1\); expected an integer, \(planes"),
    ({"padding": -1}, ValueError, r"^padding: got -1; expected an integer of at least 0"),
    ({"padding": True}, TypeError, r"^padding: got True; expected an integer"),
    ({"padding": 0.5}, TypeError, r"^padding: got 0.5; expected an integer, \(planes"),
    ({"activation": 6}, TypeError, r"^activation: got 6; expected"),
    ({"threads": 0}, ValueError, r"^threads: got 0; expected"),
    ({"out": np.zeros((2, 6, 9, 8, 16), np.float32)}, ValueError, r"^out: got shape \(2, 6, 9, 8, 16\); expected \(2, 4, 7, 6, 16\)"),
    ({"out": X[:, :4, :7, :6]}, ValueError, r"^out: got an array that overlaps x; expected memory of its own"),
    ({"out": np.zeros((2, 4, 7, 6, 32), np.float32)[..., ::2]}, ValueError, r"^out: got channels 8 bytes apart; expected channels next"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        fastdw.depthwise_conv3d(**({"x": X, "weight": W} | changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [changes for changes, *_ in WRONG], ids=lambda changes: "-".join(changes))
def test_nothing_is_computed_when_a_call_is_refused(changes, monkeypatch):
    monkeypatch.setattr(conv3d, "depthwise_conv2d", lambda *arrays, **keywords: pytest.fail("computed a plane first"))
    with pytest.raises((TypeError, ValueError)):
        fastdw.depthwise_conv3d(**({"x": X, "weight": W} | changes))
