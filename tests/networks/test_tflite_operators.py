"""Each operator in a model of its own: fastdw against LiteRT."""

import litert
import numpy as np
import pytest
from tiny_models import NONE, RELU, RELU6, RELU_N1_TO_1, SAME, VALID, TinyModel, conv, depthwise, pool, random

from fastdw.networks import load_tflite


def check(model: TinyModel, folder, tolerance: float = 1e-5, kinds: list[str] | None = None) -> np.ndarray:
    """Runs a float model here and in LiteRT."""
    network = load_tflite(model.save(folder))
    if kinds is not None:
        assert [layer.kind for layer in network.layers] == kinds
    x = np.random.default_rng(1).standard_normal(network.input_shape).astype(np.float32) * 4
    y = network(x)
    np.testing.assert_allclose(y, litert.run(model.pack(), x), atol=tolerance, rtol=tolerance)
    return y


@pytest.mark.parametrize("activation", [NONE, RELU, RELU_N1_TO_1, RELU6])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding", "out"),
    [((3, 3), (1, 1), (1, 1), SAME, (9, 8)), ((3, 2), (2, 1), (1, 1), VALID, (4, 7)), ((3, 3), (1, 1), (2, 3), SAME, (9, 8))],
)
def test_conv(tmp_path, kernel, stride, dilation, padding, out, activation):
    model = TinyModel(1, 9, 8, 3)
    conv(model, 0, (1, *out, 5), random(5, *kernel, 3), random(5), padding=padding, stride=stride, dilation=dilation, activation=activation)
    check(model, tmp_path, kinds=["conv2d"])


def test_conv_of_one_pixel_is_pointwise(tmp_path):
    model = TinyModel(1, 5, 4, 6)
    conv(model, 0, (1, 5, 4, 7), random(7, 1, 1, 6), random(7), activation=RELU)
    check(model, tmp_path, kinds=["pointwise_conv2d"])


def test_conv_of_one_pixel_with_a_stride(tmp_path):
    model = TinyModel(1, 5, 4, 6)
    conv(model, 0, (1, 3, 2, 7), random(7, 1, 1, 6), random(7), stride=(2, 2))
    check(model, tmp_path, kinds=["conv2d"])


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "dilation", "padding", "out"), [(1, (1, 1), SAME, (9, 8)), (2, (1, 1), SAME, (5, 4)), (1, (2, 1), VALID, (5, 6))]
)
def test_depthwise(tmp_path, multiplier, stride, dilation, padding, out):
    model = TinyModel(1, 9, 8, 4)
    weight = random(1, 3, 3, 4 * multiplier)
    depthwise(model, 0, (1, *out, 4 * multiplier), weight, stride=stride, dilation=dilation, padding=padding, activation=RELU6)
    check(model, tmp_path, kinds=["depthwise_conv2d"])


