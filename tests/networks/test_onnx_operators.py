"""Each ONNX operator in a model of its own: fastdw against ONNX Runtime."""

import numpy as np
import pytest
import tiny_onnx
from tiny_onnx import TinyOnnx, random

from fastdw.networks import Network, load_onnx, read_onnx


def check(model: TinyOnnx, folder, kinds: list[str] | None = None, tolerance: float = 1e-5) -> None:
    """Runs a model whose image is NCHW here and in ONNX Runtime."""
    graph = read_onnx(model.save(folder))
    network = Network(graph)
    if kinds is not None:
        assert [layer.kind for layer in network.layers] == kinds
    shape = tuple(size if isinstance(size, int) else 1 for size in model.input_shape)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32) * 4
    expected = tiny_onnx.run(model, x)
    y = network(np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x)
    if expected.ndim == x.ndim == 4:
        expected = expected.transpose(0, 2, 3, 1)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 1, 2, 1], "strides": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID", "dilations": [2, 1]},
    ],
)
def test_conv(tmp_path, attributes):
    model = TinyOnnx(1, 3, 9, 8)
    model.node("Conv", "x", model.constant(random(5, 3, 3, 3)), model.constant(random(5)), **attributes)
    check(model, tmp_path, ["conv2d"])


@pytest.mark.parametrize(("groups", "multiplier", "kind"), [(4, 1, "depthwise"), (4, 2, "depthwise"), (2, 1, "grouped"), (2, 3, "grouped")])
def test_groups(tmp_path, groups, multiplier, kind):
    model = TinyOnnx(1, 4, 9, 8)
    weight = model.constant(random(4 * multiplier, 4 // groups, 3, 3))
    y = model.node("Conv", "x", weight, model.constant(random(4 * multiplier)), group=groups, strides=[2, 1], pads=[1, 1, 1, 1])
    model.node("Relu", y)
    check(model, tmp_path, [f"{kind}_conv2d"])


def test_a_grouped_convolution_takes_a_residual(tmp_path):
    model = TinyOnnx(1, 4, 5, 6)
    y = model.node("Conv", "x", model.constant(random(4, 2, 3, 3)), group=2, pads=[1, 1, 1, 1])
    model.node("Relu", model.node("Add", y, "x"))
    check(model, tmp_path, ["grouped_conv2d"])


def test_conv_of_one_pixel_is_pointwise(tmp_path):
    model = TinyOnnx("batch", 6, 5, 4)
    model.node("Conv", "x", model.constant(random(7, 6, 1, 1)))
    check(model, tmp_path, ["pointwise_conv2d"])


def test_a_batch_of_minus_one(tmp_path):
    model = TinyOnnx(-1, 3, 4, 5)
    model.node("Relu", "x")
    assert read_onnx(model.save(tmp_path)).input_shape == (1, 4, 5, 3)


@pytest.mark.parametrize("to", [1, 10, 11, 16])
def test_cast_to_floats_of_another_size(tmp_path, to):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", model.node("Cast", model.node("Cast", "x", to=to), to=1))
    check(model, tmp_path, ["activation"], tolerance=0.02)


def test_dropout_does_nothing(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Relu", model.node("Dropout", "x", model.constant(0.5), model.constant(False, bool)))
    check(model, tmp_path, ["activation"])


def test_batch_normalisation_is_folded(tmp_path):
    model = TinyOnnx(1, 4, 5, 6)
    y = model.node("Conv", "x", model.constant(random(4, 1, 3, 3)), group=4, pads=[1, 1, 1, 1])
    y = model.node("BatchNormalization", y, *(model.constant(np.abs(random(4)) + size) for size in (1, 2, 3, 4)), epsilon=1e-3)
    model.node("Clip", y, model.constant(0), model.constant(6))
    check(model, tmp_path, ["depthwise_conv2d"])


def test_batch_normalisation_alone(tmp_path):
    model = TinyOnnx(1, 4, 5, 6)
    model.node("BatchNormalization", "x", *(model.constant(np.abs(random(4)) + size) for size in (1, 2, 3, 4)))
    check(model, tmp_path, ["multiply", "add"])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 2)])
