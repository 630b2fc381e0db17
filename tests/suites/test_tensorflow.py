"""The depthwise configurations that TensorFlow tests itself with, against the oracle.

From DepthwiseConv2DBase (tensorflow/python/kernel_tests/nn_ops/depthwise_conv_op_base.py): x, filter, the shape of the result,
stride, padding, dilation. The shapes of results are TensorFlow's.
"""

import numpy as np
import oracle
import pytest

import fastdw

NAMED_PADDING = [
    ((4, 5, 5, 48), (1, 1, 48, 2), (4, 5, 5, 96), 1, "same", 1),
    ((4, 8, 8, 84), (1, 3, 84, 1), (4, 8, 8, 84), 1, "same", 1),
    ((4, 17, 17, 48), (3, 1, 48, 4), (4, 17, 17, 192), 1, "same", 1),
    ((4, 9, 27, 8), (3, 3, 8, 1), (4, 9, 27, 8), 1, "same", 1),
    ((4, 31, 31, 7), (3, 3, 7, 1), (4, 31, 31, 7), 1, "same", 1),
    ((4, 35, 35, 2), (5, 5, 2, 1), (4, 35, 35, 2), 1, "same", 1),
    ((4, 147, 147, 2), (3, 3, 2, 8), (4, 49, 49, 16), 3, "valid", 1),
    ((3, 299, 299, 3), (3, 2, 3, 8), (3, 150, 150, 24), 2, "same", 1),
    ((5, 183, 183, 1), (5, 5, 1, 2), (5, 92, 92, 2), 2, "same", 1),
    ((5, 183, 183, 1), (5, 5, 1, 2), (5, 183, 183, 2), 1, "same", (2, 2)),
    ((5, 41, 35, 2), (4, 7, 2, 2), (5, 32, 23, 4), 1, "valid", (3, 2)),
]
EXPLICIT_PADDING = [
    ((4, 5, 5, 48), (1, 1, 48, 2), (4, 8, 12, 96), 1, ((1, 2), (3, 4)), 1),
    ((4, 1, 1, 3), (3, 3, 3, 2), (4, 29, 39, 6), 1, ((10, 20), (15, 25)), 1),
    ((4, 9, 27, 8), (3, 3, 8, 1), (4, 14, 31, 8), 1, ((3, 4), (4, 2)), 1),
    ((4, 31, 31, 7), (3, 3, 7, 1), (4, 29, 29, 7), 1, ((0, 0), (0, 0)), 1),
    ((3, 299, 299, 3), (3, 2, 3, 8), (3, 150, 153, 24), 2, ((1, 2), (3, 5)), 1),
    ((5, 183, 183, 1), (5, 5, 1, 2), (5, 62, 60, 2), 3, ((3, 2), (1, 0)), 1),
    ((5, 29, 31, 1), (5, 4, 1, 2), (5, 26, 23, 2), 1, ((3, 2), (1, 0)), (2, 3)),
    ((4, 5, 5, 48), (3, 3, 48, 1), (4, 5, 5, 48), 1, ((0, 2), (0, 2)), 1),
    ((1, 8, 7, 2), (8, 7, 2, 1), (1, 8, 7, 2), 1, ((0, 7), (3, 3)), 1),
    ((2, 4, 3, 2), (3, 2, 2, 1), (2, 4, 3, 2), 1, ((2, 0), (1, 0)), 1),
]
OF_GRADIENTS = [
    ((2, 5, 8, 1), (4, 4, 1, 2), (2, 5, 8, 2), 1, "same", 1),
    ((4, 5, 5, 1), (2, 2, 1, 2), (4, 2, 2, 2), 2, "valid", 1),
    ((2, 4, 4, 2), (3, 1, 2, 2), (2, 4, 4, 4), 1, "same", 1),
    ((1, 15, 15, 2), (1, 3, 2, 1), (1, 15, 15, 2), 1, "same", 1),
    ((2, 15, 16, 1), (3, 3, 1, 2), (2, 5, 5, 2), 3, "valid", 1),
    ((2, 5, 8, 1), (4, 3, 1, 2), (2, 5, 8, 2), 1, "same", (1, 2)),
    ((1, 3, 1, 2), (2, 1, 2, 1), (1, 3, 1, 2), 1, "same", 1),
    ((2, 2, 3, 2), (2, 1, 2, 1), (2, 2, 3, 2), 1, "same", 1),
    ((2, 2, 3, 1), (2, 2, 1, 1), (2, 2, 3, 1), 1, "same", 1),
    ((2, 5, 8, 1), (4, 4, 1, 2), (2, 3, 10, 2), 1, ((0, 1), (2, 3)), 1),
    ((4, 5, 5, 1), (2, 2, 1, 2), (4, 4, 5, 2), 2, ((3, 1), (5, 0)), 1),
    ((2, 4, 4, 2), (3, 1, 2, 2), (2, 7, 11, 4), 1, ((4, 1), (3, 4)), 1),
    ((1, 15, 15, 2), (1, 3, 2, 1), (1, 18, 23, 2), 1, ((3, 0), (2, 8)), 1),
    ((2, 15, 16, 1), (3, 3, 1, 2), (2, 5, 8, 2), 3, ((0, 0), (10, 0)), 1),
    ((2, 5, 8, 1), (3, 4, 1, 2), (2, 5, 10, 2), 1, ((3, 1), (2, 3)), (2, 1)),
]


@pytest.mark.parametrize("case", NAMED_PADDING + EXPLICIT_PADDING + OF_GRADIENTS, ids=str)
def test_configuration(case):
    x_shape, weight_shape, out_shape, stride, padding, dilation = case
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in (x_shape, weight_shape))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    y = fastdw.depthwise_conv2d(x, weight, **geometry)
    assert y.shape == out_shape
    oracle.depthwise_conv2d(x, weight, **geometry).check(y)


def test_example_worked_by_hand():
    """Two rows of three pixels of two channels, with multiplier 2: the numbers that TensorFlow's test writes out."""
    x = np.arange(1, 13, dtype=np.float32).reshape(1, 2, 3, 2)
    weight = np.arange(1, 17, dtype=np.float32).reshape(2, 2, 2, 2)
    y = fastdw.depthwise_conv2d(x, weight)
    np.testing.assert_array_equal(y, np.reshape([196, 216, 272, 296, 252, 280, 344, 376], (1, 1, 2, 4)))
