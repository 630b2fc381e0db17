"""Prepared layers: the bits of the call, for any strides, and next to no memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import foreign
import numpy as np
import pytest
import stated_order

import fastdw

MOST_BYTES = 4096  # allocated by a call that is given out
rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


X = normal(2, 9, 10, 32)
CALLS = {  # x, weights and biases, keywords
    "depthwise": (fastdw.depthwise_conv2d, X, [normal(3, 3, 32), normal(32)], {"padding": "same", "activation": "relu6"}),
    "depthwise stride 2": (fastdw.depthwise_conv2d, X, [normal(3, 3, 32, 1)], {"stride": 2, "threads": 1}),
    "pointwise": (fastdw.pointwise_conv2d, X, [normal(32, 40), normal(40)], {"activation": (-1, 1)}),
    "conv": (fastdw.conv2d, X, [normal(3, 3, 32, 24), normal(24)], {"stride": 2, "padding": "same"}),
    "separable": (fastdw.separable_conv2d, X, [normal(3, 3, 32), normal(32, 24), normal(32), normal(24)], {"padding": 1}),
    "inverted": (fastdw.inverted_residual, X, [normal(32, 64), normal(3, 3, 64), normal(64, 32)], {"stride": 2}),
    "dense": (fastdw.dense, X[0, 0], [normal(32, 70), normal(70)], {"activation": "relu"}),
    "pool": (fastdw.global_average_pool2d, X, [], {}),
}
ADDS_RESIDUAL = {"depthwise", "pointwise", "conv", "separable"}


def prepared(name: str, **changes) -> Callable:
    call, x, weights, keywords = CALLS[name]
    return fastdw.prepare(call, x.shape, *weights, **keywords, **changes)


def called(name: str, x: np.ndarray | None = None, **changes) -> np.ndarray:
    call, usual, weights, keywords = CALLS[name]
    return call(usual if x is None else x, *weights, **keywords, **changes)


def in_strides_of_all_kinds(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values; channels always next to each other."""
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.zeros((*x.shape[:-1], x.shape[-1] + 5), np.float32)
    wide[..., 2:-3] = x
    order = (*range(x.ndim - 2, -1, -1), x.ndim - 1)
    offset = np.zeros(x.size + 1, np.float32)[1:].reshape(x.shape)
    offset[...] = x
    return {
        "contiguous": x,
        "read-only": frozen,
        "channels of a larger image": wide[..., 2:-3],
        "reversed": np.ascontiguousarray(x[::-1])[::-1],
        "transposed": np.ascontiguousarray(x.transpose(order)).transpose(order),
        "off the cache line": offset,
        "every second": np.repeat(x, 2, axis=0)[::2],
    }


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_gives_the_bits_of_the_call(name):
    layer = prepared(name)
    y = layer(CALLS[name][1])
    stated_order.check_bits(y, called(name), name)
    assert y.shape == layer.out_shape
    assert y.ctypes.data % 64 == 0


@pytest.mark.parametrize("name", CALLS)
def test_x_and_out_may_have_any_strides(name):
    layer = prepared(name)
    expected = called(name)
    for x_strides, x in in_strides_of_all_kinds(CALLS[name][1]).items():
        for out_strides, out in in_strides_of_all_kinds(np.full(expected.shape, np.nan, np.float32)).items():
            if out.flags.writeable:
                assert layer(x, out) is out
                stated_order.check_bits(out, expected, f"{name}, x {x_strides}, out {out_strides}")
        stated_order.check_bits(layer(x), expected, f"{name}, x {x_strides}")


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_keeps_no_values_between_calls(name):
    layer = prepared(name)
    x = CALLS[name][1]
    first, other = layer(x), layer(-x)
    stated_order.check_bits(other, called(name, -x), name)
    stated_order.check_bits(layer(x), first, name)


@pytest.mark.parametrize("name", sorted(ADDS_RESIDUAL))
def test_residual(name):
    layer = prepared(name, residual=True)
    residual = normal(*layer.out_shape)
    expected = called(name, residual=residual)
    assert (expected != called(name)).any()
    for strides, same in in_strides_of_all_kinds(residual).items():
        stated_order.check_bits(layer(CALLS[name][1], residual=same), expected, f"{name}, residual {strides}")
        out = np.empty(layer.out_shape, np.float32)
        assert layer(CALLS[name][1], out, same) is out
        stated_order.check_bits(out, expected, f"{name}, residual {strides}")


@pytest.mark.parametrize("name", CALLS)
def test_out_over_x_is_refused_whatever_the_strides(name):
    layer = prepared(name)
    memory = np.zeros(4 * CALLS[name][1].size, np.float32)
    x = memory[: CALLS[name][1].size].reshape(CALLS[name][1].shape)
    count = int(np.prod(layer.out_shape))
    out = memory[x.size - 1 : x.size - 1 + count].reshape(layer.out_shape)
    with pytest.raises(ValueError, match=r"^out: got .*overlaps x"):
        layer(x, out)
    layer(x, memory[x.size : x.size + count].reshape(layer.out_shape))


def test_interleaved_images_that_share_no_element_are_no_overlap():
    memory = normal(1, 8, 9, 32)
    x, out = memory[..., :16], memory[..., 16:]
    weight = normal(16, 16)
    expected = fastdw.pointwise_conv2d(x.copy(), weight)
    fastdw.prepare(fastdw.pointwise_conv2d, x.shape, weight)(x, out)
    stated_order.check_bits(out, expected, "into the other half of the channels")


def test_packed_weights_may_be_given():
    weight = normal(32, 40)
    layer = fastdw.prepare(fastdw.pointwise_conv2d, X.shape, fastdw.pack_pointwise(weight))
    stated_order.check_bits(layer(X), fastdw.pointwise_conv2d(X, weight), "packed")


def test_arrays_of_other_libraries_are_taken():
    layer = prepared("pointwise")
    stated_order.check_bits(layer(foreign.WithInterface(X)), called("pointwise"), "__array_interface__")


def test_a_layer_shows_what_it_is():
    layer = prepared("pointwise")
    assert str(layer.x_shape) in repr(layer)
    assert str(layer.out_shape) in repr(layer)
    assert layer.plan.id in repr(layer)
    assert [plan.kernel for plan in prepared("separable").plans] == ["depthwise_rows", "pointwise"]


# ---- memory ----
def allocated_bytes(call: Callable[[], object]) -> int:
    """The most that a call holds at once: the first time aside, and those when the limits of the process are read anew."""
    for _ in range(3):
        call()
    gc.collect()
    tracemalloc.start()
    try:
        held = []
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            call()
            held.append(tracemalloc.get_traced_memory()[1] - before)
        return min(held)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_with_out_allocates_next_to_nothing(name):
    layer = prepared(name)
    x, out = CALLS[name][1], np.empty(layer.out_shape, np.float32)
    assert allocated_bytes(lambda: layer(x, out)) < MOST_BYTES


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"separable", "inverted"}))
def test_a_call_with_out_allocates_next_to_nothing(name):
    out = np.empty(called(name).shape, np.float32)
    assert allocated_bytes(lambda: called(name, out=out)) < MOST_BYTES


def test_a_separable_call_allocates_the_scratch_that_explain_states():
    call, x, weights, keywords = CALLS["separable"]
    scratch = fastdw.explain(call, x, *weights, **keywords).scratch_bytes
    out = np.empty(called("separable").shape, np.float32)
    used = allocated_bytes(lambda: called("separable", out=out))
    assert scratch <= used < scratch + 4 * MOST_BYTES, "a program and the image between its steps"
