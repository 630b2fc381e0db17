"""Filters of which much falls beside the image: what is left out changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order

import fastdw

CASES = [  # image, filter, multiplier, keywords
    ((14, 14), (31, 31), 1, {}),
    ((3, 2), (9, 31), 1, {}),
    ((1, 1), (13, 9), 2, {}),
    ((14, 20), (1, 31), 1, {"stride": 2}),
    ((6, 40), (23, 9), 2, {"stride": (2, 1)}),
    ((7, 9), (11, 9), 1, {"dilation": (2, 3)}),
    ((5, 4), (10, 31), 1, {"padding": ((20, 3), (2, 30))}),
]


@pytest.mark.parametrize(("image", "kernel", "multiplier", "keywords"), CASES)
def test_the_bits_of_every_tap(image, kernel, multiplier, keywords):
    rng = np.random.default_rng(sum(image) + sum(kernel))
    x = rng.standard_normal((2, *image, 17), np.float32)
    weight = rng.standard_normal((*kernel, 17, multiplier), np.float32)
    keywords = {"padding": "same"} | keywords
    kernel = fastdw.explain(fastdw.depthwise_conv2d, x, weight, **keywords).kernel
    assert kernel in (("depthwise", "depthwise_rows") if multiplier == 1 else ("depthwise_any",))
    np.testing.assert_array_equal(fastdw.depthwise_conv2d(x, weight, **keywords), stated_order.depthwise_conv2d(x, weight, **keywords))
