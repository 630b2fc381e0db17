"""The layers that Keras tests itself with: DepthwiseConv1D and 2D, SeparableConv1D and 2D, against the oracle.

From depthwise_conv_test.py and separable_conv_test.py of keras/src/layers/convolutional. A layer of one dimension is an image of height 1.
"""

import numpy as np
import oracle
import pytest

import fastdw
from fastdw.weights import from_keras

BASIC = [  # multiplier, stride, padding, dilation, pixels along an axis of x and of the result; the filter has two taps along an axis
    (5, 1, "valid", 1, 5, 4),
    (6, 1, "same", 2, 4, 4),
    (6, 2, "valid", 1, 5, 2),
]
CORRECTNESS = [
    (5, 1, "valid", 1, 8, 7),
    (6, 1, "same", 2, 8, 8),
    (6, 2, "valid", 1, 8, 4),
]
CASES = [(batch, *case) for batch, cases in ((3, BASIC), (2, CORRECTNESS)) for case in cases]
CHANNELS = 4


def layer(n_axes, batch, multiplier, stride, padding, dilation, extent):
    """x, the depthwise kernel as Keras keeps it, and the geometry."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 1 if n_axes == 1 else extent, extent, CHANNELS), np.float32)
    kernel = rng.standard_normal((*(2,) * n_axes, CHANNELS, multiplier), np.float32)
    rows = 1 if n_axes == 1 else None
    return x, kernel, {"stride": (rows or stride, stride), "padding": padding, "dilation": (rows or dilation, dilation)}, rng


@pytest.mark.parametrize("n_axes", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_depthwise(case, n_axes):
    *case, out_extent = case
    x, kernel, geometry, rng = layer(n_axes, *case)
    weight, bias = from_keras(kernel, "depthwise"), rng.standard_normal(CHANNELS * case[1], np.float32)
    y = fastdw.depthwise_conv2d(x, weight, bias, **geometry)
    assert y.shape == (case[0], 1 if n_axes == 1 else out_extent, out_extent, CHANNELS * case[1])
    oracle.depthwise_conv2d(x, weight, bias, **geometry).check(y)


@pytest.mark.parametrize("n_axes", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_separable(case, n_axes):
    *case, out_extent = case
    x, kernel, geometry, rng = layer(n_axes, *case)
    filters = case[1]
    mixing = rng.standard_normal((*(1,) * n_axes, CHANNELS * case[1], filters), np.float32)
    weights, bias = (from_keras(kernel, "depthwise"), from_keras(mixing, "pointwise")), rng.standard_normal(filters, np.float32)
    y = fastdw.separable_conv2d(x, *weights, pointwise_bias=bias, **geometry)
    assert y.shape == (case[0], 1 if n_axes == 1 else out_extent, out_extent, filters)
    oracle.separable_conv2d(x, *weights, pointwise_bias=bias, **geometry).check(y)


def arrays(kernel=(2, 2), multiplier=2, filters=2):
    shapes = (1, 8, 8, CHANNELS), (*kernel, CHANNELS, multiplier), (CHANNELS * multiplier, filters)
    return [np.ones(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("wrong", "keywords", "message"),
    [
        ({"multiplier": 0}, {}, "weight: got shape"),
        ({"filters": 0}, {}, "weight: got shape"),
        ({"kernel": (1, 0)}, {}, "weight: got shape"),
        ({}, {"stride": (1, 0)}, "stride: got 0"),
    ],
)
def test_what_keras_refuses(wrong, keywords, message):
    with pytest.raises(ValueError, match=message):
        fastdw.separable_conv2d(*arrays(**wrong), **keywords)


def test_stride_with_dilation_which_keras_refuses():
    x, weight, _ = arrays()
    geometry = {"stride": 2, "dilation": (2, 1)}
    oracle.depthwise_conv2d(x, weight, **geometry).check(fastdw.depthwise_conv2d(x, weight, **geometry))
