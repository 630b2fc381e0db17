"""Weights of other frameworks: a converted weight computes what the framework's own formula computes.

Numbers are small and whole unless said otherwise, so that every sum is exact and a wrong layout gives a wrong number.
"""

from pathlib import Path

import numpy as np
import oracle
import pytest

import fastdw
from fastdw import weights
from fastdw.packing import ALIGNMENT_BYTES
from fastdw.weights import fold_batch_norm, from_keras, from_onnx, from_torch

DOCUMENT = Path(__file__).parents[1] / "docs/weights.md"
FROM = {"torch": from_torch, "onnx": from_onnx, "keras": from_keras}


def whole(*shape: int, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(dtype)


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


# ---- the frameworks' own formulas, one multiplication at a time ----


def outputs_first_conv(x: np.ndarray, weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """Conv2d of PyTorch and Conv of ONNX: x NCHW, weight [out][in/groups][kernel_h][kernel_w], stride 1, no padding."""
    n_out, group_in, *kernel = weight.shape
    y = np.zeros((len(x), n_out, *(extent - taps + 1 for extent, taps in zip(x.shape[2:], kernel, strict=True))))
    for n, o, i, j in np.ndindex(*y.shape):
        first = o // (n_out // groups) * group_in
        for c, p, q in np.ndindex(group_in, *kernel):
            y[n, o, i, j] += float(x[n, first + c, i + p, j + q]) * float(weight[o, c, p, q])
    return y


def outputs_last_conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Conv2D of Keras: x NHWC, kernel [kernel_h][kernel_w][in][out], stride 1, "valid"."""
    y = np.zeros((len(x), x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1, kernel.shape[3]))
    for n, i, j, o in np.ndindex(*y.shape):
        for p, q, c in np.ndindex(*kernel.shape[:3]):
            y[n, i, j, o] += float(x[n, i + p, j + q, c]) * float(kernel[p, q, c, o])
    return y


def outputs_last_depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """DepthwiseConv2D of Keras: kernel [kernel_h][kernel_w][channels][multiplier]; output c*multiplier + m."""
    multiplier = kernel.shape[3]
    y = np.zeros((len(x), x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1, kernel.shape[2] * multiplier))
    for n, i, j, c, m in np.ndindex(*y.shape[:3], kernel.shape[2], multiplier):
        for p, q in np.ndindex(*kernel.shape[:2]):
            y[n, i, j, c * multiplier + m] += float(x[n, i + p, j + q, c]) * float(kernel[p, q, c, m])
    return y


# ---- layouts ----


@pytest.mark.parametrize("framework", ["torch", "onnx"])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_of_outputs_first(framework, multiplier):
    x, weight = whole(2, 5, 6, 7), whole(5 * multiplier, 1, 3, 2)
    converted = FROM[framework](weight, "depthwise", multiplier=multiplier)
    assert converted.shape == (3, 2, 5, multiplier)
    np.testing.assert_array_equal(nchw(fastdw.depthwise_conv2d(nhwc(x), converted)), outputs_first_conv(x, weight, groups=5))


@pytest.mark.parametrize("framework", ["torch", "onnx"])
def test_pointwise_of_outputs_first(framework):
    x, weight = whole(2, 5, 3, 4), whole(6, 5, 1, 1)
    converted = FROM[framework](weight, "pointwise")
    assert converted.shape == (5, 6)
    np.testing.assert_array_equal(nchw(fastdw.pointwise_conv2d(nhwc(x), converted)), outputs_first_conv(x, weight))


@pytest.mark.parametrize("framework", ["torch", "onnx"])
def test_conv_of_outputs_first(framework):
    x, weight = whole(2, 5, 6, 7), whole(4, 5, 3, 2)
    converted = FROM[framework](weight, "conv")
    assert converted.shape == (3, 2, 5, 4)
    np.testing.assert_array_equal(nchw(fastdw.conv2d(nhwc(x), converted)), outputs_first_conv(x, weight))


@pytest.mark.parametrize(
    ("convert", "weight"),
    [
        (lambda weight: from_torch(weight, "dense"), whole(7, 5)),
        (lambda weight: from_onnx(weight, "dense", transposed=True), whole(7, 5)),
        (lambda weight: from_onnx(weight.T, "dense"), whole(7, 5)),
        (lambda weight: from_keras(weight.T, "dense"), whole(7, 5)),
    ],
    ids=["torch", "onnx-transposed", "onnx", "keras"],
)
def test_dense(convert, weight):
    """weight is [out][in], as PyTorch has it."""
    x, converted = whole(3, 5), convert(weight)
    expected = [[sum(float(x[n, c]) * float(weight[o, c]) for c in range(5)) for o in range(7)] for n in range(3)]
    np.testing.assert_array_equal(fastdw.dense(x, converted), expected)


@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_of_keras(multiplier):
    x, kernel = whole(2, 6, 7, 5), whole(3, 2, 5, multiplier)
    converted = from_keras(kernel, "depthwise")
    np.testing.assert_array_equal(fastdw.depthwise_conv2d(x, converted), outputs_last_depthwise(x, kernel))


def test_conv_of_keras():
    x, kernel = whole(2, 6, 7, 5), whole(3, 2, 5, 4)
    np.testing.assert_array_equal(fastdw.conv2d(x, from_keras(kernel, "conv")), outputs_last_conv(x, kernel))


def test_two_kernels_of_a_separable_keras_layer():
    x, depthwise, pointwise = whole(1, 5, 6, 4), whole(3, 3, 4, 2), whole(1, 1, 8, 5)
    y = fastdw.separable_conv2d(x, from_keras(depthwise, "depthwise"), from_keras(pointwise, "pointwise"))
    np.testing.assert_array_equal(y, outputs_last_conv(outputs_last_depthwise(x, depthwise), pointwise))


@pytest.mark.parametrize("kind", ["depthwise", "pointwise", "conv"])
def test_a_one_dimensional_filter_has_one_row(kind):
    shape = {"depthwise": (6, 1, 3), "pointwise": (6, 4, 1), "conv": (6, 4, 3)}[kind]
    weight = whole(*shape)
    for convert in (from_torch, from_onnx):
        np.testing.assert_array_equal(convert(weight, kind), convert(weight[:, :, None], kind))
    kernel = weight.transpose(2, 1, 0) if kind != "depthwise" else weight.transpose(2, 0, 1)
    np.testing.assert_array_equal(from_keras(kernel, kind), from_keras(kernel[None], kind))
    np.testing.assert_array_equal(from_keras(kernel, kind), from_torch(weight, kind))


# ---- beside the frameworks themselves ----

GROUPED = {"depthwise": ((10, 1, 3, 2), 5), "pointwise": ((6, 5, 1, 1), 1), "conv": ((4, 5, 3, 2), 1)}


def by_fastdw(kind: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    call = {"depthwise": fastdw.depthwise_conv2d, "pointwise": fastdw.pointwise_conv2d, "conv": fastdw.conv2d}[kind]
    return nchw(call(nhwc(x), weight))


@pytest.mark.parametrize("kind", GROUPED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_beside_torch(kind, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shape, groups = GROUPED[kind]
    x, weight = whole(2, 5, 6, 7), torch.from_numpy(whole(*shape)).to(getattr(torch, dtype))
    converted = from_torch(weight, kind, multiplier=shape[0] // groups if groups > 1 else 1)
    expected = torch.nn.functional.conv2d(torch.from_numpy(x), weight.float(), groups=groups)
    np.testing.assert_array_equal(by_fastdw(kind, x, converted), expected.numpy())


def test_dense_beside_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, weight = whole(3, 5), whole(7, 5)
    expected = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
    np.testing.assert_array_equal(fastdw.dense(x, from_torch(torch.from_numpy(weight), "dense")), expected.numpy())


def test_batch_norm_beside_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, weight, norm = real(2, 5, 6, 7), real(10, 1, 3, 3), torch.nn.BatchNorm2d(10).eval().requires_grad_(False)
    for array in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        array.uniform_(0.5, 2)
    converted = from_torch(weight, "depthwise", multiplier=2)
    folded = fold_batch_norm(converted, None, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps, kind="depthwise")
    expected = norm(torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), groups=5))
    np.testing.assert_allclose(nchw(fastdw.depthwise_conv2d(nhwc(x), *folded)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", ["parameter", "meta", "integer", "float8"])
def test_a_tensor_that_cannot_be_taken(make):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor, words = {
        "parameter": (lambda: torch.nn.Parameter(torch.zeros(2, 2)), r"got a Parameter that requires grad; expected .*\.detach\(\)"),
        "meta": (lambda: torch.zeros(2, 2, device="meta"), "got a Tensor that NumPy cannot view .*; expected a floating-point array on"),
        "integer": (lambda: torch.zeros(2, 2, dtype=torch.int8), "got int8; expected float16, bfloat16, float32 or float64"),
        "float8": (lambda: torch.zeros(2, 2).to(torch.float8_e5m2), "got a Tensor that NumPy cannot view .*; expected"),
    }[make]
    with pytest.raises(TypeError, match=f"^weight: {words}"):
        from_torch(tensor(), "dense")


@pytest.mark.parametrize("kind", GROUPED)
def test_beside_onnx(kind):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    shape, groups = GROUPED[kind]
    x, weight = whole(2, 5, 6, 7), whole(*shape)
    initializer = onnx.numpy_helper.from_array(weight, "weight")
    expected = evaluated(onnx, ReferenceEvaluator, "Conv", x, initializer, group=groups)
    converted = from_onnx(onnx.numpy_helper.to_array(initializer), kind, multiplier=shape[0] // groups if groups > 1 else 1)
    np.testing.assert_array_equal(by_fastdw(kind, x, converted), expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_dense_beside_onnx(transposed):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    x, weight = whole(3, 5), whole(*((7, 5) if transposed else (5, 7)))
    expected = evaluated(onnx, ReferenceEvaluator, "Gemm", x, onnx.numpy_helper.from_array(weight, "weight"), transB=int(transposed))
    np.testing.assert_array_equal(fastdw.dense(x, from_onnx(weight, "dense", transposed=transposed)), expected)


def evaluated(onnx, evaluator, operator: str, x: np.ndarray, weight, **attributes) -> np.ndarray:
    """One operator on x and a constant weight."""
    helper, real_type = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(operator, ["x", "weight"], ["y"], **attributes)
    ends = ([helper.make_tensor_value_info(name, real_type, [None] * x.ndim)] for name in "xy")
    model = helper.make_model(helper.make_graph([node], "one operator", *ends, [weight]))
    return evaluator(model).run(None, {"x": x})[0]


# ---- arrays ----


class Interface:
    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.array = array  # which owns the memory


class Array:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Dlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("protocol", [Interface, Array, Dlpack])
def test_protocols(protocol):
    weight = whole(7, 5)
    np.testing.assert_array_equal(from_torch(protocol(weight), "dense"), weight.T)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f2", ">f4", ">f8"])
def test_floating_types_become_float32(dtype):
    weight = (whole(7, 5) / 8).astype(dtype)
    converted = from_keras(weight, "dense")
    assert converted.dtype == np.float32
    assert converted.dtype.isnative
    np.testing.assert_array_equal(converted, weight)


def test_bfloat16_becomes_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    weight = whole(7, 5)
    np.testing.assert_array_equal(from_onnx(weight.astype(ml_dtypes.bfloat16), "dense"), weight)
    with pytest.raises(TypeError, match=r"^weight: got float8_e5m2; expected float16, bfloat16, float32 or float64"):
        from_onnx(weight.astype(ml_dtypes.float8_e5m2), "dense")


def test_float64_is_rounded_to_the_nearest():
    value = 1 + 2.0**-24 + 2.0**-40  # truncated to 1, rounded up
    assert from_keras(np.array([[value]]), "dense")[0, 0] == np.float32(1 + 2.0**-23)


def test_the_smallest_numbers_are_kept():
    assert from_keras(np.array([[2.0**-149]]), "dense")[0, 0] == np.float32(2.0**-149)


@pytest.mark.parametrize(("framework", "shape"), [("torch", (8, 1, 3, 3)), ("onnx", (8, 1, 3, 3)), ("keras", (3, 3, 8, 1))])
def test_the_result_is_a_new_aligned_array(framework, shape):
    weight = whole(*shape)
    converted = FROM[framework](weight, "depthwise")
    assert converted.flags.c_contiguous
    assert converted.flags.writeable
    assert converted.ctypes.data % ALIGNMENT_BYTES == 0
    assert not np.shares_memory(converted, weight)


def test_views_are_converted_as_they_read():
    weight = whole(6, 4, 3, 3)[::2, ::-1]
    np.testing.assert_array_equal(from_torch(weight, "conv"), from_torch(weight.copy(), "conv"))


# ---- batch normalisation ----


def normalised(y: np.ndarray, mean, variance, gamma, beta, epsilon) -> np.ndarray:
    gamma = 1.0 if gamma is None else np.float64(gamma)
    beta = 0.0 if beta is None else np.float64(beta)
    return (y - np.float64(mean)) / np.sqrt(np.float64(variance) + epsilon) * gamma + beta


LAYERS = {
    "depthwise": (fastdw.depthwise_conv2d, oracle.depthwise_conv2d, (1, 5, 6, 4), (3, 3, 4, 1), 4),
    "depthwise-multiplied": (fastdw.depthwise_conv2d, oracle.depthwise_conv2d, (1, 5, 6, 4), (3, 3, 4, 3), 12),
    "depthwise-flat": (fastdw.depthwise_conv2d, oracle.depthwise_conv2d, (1, 5, 6, 4), (3, 3, 4), 4),
    "pointwise": (fastdw.pointwise_conv2d, oracle.pointwise_conv2d, (1, 5, 6, 4), (4, 7), 7),
    "pointwise-square": (fastdw.pointwise_conv2d, oracle.pointwise_conv2d, (1, 5, 6, 4), (1, 1, 4, 4), 4),
    "conv": (fastdw.conv2d, oracle.conv2d, (1, 5, 6, 4), (3, 2, 4, 4), 4),
    "dense": (fastdw.dense, oracle.dense, (3, 5), (5, 7), 7),
}


@pytest.mark.parametrize("absent", [(), ("bias",), ("gamma",), ("beta",), ("bias", "gamma", "beta")], ids="-".join)
@pytest.mark.parametrize("layer", LAYERS)
def test_folded_batch_norm_computes_the_same(layer, absent):
    call, in_float64, x_shape, weight_shape, n_channels = LAYERS[layer]
    x, weight = real(*x_shape), real(*weight_shape)
    random = np.random.default_rng(n_channels)
    bias, mean, gamma, beta = (
        None if name in absent else real(i, n_channels)[0] for i, name in enumerate(("bias", "mean", "gamma", "beta"), 1)
    )
    variance, epsilon = random.uniform(0, 4, n_channels).astype(np.float32), 1e-2
    folded_weight, folded_bias = fold_batch_norm(weight, bias, mean, variance, gamma, beta, epsilon, kind=layer.partition("-")[0])
    assert folded_weight.shape == weight.shape
    assert folded_bias.shape == (n_channels,)
    expected = normalised(in_float64(x, weight, bias).value, mean, variance, gamma, beta, epsilon)
    within = 2 * in_float64(x, folded_weight, folded_bias).bound  # rounding weights and bias once errs less than the call may
    assert (np.abs(call(x, folded_weight, folded_bias) - expected) <= within).all()


@pytest.mark.parametrize("kind", ["depthwise", "pointwise", "conv", "dense"])
def test_folding_rounds_once(kind):
    """To the nearest float32 of what float64 gives, also from float64."""
    weight_shape = {"depthwise": (1, 1, 9, 1), "conv": (1, 1, 1, 9)}.get(kind, (1, 9))
    weight, bias, mean, gamma, beta = (np.random.default_rng(seed).standard_normal(9) for seed in range(5))
    variance = np.random.default_rng(5).uniform(0, 4, 9)
    scale = gamma / np.sqrt(variance + 1e-3)
    folded = fold_batch_norm(weight.reshape(weight_shape), bias, mean, variance, gamma, beta, kind=kind)
    np.testing.assert_array_equal(folded[0].reshape(-1), (weight * scale).astype(np.float32))
    np.testing.assert_array_equal(folded[1], ((bias - mean) * scale + beta).astype(np.float32))


def test_folding_leaves_its_arguments_alone():
    arrays = [real(3, 3, 4, 1), *(real(i, 4)[0] for i in range(1, 3)), np.ones(4, np.float32)]
    before = [array.copy() for array in arrays]
    folded = fold_batch_norm(*arrays, kind="depthwise")
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not any(np.shares_memory(array, result) for result in folded)


def test_every_public_function_is_documented():
    functions = [name for name in vars(weights) if name.startswith(("from_", "fold_"))]
    assert len(functions) == 4
    assert all(f"`{name}(" in DOCUMENT.read_text() for name in functions)
