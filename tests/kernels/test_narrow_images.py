"""Images of few columns: tiles as wide as a row of outputs, and rows that regular convolutions copy with zeros at both ends."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order
from guard import guarded
from test_machine_code import check_compiled
from tiles import tile_id

import fastdw
from fastdw.kernels import conv, depthwise
from fastdw.kernels.spec import KernelSpec
from fastdw.machine import host
from fastdw.problem import CONV, DEPTHWISE, Problem
from fastdw.tile import TileShape

CONVOLUTIONS = [  # image, filter, outputs, keywords
    ((49, 10, 1), (10, 4), 64, {"stride": 2}),
    ((9, 5, 3), (3, 3), 33, {}),
    ((9, 3, 1), (3, 3), 16, {}),
    ((6, 32, 3), (3, 3), 16, {}),
    ((7, 3, 8), (5, 7), 16, {"stride": (1, 2)}),
    ((12, 11, 2), (3, 3), 20, {"dilation": (2, 3)}),
    ((4, 6, 1), (9, 3), 8, {"padding": ((6, 5), (0, 4))}),
    ((5, 9, 2), (2, 2), 7, {"stride": 3, "padding": ((0, 0), (1, 0))}),
]
DEPTHWISE_CONVOLUTIONS = [
    ((25, 5, 64), (3, 3), {}),
    ((3, 3, 33), (3, 3), {}),
    ((4, 6, 40), (5, 5), {}),
    ((7, 10, 35), (3, 3), {"stride": 2}),
    ((7, 10, 32), (3, 3), {"dilation": 2}),
]


def same_bits(call, image, weight, keywords):
    rng = np.random.default_rng(sum(image))
    x = rng.standard_normal((2, *image), np.float32)
    keywords = {"padding": "same"} | keywords
    expected = getattr(stated_order, call.__name__)(x, weight, **keywords)
    rows_apart = np.zeros((2, image[0], image[1] + 2, image[2]), np.float32)[:, :, 1:-1]
    rows_apart[...] = x
    for each in (guarded(x, end=False), guarded(x, end=True), rows_apart):
        np.testing.assert_array_equal(call(each, weight, **keywords), expected)


@pytest.mark.parametrize(("image", "kernel", "outputs", "keywords"), CONVOLUTIONS)
def test_regular_convolutions_have_the_stated_bits(image, kernel, outputs, keywords):
    weight = np.random.default_rng(sum(kernel)).standard_normal((*kernel, image[-1], outputs), np.float32)
    plan = fastdw.explain(fastdw.conv2d, (2, *image), weight, **{"padding": "same"} | keywords)
    assert conv.strip_cols(plan.problem, plan.shape) > 0
    same_bits(fastdw.conv2d, image, weight, keywords)


@pytest.mark.parametrize(("image", "kernel", "keywords"), DEPTHWISE_CONVOLUTIONS)
def test_depthwise_convolutions_have_the_stated_bits(image, kernel, keywords):
    weight = np.random.default_rng(sum(kernel)).standard_normal((*kernel, image[-1], 1), np.float32)
    same_bits(fastdw.depthwise_conv2d, image, weight, keywords)


def tiles_of_narrow_images() -> list[tuple[KernelSpec, TileShape]]:
    found = []
    for width in (3, 5, 6):
        problems = {
            conv.SPEC: Problem(CONV, 1, 9, width, 1, 64, (3, 3), padding=((1, 1), (1, 1))),
            depthwise.SPEC: Problem(DEPTHWISE, 1, 9, width, 64, 64, (3, 3), padding=((1, 1), (1, 1))),
        }
        for spec, problem in problems.items():
            found += [(spec, tile) for tile in spec.shapes(problem, host()) if tile.pixels == width]
    assert {spec.name for spec, _ in found} == {"conv", "depthwise"}
    return found


@pytest.mark.parametrize(("spec", "tile"), tiles_of_narrow_images(), ids=tile_id)
def test_machine_code(spec, tile):
    check_compiled(spec, tile)
