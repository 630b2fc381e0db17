"""Regular convolutions of few channels and columns, whose rows are copied with zeros at both ends: the bits of those read in place."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order
from guard import guarded

import fastdw

CASES = [  # image, filter, outputs, keywords
    ((49, 10, 1), (10, 4), 64, {"stride": 2}),
    ((9, 5, 3), (3, 3), 33, {}),
    ((7, 3, 8), (5, 7), 16, {"stride": (1, 2)}),
    ((12, 11, 2), (3, 3), 20, {"dilation": (2, 3)}),
    ((4, 6, 1), (9, 3), 8, {"padding": ((6, 5), (0, 4))}),
    ((5, 9, 2), (2, 2), 7, {"stride": 3, "padding": ((0, 0), (1, 0))}),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("image", "kernel", "outputs", "keywords"), CASES)
def test_the_bits_of_every_tap(image, kernel, outputs, keywords, threads):
    rng = np.random.default_rng(sum(image) + sum(kernel))
    x = rng.standard_normal((2, *image), np.float32)
    weight = rng.standard_normal((*kernel, image[-1], outputs), np.float32)
    keywords = {"padding": "same"} | keywords
    expected = stated_order.conv2d(x, weight, **keywords)
    for end in (False, True):
        np.testing.assert_array_equal(fastdw.conv2d(guarded(x, end), weight, threads=threads, **keywords), expected)
    rows_apart = np.zeros((2, image[0], image[1] + 2, image[2]), np.float32)[:, :, 1:-1]
    rows_apart[...] = x
    np.testing.assert_array_equal(fastdw.conv2d(rows_apart, weight, threads=threads, **keywords), expected)