@pytest.mark.parametrize(
    ("input_shape", "keep", "output_shape"), [((2, 12), False, (2, 5)), ((1, 2, 3, 2), False, (1, 5)), ((1, 3, 12), True, (1, 3, 5))]
)
def test_fully_connected(tmp_path, input_shape, keep, output_shape):
    model = TinyModel(*input_shape)
    inputs = [0, model.constant(random(5, 12)), model.constant(random(5))]
    model.operator("FULLY_CONNECTED", inputs, output_shape, options="FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=RELU)
    check(model, tmp_path)


@pytest.mark.parametrize("activation", [NONE, RELU, RELU6])
@pytest.mark.parametrize("constant_shape", [(1, 4, 3, 5), (5,), (1, 4, 1, 5)])
def test_add_of_a_constant(tmp_path, constant_shape, activation):
    model = TinyModel(1, 4, 3, 5)
    inputs = [model.constant(random(*constant_shape)), 0]
    model.operator("ADD", inputs, (1, 4, 3, 5), options="AddOptions", fusedActivationFunction=activation)
    check(model, tmp_path, kinds=["add"])


def test_add_of_the_network_input_becomes_a_residual(tmp_path):
    model = TinyModel(1, 6, 6, 4)
    x = conv(model, 0, (1, 6, 6, 4), random(4, 3, 3, 4), random(4))
    model.operator("ADD", [0, x], (1, 6, 6, 4), options="AddOptions", fusedActivationFunction=RELU)
    check(model, tmp_path, kinds=["conv2d"])


@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize(
    ("window", "stride", "padding", "out"),
    [((2, 2), (2, 2), VALID, (4, 3)), ((3, 3), (2, 2), SAME, (5, 4)), ((3, 2), (1, 3), SAME, (9, 3)), ((9, 7), (1, 1), VALID, (1, 1))],
)
def test_pools(tmp_path, kind, window, stride, padding, out):
    model = TinyModel(1, 9, 7, 3)
    pool(model, kind, 0, (1, *out, 3), window, stride, padding)
    check(model, tmp_path)


def test_average_pool_of_the_whole_image_is_global(tmp_path):
    model = TinyModel(1, 9, 7, 3)
    pool(model, "AVERAGE_POOL_2D", 0, (1, 1, 1, 3), (9, 7), (9, 7), VALID, activation=RELU)
    check(model, tmp_path, kinds=["global_average_pool2d", "activation"])


@pytest.mark.parametrize(("axes", "keep", "output_shape"), [((1, 2), False, (1, 3)), ((-2, 1), True, (1, 1, 1, 3))])
def test_mean(tmp_path, axes, keep, output_shape):
    model = TinyModel(1, 9, 7, 3)
    model.operator("MEAN", [0, model.constant(axes, np.int32)], output_shape, options="ReducerOptions", keepDims=keep)
    check(model, tmp_path, kinds=["global_average_pool2d"])


def test_pad_alone(tmp_path):
    model = TinyModel(1, 5, 4, 3)
    model.operator("PAD", [0, model.constant([[0, 0], [1, 2], [0, 3], [1, 0]], np.int32)], (1, 8, 7, 4), options="PadOptions")
    check(model, tmp_path, kinds=["pad"])


@pytest.mark.parametrize(("padding", "out"), [(VALID, (3, 3)), (SAME, (4, 4))])
def test_pad_becomes_padding_of_the_convolution(tmp_path, padding, out):
    model = TinyModel(1, 6, 5, 3)
    x = model.operator("PAD", [0, model.constant([[0, 0], [0, 1], [0, 2], [0, 0]], np.int32)], (1, 7, 7, 3), options="PadOptions")
    depthwise(model, x, (1, *out, 3), random(1, 3, 3, 3), stride=2, padding=padding)
    check(model, tmp_path, kinds=["depthwise_conv2d"])


@pytest.mark.parametrize(
    ("name", "options", "fields"),
    [
        ("SOFTMAX", "SoftmaxOptions", {"beta": 0.5}),
        ("GELU", "GeluOptions", {"approximate": False}),
        *[(name, "", {}) for name in ("LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "HARD_SWISH", "TANH")],
    ],
)
def test_elementwise(tmp_path, name, options, fields):
    model = TinyModel(2, 11)
    model.operator(name, [0], (2, 11), options=options, **fields)
    check(model, tmp_path)


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL", "DIV"])
@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (5, 4, 3), ()])
def test_a_constant_operand(tmp_path, name, shape):
    model = TinyModel(1, 5, 4, 3)
    constant = model.constant(np.abs(random(*shape)) + 0.5)
    model.operator(name, [0, constant], (1, 5, 4, 3), options=f"{name.title()}Options", fusedActivationFunction=RELU)
    check(model, tmp_path)


@pytest.mark.parametrize("name", ["ADD", "MUL"])
def test_two_operands_of_which_one_is_broadcast(tmp_path, name):
    model = TinyModel(1, 5, 4, 3)
    mean = model.operator("MEAN", [0, model.constant([1, 2], np.int32)], (1, 1, 1, 3), options="ReducerOptions", keepDims=True)
    model.operator(name, [mean, 0], (1, 5, 4, 3), options=f"{name.title()}Options", fusedActivationFunction=RELU6)
    check(model, tmp_path)


@pytest.mark.parametrize("axis", [2, -1])
def test_concatenation(tmp_path, axis):
    model = TinyModel(1, 5, 4, 3)
    x = model.operator("RELU6", [0], (1, 5, 4, 3))
    shape = (1, 5, 4, 9) if axis == -1 else (1, 5, 12, 3)
    model.operator("CONCATENATION", [0, x, 0], shape, options="ConcatenationOptions", axis=axis)
    check(model, tmp_path)


@pytest.mark.parametrize("size", [(9, 13), (3, 2), (5, 4), (1, 1)])
@pytest.mark.parametrize("way", [{}, {"alignCorners": True}, {"halfPixelCenters": True}])
def test_resize_bilinear(tmp_path, size, way):
    model = TinyModel(1, 5, 4, 3)
    model.operator("RESIZE_BILINEAR", [0, model.constant(size, np.int32)], (1, *size, 3), options="ResizeBilinearOptions", **way)
    check(model, tmp_path)


def test_transpose(tmp_path):
    model = TinyModel(1, 5, 4, 3)
    model.operator("TRANSPOSE", [0, model.constant([0, 3, 1, 2], np.int32)], (1, 3, 5, 4), options="TransposeOptions")
    check(model, tmp_path)


@pytest.mark.parametrize("where", ["first", "middle", "last", "alone"])
def test_reshape_anywhere(tmp_path, where):
    model = TinyModel(2, 3, 4)
    x = 0 if where in ("first", "alone") else model.operator("RELU", [0], (2, 3, 4))
    x = model.operator("RESHAPE", [x, model.constant([4, 6], np.int32)], (4, 6), options="ReshapeOptions", newShape=[4, 6])
    if where in ("first", "middle"):
        model.operator("RELU6", [x], (4, 6))
    check(model, tmp_path)


def test_squeeze(tmp_path):
    model = TinyModel(1, 1, 1, 6)
    x = model.operator("SQUEEZE", [0], (1, 6), options="SqueezeOptions", squeezeDims=[1, 2])
    model.operator("SOFTMAX", [x], (1, 6), options="SoftmaxOptions", beta=1.0)
    check(model, tmp_path, kinds=["reshape", "softmax"])


def test_half_precision_weights(tmp_path):
    model = TinyModel(1, 5, 4, 3)
    weight, bias = random(4, 3, 3, 3).astype(np.float16), random(4).astype(np.float16)
    inputs = [0, *(model.operator("DEQUANTIZE", [model.constant(values, np.float16)], values.shape) for values in (weight, bias))]
    options = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    model.operator("CONV_2D", inputs, (1, 5, 4, 4), options="Conv2DOptions", **options)
    check(model, tmp_path, tolerance=1e-4)


def quantised_conv(activation: int, zero_point: int) -> TinyModel:
    """int8, a scale for each output channel; the output ranges over 6.4 from -6.4 * (zero_point + 128) / 256."""
    model = TinyModel(1, 5, 4, 3, dtype=np.int8, scale=0.5, zero_point=3)
    weight = np.random.default_rng(2).integers(-127, 128, (4, 3, 3, 3))
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    inputs = [0, model.constant(weight, np.int8, scale=scales), model.constant([5, -7, 9, 11], np.int32, scale=scales * np.float32(0.5))]
    options = {
        "padding": SAME,
        "strideH": 1,
        "strideW": 1,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
        "fusedActivationFunction": activation,
    }
    quantisation = {"scale": 6.4 / 256, "zero_point": zero_point}
    model.operator("CONV_2D", inputs, (1, 5, 4, 4), np.int8, options="Conv2DOptions", quantisation=quantisation, **options)
    return model


def test_quantised_conv_is_within_a_step_of_the_integers(tmp_path):
    model = quantised_conv(RELU6, zero_point=-128)
    network = load_tflite(model.save(tmp_path))
    stored = np.random.default_rng(3).integers(-4, 10, network.input_shape).astype(np.int8)
    x = (stored.astype(np.float32) - 3) * np.float32(0.5)
    expected = (litert.run(model.pack(), stored).astype(np.float32) + 128) * np.float32(6.4 / 256)
    assert np.abs(network(x) - expected).max() <= 0.6 * 6.4 / 256
    assert expected.min() == 0
    assert expected.max() > 5.9


def test_a_range_that_starts_at_zero_stands_for_the_activation(tmp_path):
    model = quantised_conv(NONE, zero_point=-128)
    network = load_tflite(model.save(tmp_path))
    stored = np.random.default_rng(3).integers(-4, 10, network.input_shape).astype(np.int8)
    x = (stored.astype(np.float32) - 3) * np.float32(0.5)
    expected = (litert.run(model.pack(), stored).astype(np.float32) + 128) * np.float32(6.4 / 256)
    assert np.abs(network(x) - expected).max() <= 0.6 * 6.4 / 256
    assert expected.min() == 0
    assert expected.max() > 6.3


@pytest.mark.parametrize("zero_point", [-128, 0])
def test_a_range_that_quantisation_starts_at_zero_stands_for_the_activation(tmp_path, zero_point):
    model = TinyModel(1, 5, 4, 3)
    y = model.operator("ADD", [0, model.constant([1.0])], (1, 5, 4, 3), options="AddOptions")
    y = model.operator("QUANTIZE", [y], (1, 5, 4, 3), np.int8, quantisation={"scale": 0.2, "zero_point": zero_point})
    model.operator("DEQUANTIZE", [y], (1, 5, 4, 3))
    y = check(model, tmp_path, tolerance=0.101, kinds=["add"])
    assert (y.min() < -1) == (zero_point == 0)


def test_a_range_around_zero_stands_for_no_activation(tmp_path):
    y = load_tflite(quantised_conv(NONE, zero_point=0).save(tmp_path))(np.full((1, 5, 4, 3), 9, np.float32))
    assert y.min() < -6.4
    assert y.max() > 6.4