def test_a_bias_of_gemm_is_broadcast(tmp_path, shape):
    model = TinyOnnx(2, 6)
    model.node("Gemm", "x", model.constant(random(6, 2)), model.constant(random(*shape)))
    check(model, tmp_path, ["dense"])


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
def test_gemm(tmp_path, attributes):
    model = TinyOnnx(2, 6)
    weight = random(5, 6) if attributes.get("transB") else random(6, 5)
    model.node("Gemm", "x", model.constant(weight), model.constant(random(5)), **attributes)
    check(model, tmp_path, ["dense"])


@pytest.mark.parametrize("shape", [(2, 6), (1, 3, 6)])
def test_matmul_and_bias(tmp_path, shape):
    model = TinyOnnx(*shape)
    y = model.node("MatMul", "x", model.constant(random(6, 5)))
    model.node("Add", model.constant(random(5)), y)
    check(model, tmp_path, ["dense"] if len(shape) == 2 else None)


@pytest.mark.parametrize(
    ("kind", "opset", "attributes"),
    [
        ("Relu", 17, {}),
        ("HardSwish", 17, {}),
        ("HardSigmoid", 17, {"alpha": 1 / 6}),
        ("HardSigmoid", 17, {}),
        ("Sigmoid", 17, {}),
        ("Tanh", 17, {}),
        ("Gelu", 20, {}),
        ("Softmax", 17, {"axis": 1}),
        ("Softmax", 17, {"axis": 2}),
        ("Softmax", 11, {"axis": 3}),
        ("Identity", 17, {}),
        ("Clip", 7, {"min": -1.0, "max": 2.0}),
    ],
)
def test_elementwise(tmp_path, kind, opset, attributes):
    model = TinyOnnx(1, 3, 4, 5, opset=opset)
    model.node("Relu", model.node(kind, "x", **attributes))
    check(model, tmp_path)


@pytest.mark.parametrize("bounds", [("low", "high"), ("low", ""), ("", "high")])
def test_clip(tmp_path, bounds):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Clip", "x", *(model.constant({"low": -1.0, "high": 2.0}[name]) if name else "" for name in bounds))
    check(model, tmp_path)


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1), (5,), (1, 3, 4, 5)])
def test_a_constant_operand(tmp_path, kind, shape):
    model = TinyOnnx(1, 3, 4, 5)
    model.node(kind, "x", model.constant(np.abs(random(*shape)) + 0.5))
    check(model, tmp_path)


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_two_operands_of_which_one_is_broadcast(tmp_path, kind):
    model = TinyOnnx(1, 3, 4, 5)
    model.node(kind, model.node("ReduceMean", "x", axes=[-1, 2]), "x")
    check(model, tmp_path)


def test_hard_swish_written_out(tmp_path):
    model = TinyOnnx(1, 4, 5, 6)
    y = model.node("Conv", "x", model.constant(random(4, 4, 1, 1)))
    gate = model.node("Clip", model.node("Add", y, model.constant(3)), model.constant(0), model.constant(6))
    model.node("Mul", y, model.node("Div", gate, model.constant(6)))
    check(model, tmp_path, ["pointwise_conv2d"])


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 2], "strides": [2, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    ],
)
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "counted"])
def test_pools(tmp_path, kind, attributes):
    model = TinyOnnx(1, 3, 9, 7)
    model.node(
        *(("AveragePool", "x") if kind == "counted" else (kind, "x")), **attributes, **{"count_include_pad": 1} if kind == "counted" else {}
    )
    check(model, tmp_path)


def test_pool_of_the_whole_image_is_global(tmp_path):
    model = TinyOnnx(1, 3, 9, 7)
    model.node("AveragePool", "x", kernel_shape=[9, 7])
    check(model, tmp_path, ["global_average_pool2d"])


