"""prepare() and the layers it makes: the same refusals as the call itself."""

import numpy as np
import pytest

import fastdw

X = np.zeros((1, 8, 9, 16), np.float32)
WEIGHT = np.ones((16, 24), np.float32)
OUT_SHAPE = (1, 8, 9, 24)


def layer() -> object:
    return fastdw.prepare(fastdw.pointwise_conv2d, X.shape, WEIGHT)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X[:, :4]}, ValueError, r"^x: got .*1, 4, 9, 16.*; expected .*1, 8, 9, 16"),
        ({"x": X.astype(np.float64)}, TypeError, "^x: got float64; expected .*float32"),
        ({"x": None}, TypeError, "^x: got None.*; expected .*array"),
        ({"x": X, "out": np.zeros((1, 8, 9, 25), np.float32)}, ValueError, r"^out: got .*25.*; expected .*1, 8, 9, 24"),
        ({"x": X, "out": np.broadcast_to(np.float32(0), OUT_SHAPE)}, ValueError, "^out: got .*read-only.*; expected .*writ"),
        ({"x": X, "out": []}, TypeError, "^out: got list; expected .*array"),
        ({"x": X, "residual": np.zeros(OUT_SHAPE, np.float32)}, ValueError, "^residual: got an array; expected none"),
    ],
)
def test_layer_refuses_what_the_call_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        layer()(**arguments)


def test_layer_refuses_out_over_x():
    x = np.zeros(X.shape, np.float32)
    with pytest.raises(ValueError, match=r"^out: got .*overlap.*x; expected"):
        fastdw.prepare(fastdw.pointwise_conv2d, x.shape, np.eye(16, dtype=np.float32))(x, out=x)


def test_layer_made_for_a_residual_asks_for_it():
    prepared = fastdw.prepare(fastdw.pointwise_conv2d, X.shape, WEIGHT, residual=True)
    with pytest.raises(ValueError, match=r"^residual: got None; expected an array"):
        prepared(X)


@pytest.mark.parametrize(
    ("call", "weights", "keywords", "word"),
    [
        ("pointwise_conv2d", [WEIGHT], {"stride": 2}, "stride"),
        ("pointwise_conv2d", [WEIGHT], {"padding": "same"}, "padding"),
        ("pointwise_conv2d", [WEIGHT], {"names": ("a", "b", "c")}, "names"),
        ("dense", [WEIGHT], {"dilation": 2}, "dilation"),
        ("global_average_pool2d", [], {"activation": "relu"}, "activation"),
        ("global_average_pool2d", [WEIGHT], {}, "weight|positional"),
        ("depthwise_conv2d", [np.ones((3, 3, 16), np.float32)], {"strides": 2}, "strides"),
        ("depthwise_conv2d", [], {}, "weight"),
        ("separable_conv2d", [np.ones((3, 3, 16), np.float32)], {}, "pointwise_weight"),
    ],
)
def test_prepare_takes_no_argument_that_the_call_does_not(call, weights, keywords, word):
    shape = (2, 16) if call == "dense" else X.shape
    with pytest.raises(TypeError, match=word):
        fastdw.prepare(getattr(fastdw, call), shape, *weights, **keywords)


@pytest.mark.parametrize("function", [np.add, [], "depthwise_conv2d", None])
def test_prepare_names_a_function_it_does_not_know(function):
    with pytest.raises(TypeError, match=r"^function: got .*; expected .*depthwise_conv2d"):
        fastdw.prepare(function, X.shape, WEIGHT)


@pytest.mark.parametrize("shape", [(8, 9, 16), (1, 8, 0, 16), (1, 8, -9, 16), (1, 8, 9, "16"), (1, 8, 9, 16.0), 16, None])
def test_prepare_refuses_a_wrong_shape(shape):
    with pytest.raises((TypeError, ValueError), match=r"^x(_shape)?: got .*; expected "):
        fastdw.prepare(fastdw.pointwise_conv2d, shape, WEIGHT)


def test_prepared_layer_keeps_its_own_parameters():
    x, weight, bias = np.ones((1, 2, 2, 16), np.float32), WEIGHT.copy(), np.ones(24, np.float32)
    prepared = fastdw.prepare(fastdw.pointwise_conv2d, x.shape, weight, bias)
    weight[...] = bias[...] = 1000
    assert (prepared(x) == 17).all()
