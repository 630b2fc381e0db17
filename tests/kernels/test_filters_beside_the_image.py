"""Filters of which much falls beside the image: what is left out changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order

import fastdw
from fastdw.machine import host

ROW_OF_14 = "depthwise_rows" if host().registers >= 32 else "depthwise"  # its sums and as many taps
CASES = [  # image, filter, multiplier, keywords, the kernel that serves it
    ((14, 14), (31, 31), 1, {}, ROW_OF_14),
    ((3, 2), (9, 31), 1, {}, "depthwise_rows"),
    ((1, 1), (13, 9), 2, {}, "depthwise_any"),
    ((14, 20), (1, 31), 1, {"stride": 2}, "depthwise"),
    ((6, 40), (23, 9), 2, {"stride": (2, 1)}, "depthwise_any"),
    ((7, 9), (11, 9), 1, {"dilation": (2, 3)}, "depthwise_rows"),
    ((5, 4), (10, 31), 1, {"padding": ((20, 3), (2, 30))}, "depthwise"),
]


@pytest.mark.parametrize(("image", "kernel", "multiplier", "keywords", "served_by"), CASES)
def test_the_bits_of_every_tap(image, kernel, multiplier, keywords, served_by):
    rng = np.random.default_rng(sum(image) + sum(kernel))
    x = rng.standard_normal((2, *image, 17), np.float32)
    weight = rng.standard_normal((*kernel, 17, multiplier), np.float32)
    keywords = {"padding": "same"} | keywords
    assert fastdw.explain(fastdw.depthwise_conv2d, x, weight, **keywords).kernel == served_by
    np.testing.assert_array_equal(fastdw.depthwise_conv2d(x, weight, **keywords), stated_order.depthwise_conv2d(x, weight, **keywords))