@pytest.mark.parametrize("ending", ["Flatten", "Squeeze", "Reshape", "shape arithmetic"])
def test_classifier_endings(tmp_path, ending):
    """From a pooled image to rows, in the ways that exporters write it: no transposition is left."""
    model = TinyOnnx(1, 8, 5, 4)
    y = model.node("GlobalAveragePool", "x")
    if ending == "Squeeze":
        y = model.node("Squeeze", y, model.constant([2, 3], np.int64))
    elif ending == "Reshape":
        y = model.node("Reshape", y, model.constant([0, -1], np.int64))
    elif ending == "shape arithmetic":
        batch = model.node("Gather", model.node("Shape", y), model.constant(0, np.int64), axis=0)
        rows = model.node("Unsqueeze", batch, model.constant([0], np.int64))
        y = model.node("Reshape", y, model.node("Concat", rows, model.constant([-1], np.int64), axis=0))
    else:
        y = model.node("Flatten", y)
    model.node("Gemm", y, model.constant(random(8, 5)))
    check(model, tmp_path, ["global_average_pool2d", "dense"])


def test_flatten_of_an_image_keeps_the_order_of_the_file(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Gemm", model.node("Flatten", "x"), model.constant(random(60, 5)))
    check(model, tmp_path)


@pytest.mark.parametrize(("shape", "zeros"), [([1, 6, 5, 2], 0), ([0, 0, 20], 0), ([1, 1, 3, 20], 0), ([1, -1], 1)])
def test_reshape(tmp_path, shape, zeros):
    model = TinyOnnx(1, 3, 4, 5)
    y = model.node("Reshape", model.node("Relu", "x"), model.constant(shape, np.int64), allowzero=zeros)
    model.node("Tanh", y)
    check(model, tmp_path)


def test_unsqueeze(tmp_path):
    model = TinyOnnx(3, 4)
    model.node("Unsqueeze", "x", model.constant([0, -1], np.int64))
    check(model, tmp_path)


def test_an_image_that_is_nhwc_in_the_file(tmp_path):
    model = TinyOnnx(1, 5, 6, 4)
    y = model.node("Transpose", "x", perm=[0, 3, 1, 2])
    y = model.node("Conv", y, model.constant(random(4, 1, 3, 3)), group=4, pads=[1, 1, 1, 1])
    model.node("Transpose", y, perm=[0, 2, 3, 1])
    network = load_onnx(model.save(tmp_path))
    assert [layer.kind for layer in network.layers] == ["depthwise_conv2d"]
    x = random(1, 5, 6, 4)
    np.testing.assert_allclose(network(x), tiny_onnx.run(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ending", "is_nhwc"),
    [
        ([], False),
        ([("Relu", {})], False),
        ([("Transpose", {"perm": [0, 2, 3, 1]}), ("Softmax", {"axis": 3})], True),
        ([("Transpose", {"perm": [0, 2, 3, 1]}), ("Reshape", {"shape": [1, 3, 10, 4]})], True),
        ([("Softmax", {"axis": 2})], False),
        ([("Reshape", {"shape": [1, 2, 2, 5, 6]}), ("Transpose", {"perm": [0, 1, 3, 2, 4]}), ("Reshape", {"shape": [1, 2, 10, 6]})], False),
    ],
)
@pytest.mark.parametrize("input_is_nhwc", [False, True])
def test_images_are_nhwc_here(tmp_path, ending, is_nhwc, input_is_nhwc):
    """Whichever of its input and output the file has as NHWC."""
    model = TinyOnnx(*((1, 5, 6, 4) if input_is_nhwc else (1, 4, 5, 6)))
    y = model.node("Transpose", "x", perm=[0, 3, 1, 2]) if input_is_nhwc else "x"
    y = model.node("Conv", y, model.constant(random(4, 4, 1, 1)))
    for kind, how in ending:
        y = model.node(kind, y, model.constant(how["shape"], np.int64)) if kind == "Reshape" else model.node(kind, y, **how)
    x = random(1, 5, 6, 4)
    expected = tiny_onnx.run(model, x if input_is_nhwc else np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    y = load_onnx(model.save(tmp_path))(x)
    np.testing.assert_allclose(y, expected if is_nhwc else expected.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_an_image_that_is_nhwc_in_the_file_and_prepared_there(tmp_path):
    model = TinyOnnx(1, 5, 6, 4)
    y = model.node("Div", model.node("Sub", "x", model.constant(random(4))), model.constant(2))
    model.node("Conv", model.node("Transpose", y, perm=[0, 3, 1, 2]), model.constant(random(3, 4, 1, 1)))
    x = random(1, 5, 6, 4)
    expected = tiny_onnx.run(model, x).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(load_onnx(model.save(tmp_path))(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat(tmp_path, axis):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Concat", model.node("Relu", "x"), "x", axis=axis)
    check(model, tmp_path, ["activation", "concatenate"])


@pytest.mark.parametrize("opset", [7, 17])
def test_pad(tmp_path, opset):
    model = TinyOnnx(1, 3, 4, 5, opset=opset)
    pads = [0, 0, 1, 2, 0, 0, 0, 3]
    y = model.node("Pad", "x", pads=pads, value=0.0) if opset == 7 else model.node("Pad", "x", model.constant(pads, np.int64))
    model.node("Conv", y, model.constant(random(3, 1, 3, 3)), group=3)
    check(model, tmp_path, ["depthwise_conv2d"])


@pytest.mark.parametrize("place", ["align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("by", ["sizes", "scales"])
def test_resize(tmp_path, place, by):
    model = TinyOnnx(1, 3, 4, 5)
    inputs = ["", model.constant([1, 1, 2, 3])] if by == "scales" else ["", "", model.constant([1, 3, 9, 3], np.int64)]
    model.node("Resize", "x", *inputs, mode="linear", coordinate_transformation_mode=place)
    check(model, tmp_path, ["resize_bilinear"])


@pytest.mark.parametrize("place", ["align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("scales", [(1.3, 1.7), (0.7, 2.3), (0.7, 0.6)])
def test_resize_by_scales_that_give_no_whole_size(tmp_path, scales, place):
    model = TinyOnnx(1, 3, 10, 7)
    model.node("Resize", "x", "", model.constant([1, 1, *scales]), mode="linear", coordinate_transformation_mode=place)
    check(model, tmp_path)


def test_resize_by_scales_before_half_pixels(tmp_path):
    model = TinyOnnx(1, 3, 10, 7, opset=10)
    model.node("Resize", "x", model.constant([1, 1, 1.3, 0.6]), mode="linear")
    check(model, tmp_path)


@pytest.mark.parametrize(
    ("by", "axes", "values"),
    [("scales", [2, 3], [1.3, 2]), ("scales", [-1, 2], [2, 1.3]), ("sizes", [3], [9]), ("sizes", [3, 1, 2], [9, 3, 5])],
)
def test_resize_of_some_axes(tmp_path, by, axes, values):
    model = TinyOnnx(1, 3, 4, 5, opset=18)
    inputs = ["", model.constant(values)] if by == "scales" else ["", "", model.constant(values, np.int64)]
    model.node("Resize", "x", *inputs, mode="linear", axes=axes)
    check(model, tmp_path, ["resize_bilinear"])


def test_resize_to_more_with_a_filter_for_less(tmp_path):
    model = TinyOnnx(1, 3, 4, 5, opset=18)
    model.node("Resize", "x", "", model.constant([1, 1, 1.3, 2]), mode="linear", antialias=1)
    check(model, tmp_path)


def test_half_precision_weights(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    model.node("Conv", "x", model.node("Cast", model.constant(random(4, 3, 1, 1), np.float16), to=1))
    check(model, tmp_path, ["pointwise_conv2d"])


def test_quantised(tmp_path):
    """Weights of each channel dequantised; the activations within a step of the integers."""
    model = TinyOnnx(1, 3, 4, 5)
    scale, zero = model.constant(0.05), model.constant(128, np.uint8)
    x = model.node("DequantizeLinear", model.node("QuantizeLinear", "x", scale, zero), scale, zero)
    integers = np.random.default_rng(2).integers(-127, 128, (6, 3, 1, 1))
    weight = model.node("DequantizeLinear", model.constant(integers, np.int8), model.constant(0.01 * np.arange(1, 7)), axis=0)
    y = model.node("Conv", x, weight)
    scale, zero = model.constant(0.02), model.constant(0, np.uint8)
    model.node("DequantizeLinear", model.node("QuantizeLinear", y, scale, zero), scale, zero)
    network = load_onnx(model.save(tmp_path))
    assert [layer.kind for layer in network.layers] == ["pointwise_conv2d"]
    x = np.round(random(1, 3, 4, 5) * 20) * np.float32(0.05)
    expected = tiny_onnx.run(model, x).transpose(0, 2, 3, 1)
    assert np.abs(network(np.ascontiguousarray(x.transpose(0, 2, 3, 1))) - expected).max() <= 0.011
    assert expected.min() == 0
    assert expected.max() > 5


@pytest.mark.parametrize("how", [{}, {"output_dtype": 0}, {"output_dtype": 2}, {"output_dtype": 3}, {"output_dtype": 5}])
def test_integers_without_a_zero_point(tmp_path, how):
    """uint8 unless the node tells another type: its range starts at 0, which stands for a relu."""
    model = TinyOnnx(1, 3, 4, 5, opset=21)
    scale = model.constant(0.2)
    y = model.node("QuantizeLinear", model.node("Add", "x", model.constant(1)), scale, **how)
    model.node("DequantizeLinear", y, scale)
    check(model, tmp_path, ["add"], tolerance=0.101)


def test_integers_that_are_moved(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    scale, zero = model.constant(0.2), model.constant(3, np.int8)
    y = model.node("MaxPool", model.node("QuantizeLinear", "x", scale, zero), kernel_shape=[2, 2])
    y = model.node("Concat", model.node("Transpose", y, perm=[0, 1, 3, 2]), model.node("Transpose", y, perm=[0, 1, 3, 2]), axis=1)
    model.node("DequantizeLinear", model.node("Reshape", y, model.constant([1, -1], np.int64)), scale, zero)
    check(model, tmp_path, tolerance=0.101)


def test_integers_of_each_channel_without_negative_ones(tmp_path):
    model = TinyOnnx(1, 3, 4, 5)
    scale, zero = model.constant([0.2, 0.25, 0.3]), model.constant([0, 0, 0], np.uint8)
    y = model.node("QuantizeLinear", model.node("Add", "x", model.constant(1)), scale, zero, axis=1)
    model.node("DequantizeLinear", y, scale, zero, axis=1)
    check(model, tmp_path, ["add"], tolerance=0.151)


@pytest.mark.parametrize("axis", [None, 0, -4])
def test_weights_that_the_file_quantises(tmp_path, axis):
    """Halves go to even, what is out of range to its end; of all or of each output channel."""
    scale, zero = (np.float32(0.5), np.int8(0)) if axis is None else (np.float32([0.5, 0.25]), np.int8([1, -2]))
    weight = np.float32([[0.25, 0.75, -80], [0.6, -0.125, 40]])
    integers = np.array([[0, 2, -128], [1, 0, 80]] if axis is None else [[1, 3, -128], [0, -2, 127]])
    model = TinyOnnx(1, 3, 4, 5)
    inputs, where = (model.constant(scale), model.constant(zero, np.int8)), {} if axis is None else {"axis": axis}
    stored = model.node("QuantizeLinear", model.constant(weight[..., None, None]), *inputs, **where)
    model.node("Conv", "x", model.node("DequantizeLinear", stored, *inputs, **where))
    (layer,) = read_onnx(model.save(tmp_path)).layers
    np.testing.assert_array_equal(layer.weight.T, (integers - np.reshape(zero, (-1, 1))) * np.reshape(scale, (-1, 1)))
    check(model, tmp_path, ["pointwise_conv2d"], tolerance=1e-4)
