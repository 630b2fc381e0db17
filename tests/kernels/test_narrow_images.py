"""Rows of few columns: tiles that know the edges of the image, and rows that regular convolutions copy with zeros at both ends."""

from __future__ import annotations

import numpy as np
import pytest
import stated_order
from guard import guarded
from test_machine_code import check_compiled
from tiles import tile_id

import fastdw
from fastdw.kernels import conv, depthwise_rows
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
    ((7, 10, 32), (3, 3), {"dilation": (3, 1)}),
    ((14, 14, 64), (3, 3), {"dilation": 4}),  # phases of 4 and of 3 columns
    ((9, 13, 40), (5, 5), {"dilation": (1, 2), "stride": (2, 1)}),
    ((6, 7, 20), (3, 3), {"dilation": (2, 4), "stride": (1, 2)}),
    ((14, 14, 40), (31, 31), {}),
    ((7, 7, 16), (13, 13), {"stride": (2, 1)}),
    ((9, 1, 20), (3, 1), {"padding": "valid"}),
    ((2, 2, 19), (2, 2), {"padding": ((3, 0), (5, 0))}),  # outputs of padding alone
    ((2, 2, 19), (2, 2), {"padding": ((0, 9), (0, 11)), "stride": 2}),
    ((5, 14, 17), (1, 7), {"padding": ((2, 2), (9, 9))}),
    ((8, 15, 24), (5, 5), {"dilation": (2, 1), "padding": ((4, 4), (2, 2))}),
    ((9, 28, 21), (3, 3), {}),
    ((9, 33, 16), (3, 3), {"stride": 2}),
    ((5, 57, 8), (4, 9), {"padding": ((1, 2), (0, 8))}),
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
        regular = Problem(CONV, 1, 9, width, 1, 64, (3, 3), padding=((1, 1), (1, 1)))
        found += [(conv.SPEC, tile) for tile in conv.SPEC.shapes(regular, host()) if tile.pixels == width]
    for width in depthwise_rows.WHOLE:
        usual, others = (3, 1, (1, 1)), ((5, 1, (2, 2)), (9, 1, (4, 4)), (5, 1, (4, 0)), (3, 2, (0, 1)), (5, 2, (1, 2)))
        for taps, stride, sides in (usual, others[width % 5]):
            alone = Problem(DEPTHWISE, 1, 9, width * stride, 64, 64, (3, taps), (stride, stride), padding=((1, 1), sides))
            found += [(depthwise_rows.SPEC, tile) for tile in depthwise_rows.SPEC.shapes(alone, host()) if tile.whole]
    for width, dilation, taps in ((14, 4, 3), (13, 2, 5), (5, 3, 3), (27, 2, 3), (19, 2, 7)):
        reach = (taps - 1) * dilation
        phases = Problem(DEPTHWISE, 1, 9, width, 64, 64, (3, taps), dilation=(1, dilation), padding=((1, 1), (reach // 2, reach // 2)))
        found += [(depthwise_rows.SPEC, tile) for tile in depthwise_rows.SPEC.shapes(phases, host()) if tile.uneven]
    assert any(tile.uneven for _, tile in found)
    assert {spec.name for spec, _ in found} == {"conv", "depthwise_rows"}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "tile"), tiles_of_narrow_images(), ids=tile_id)
def test_machine_code(spec, tile):
    check_compiled(spec, tile)


@pytest.mark.parametrize("channels", [512, 100], ids="{} of 512 channels".format)
@pytest.mark.parametrize(("image", "keywords"), [((7, 7), {}), ((4, 17), {"stride": 2}), ((6, 9), {"dilation": 2})], ids=str)
def test_where_the_output_lies_changes_no_bit(image, keywords, channels):
    """Channels are taken backwards where it lies close ahead of the input within a page."""
    rng = np.random.default_rng(channels)
    memory = np.zeros(1 << 20, np.float32)
    start = -memory.ctypes.data % 4096 // 4
    x = memory[start : start + image[0] * image[1] * 512].reshape(1, *image, 512)[..., :channels]
    x[...] = rng.standard_normal(x.shape, np.float32)
    weight = rng.standard_normal((3, 3, channels), np.float32)
    keywords = {"padding": "same"} | keywords
    expected = stated_order.depthwise_conv2d(x, weight, **keywords)
    others = slice(channels, None)
    for ahead in (-4, 0, 4, 12, 16, 32, 48, 500, 1000):
        buffer = memory[start + (1 << 19) + ahead :][: expected.size // channels * 512].reshape(*expected.shape[:3], 512)
        buffer[...] = np.nan
        np.testing.assert_array_equal(fastdw.depthwise_conv2d(x, weight, out=buffer[..., :channels], **keywords), expected)
        assert np.isnan(buffer[..., others]).all()
