"""Any layout of x and out, read-only or foreign arrays: the same bits, most often from the machine code that is there already."""

import foreign
import numpy as np
import problems
import pytest
import stated_order

import fastdw
from fastdw import jit

LAYOUTS = {
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    "channel slice": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(3, 5)], constant_values=np.nan)[..., 3:-5],
    "one float off a cache line": lambda x: np.concatenate([[np.float32(np.nan)], x.ravel()])[1:].reshape(x.shape),
    "subclass": lambda x: x.view(type("Subclass", (np.ndarray,), {})),
}
SHORTER_RUNS = {  # of pixels at equal distances, so a pointwise tile may be another
    "every other image": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed images": lambda x: x[::-1].copy()[::-1],
    "every other row": lambda x: np.repeat(x, 2, axis=1)[:, ::2] if x.ndim == 4 else np.repeat(x, 2, axis=0)[::2],
}
FOREIGN = {"__array_interface__": foreign.WithInterface, "DLPack": foreign.WithDLPack}


@pytest.mark.parametrize("layout", [*LAYOUTS, *FOREIGN])
@pytest.mark.parametrize("call", problems.CALLS)
def test_layout_needs_no_new_compilation(call, layout):
    case = problems.case(call, 0)
    x = np.ascontiguousarray(case.arrays["x"])
    expected = case.run(fastdw, x=x)
    compiled = jit.compilations()
    y = case.run(fastdw, x=(LAYOUTS | FOREIGN)[layout](x))
    stated_order.check_bits(y, expected, layout)
    assert type(y) is np.ndarray
    assert jit.compilations() == compiled


@pytest.mark.parametrize("layout", SHORTER_RUNS)
@pytest.mark.parametrize("call", problems.CALLS)
def test_layout_changes_no_bit(call, layout):
    case = problems.case(call, 0)
    x = np.ascontiguousarray(case.arrays["x"])
    stated_order.check_bits(case.run(fastdw, x=SHORTER_RUNS[layout](x)), case.run(fastdw, x=x), layout)


def test_concatenation_into_channel_slices_of_one_image():
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 20), np.float32)
    left, right = np.ones((20, 7), np.float32), np.ones((3, 3, 20, 1), np.float32)
    image = np.full((2, 6, 5, 27), np.nan, np.float32)
    fastdw.pointwise_conv2d(x, left, out=image[..., :7])
    fastdw.depthwise_conv2d(x, right, padding="same", out=image[..., 7:])
    both = [fastdw.pointwise_conv2d(x, left), fastdw.depthwise_conv2d(x, right, padding="same")]
    stated_order.check_bits(image, np.concatenate(both, axis=-1), "concatenated")


def test_interleaved_memory_is_no_overlap():
    buffer = np.zeros((1, 4, 6, 40), np.float32)
    x, out = buffer[..., :20], buffer[..., 20:]
    x[...] = np.random.default_rng(1).standard_normal(x.shape, np.float32)
    expected = fastdw.depthwise_conv2d(x.copy(), np.ones((3, 3, 20), np.float32), padding="same")
    assert fastdw.depthwise_conv2d(x, np.ones((3, 3, 20), np.float32), padding="same", out=out) is out
    stated_order.check_bits(out.copy(), expected, "out between the rows of x")


def with_wild_strides(array: np.ndarray) -> np.ndarray:
    """The same elements; axes of one element, whose strides mean nothing, have strides that lead into NaN."""
    buffer = np.full(64 * array.size, np.nan, np.float32)
    strides = [array.nbytes if extent == 1 else stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    view = np.ndarray(array.shape, np.float32, buffer, 0, strides)
    view[...] = array
    return view


@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (4, 5)])
@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (3, 1)])
def test_strides_of_axes_of_one_element_mean_nothing(kernel, size, channels):
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    x, residual, bias = draw(1, *size, channels), draw(1, *size, channels), draw(channels)
    depthwise, conv, pointwise = draw(*kernel, channels, 1), draw(*kernel, channels, channels), draw(channels, channels)
    calls = [
        (fastdw.depthwise_conv2d, {"weight": depthwise, "padding": "same", "residual": residual}),
        (fastdw.conv2d, {"weight": conv, "padding": "same", "residual": residual}),
        (fastdw.pointwise_conv2d, {"weight": pointwise, "residual": residual}),
        (fastdw.pointwise_conv2d, {"weight": pointwise[None, None], "residual": residual}),
    ]
    for call, given in calls:
        expected = call(x, bias=bias, **given)
        wild = {name: with_wild_strides(value) for name, value in given.items() if isinstance(value, np.ndarray)}
        out = with_wild_strides(np.full(expected.shape, np.nan, np.float32))
        call(with_wild_strides(x), bias=with_wild_strides(bias), out=out, **given | wild)
        stated_order.check_bits(np.ascontiguousarray(out), expected, call.__name__)
