"""The oracles against exact rational arithmetic and examples worked by hand: what judges the kernels is judged first."""

from fractions import Fraction

import numpy as np
import oracle
import pytest
import stated_order

CLAMPED = (-0.5, 0.75)


def to_fractions(array):
    return np.vectorize(Fraction, otypes=[object])(array.astype(np.float64))


def exact_convolution(x, weight, bias, residual, strides, pads, dilations, input_of):
    """Loops over the formula. input_of(output channel) gives the pairs (input channel, weight index) that feed it."""
    x, weight, bias, residual = map(to_fractions, (x, weight, bias, residual))
    y = residual + bias
    for n, i, j, channel in np.ndindex(*y.shape):
        for p, q in np.ndindex(*weight.shape[:2]):
            row = i * strides[0] + p * dilations[0] - pads[0][0]
            col = j * strides[1] + q * dilations[1] - pads[1][0]
            if 0 <= row < x.shape[1] and 0 <= col < x.shape[2]:
                y[n, i, j, channel] += sum(x[n, row, col, c] * weight[(p, q, *index)] for c, index in input_of(channel))
    low, high = map(Fraction, CLAMPED)
    return np.vectorize(lambda value: min(max(value, low), high), otypes=[object])(y)


def assert_same(expected: oracle.Expected, exact: np.ndarray):
    assert expected.value.shape == exact.shape
    np.testing.assert_allclose(expected.value, exact.astype(np.float64), rtol=1e-13, atol=1e-15)


GEOMETRIES = [
    {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)},
    {"stride": (2, 1), "padding": ((2, 0), (1, 3)), "dilation": (1, 2)},
    {"stride": (3, 2), "padding": ((1, 4), (0, 2)), "dilation": (2, 1)},
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (2, 3)])
def test_depthwise_and_conv2d_follow_the_formula(kernel, geometry):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    strides, pads, dilations = geometry.values()
    x = draw(2, 6, 7, 3)
    size = oracle.out_size((6, 7), kernel, *geometry.values())

    multiplier = 2
    weight, bias, residual = draw(*kernel, 3, multiplier), draw(6), draw(2, *size, 6)
    exact = exact_convolution(x, weight, bias, residual, strides, pads, dilations, lambda c: [(c // multiplier, divmod(c, multiplier))])
    assert_same(oracle.depthwise_conv2d(x, weight, bias, residual=residual, activation=CLAMPED, **geometry), exact)

    weight, bias, residual = draw(*kernel, 3, 4), draw(4), draw(2, *size, 4)
    exact = exact_convolution(x, weight, bias, residual, strides, pads, dilations, lambda k: [(c, (c, k)) for c in range(3)])
    assert_same(oracle.conv2d(x, weight, bias, residual=residual, activation=CLAMPED, **geometry), exact)


def test_three_dimensional_depthwise_weight_is_multiplier_one():
    x, weight = np.ones((1, 3, 3, 2), np.float32), np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    np.testing.assert_array_equal(oracle.depthwise_conv2d(x, weight).value, [[[[72, 81]]]])


def test_pointwise_and_dense_are_matrix_products():
    x, weight, bias = np.float32([[[[1, 2]], [[3, 4]]]]), np.float32([[1, 0, -1], [10, 1, 0.5]]), np.float32([0, 100, 0])
    expected = [[[[21, 102, 0]], [[43, 104, -1]]]]
    np.testing.assert_array_equal(oracle.pointwise_conv2d(x, weight, bias).value, expected)
    np.testing.assert_array_equal(oracle.pointwise_conv2d(x, weight[None, None], bias).value, expected)
    np.testing.assert_array_equal(oracle.dense(x[0, :, 0], weight, bias, activation="relu").value, [[21, 102, 0], [43, 104, 0]])


def test_separable_is_depthwise_then_pointwise():
    x = np.float32([[[[1, 1]], [[2, 3]]]])
    y = oracle.separable_conv2d(
        x, np.float32([[[1, -1]], [[1, 1]]]), np.float32([[1], [10]]), np.float32([4, 0]), np.float32([0.5]), depthwise_activation="relu6"
    )
    np.testing.assert_array_equal(y.value, [[[[6 + 10 * 2 + 0.5]]]])


def test_global_average_pool():
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(oracle.global_average_pool2d(x).value, [[5, 6]])
    assert oracle.global_average_pool2d(x, keepdims=True).value.shape == (1, 1, 1, 2)


@pytest.mark.parametrize(
    ("padding", "size", "kernel", "stride", "dilation", "pads"),
    [
        ("valid", 9, 3, 2, 1, (0, 0)),
        ("same", 5, 3, 1, 1, (1, 1)),
        ("same", 5, 3, 2, 1, (1, 1)),
        ("same", 4, 3, 2, 1, (0, 1)),  # TensorFlow: the odd one goes after
        ("same_lower", 4, 3, 2, 1, (1, 0)),  # ONNX SAME_LOWER: the odd one goes before
        ("same", 224, 3, 2, 1, (0, 1)),
        ("same", 7, 5, 1, 2, (4, 4)),
        ("same", 6, 4, 1, 1, (1, 2)),
        ("same_lower", 6, 4, 1, 1, (2, 1)),
        ("same", 7, 1, 3, 1, (0, 0)),
        (2, 7, 3, 1, 1, (2, 2)),
    ],
)
def test_padding(padding, size, kernel, stride, dilation, pads):
    both = oracle.resolve_padding(padding, (size, size), (kernel, kernel), (stride, stride), (dilation, dilation))
    assert both == (pads, pads)
    if padding in ("same", "same_lower"):
        assert oracle.out_size(size, kernel, stride, padding, dilation) == (-(-size // stride),) * 2


def test_padding_pairs():
    assert oracle.resolve_padding((1, 2), None, None, None, None) == ((1, 1), (2, 2))
    assert oracle.resolve_padding(((1, 2), (3, 4)), None, None, None, None) == ((1, 2), (3, 4))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, [-7, -0.5, 0, 5, 7]),
        ("relu", [0, 0, 0, 5, 7]),
        ("relu6", [0, 0, 0, 5, 6]),
        ((-1, 5.5), [-1, -0.5, 0, 5, 5.5]),
        ((-np.inf, 0.25), [-7, -0.5, 0, 0.25, 0.25]),
    ],
)
def test_clamp(activation, expected):
    clamped = oracle.clamp(np.float32([-7, -0.5, 0, 5, 7, np.nan]), activation)
    np.testing.assert_array_equal(clamped, np.float32([*expected, np.nan]))


def test_error_bound_holds_for_float32_and_not_for_half_precision():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((1, 8, 8, 64)).astype(np.float32), rng.standard_normal((64, 32)).astype(np.float32)
    expected = oracle.pointwise_conv2d(x, weight)
    expected.check(stated_order.pointwise_conv2d(x, weight))
    expected.check(x @ weight)
    with pytest.raises(AssertionError, match="beyond the error bound"):
        expected.check(x @ weight.astype(np.float16).astype(np.float32))
    with pytest.raises(AssertionError, match=r"first at .*: got nan"):
        expected.check(np.full_like(x @ weight, np.nan))


def test_error_bound_is_inherited_through_separable():
    rng = np.random.default_rng(2)
    x, depthwise = rng.standard_normal((1, 9, 9, 8)).astype(np.float32), rng.standard_normal((3, 3, 8, 1)).astype(np.float32)
    small = np.full((8, 4), 1e-3, np.float32)
    middle = oracle.depthwise_conv2d(x, depthwise)
    expected = oracle.separable_conv2d(x, depthwise, small)
    assert (expected.bound >= 1e-3 * middle.bound.sum(-1, keepdims=True) * 0.999).all()
    expected.check(stated_order.separable_conv2d(x, depthwise, small))


def test_exact_check_finds_the_smallest_difference():
    expected = oracle.dense(np.float32([[1, 2]]), np.float32([[3], [4]]))
    expected.check_exact(np.float32([[11]]))
    with pytest.raises(AssertionError, match="where float32 is exact"):
        expected.check_exact(np.nextafter(np.float32([[11]]), np.float32(12)))


# ---- the stated order ----


def round_to_float32(value: Fraction) -> float:
    """The float32 nearest to a rational number, ties to even."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent  # now 2**exponent <= magnitude < 2**(exponent + 1)
    ulp = Fraction(2) ** max(exponent - 23, -149)
    rounded = round(magnitude / ulp) * ulp  # Fraction rounds halves to even
    result = float("inf") if rounded >= 2**128 else float(rounded)
    return result if value > 0 else -result


def awkward_numbers(rng, count):
    """Float32 numbers whose sums and products fall on, or just beside, halfway points, over all magnitudes."""
    few_bits = rng.integers(1, 16, count) * 2.0 ** rng.integers(-30, 30, count)
    long = (2**23 + rng.integers(0, 4, count)) * 2.0 ** rng.integers(-40, 10, count)
    any_bits = rng.integers(0, 0x7F800000, count).astype(np.int32).view(np.float32)
    subnormal = rng.integers(0, 0x01000000, count).astype(np.int32).view(np.float32)
    numbers = np.concatenate([few_bits.astype(np.float32), long.astype(np.float32), any_bits, subnormal])
    return rng.permutation(numbers * rng.choice(np.float32([-1, 1]), numbers.size))


def test_fused_multiply_add_is_correctly_rounded():
    rng = np.random.default_rng(3)
    a, b, c = (awkward_numbers(rng, 1000) for _ in range(3))
    c[::2] = (-(a * b.astype(np.float64))[::2]).clip(-3e38, 3e38).astype(np.float32)  # cancellation down to the last bit
    fused = stated_order.fused_multiply_add(a, b, c)
    exact = [round_to_float32(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))) for x, y, z in zip(a, b, c, strict=True)]
    np.testing.assert_array_equal(fused, np.float32(exact))


def test_fused_multiply_add_is_not_fooled_by_double_rounding():
    a = np.float32(1 + 2**-12)  # a * a = 1 + 2**-11 + 2**-24: halfway between two float32
    tiny = np.float32(2**-60)  # decides the tie, but is lost in float64
    below, above = np.float32(1 + 2**-11), np.float32(1 + 2**-11 + 2**-23)
    assert np.float32(np.float64(a) * a + tiny) == below, "this example no longer shows the double rounding"
    assert stated_order.fused_multiply_add(a, a, tiny) == above
    assert stated_order.fused_multiply_add(a, a, -tiny) == below
    assert stated_order.fused_multiply_add(a, a, np.float32(0)) == below


def test_two_roundings_differ_from_one():
    a, c = np.float32(1 + 2**-12), np.float32(-1)
    assert stated_order.fused_multiply_add(a, a, c) == np.float32(2**-11 + 2**-24)
    assert stated_order.multiply_then_add(a, a, c) == np.float32(2**-11)


def test_fused_multiply_add_keeps_infinities_nans_and_zeros():
    inf, nan = np.float32("inf"), np.float32("nan")
    huge = np.float32(3e38)
    a = np.float32([inf, inf, inf, nan, 1, huge, -huge, 0, 1e-30, -1e-30])
    b = np.float32([2, 0, 1, 1, nan, huge, huge, -1, 1e-30, 1e-30])
    c = np.float32([1, 1, -inf, 1, 1, 0, 0, 0, 0, 0])
    expected = np.float32([inf, nan, nan, nan, nan, inf, -inf, 0.0, 0.0, -0.0])
    stated_order.check_bits(stated_order.fused_multiply_add(a, b, c), expected, "fused multiply-add")


def test_order_is_taps_then_channels_then_bias_then_residual():
    big = np.float32(2**24)  # big + 1 rounds back to big
    x, weight = np.float32([[[[1, 1], [1, 1]]]]), np.float32([[[[1], [big]], [[1], [-big]]]])
    assert stated_order.conv2d(x, weight).item() == 0  # (1 + big) + 1 - big
    assert stated_order.conv2d(x, weight[:, ::-1].copy()).item() == 2  # (1 - big) + 1 + big
    assert stated_order.conv2d(x, weight[:, :, ::-1].copy()).item() == 1  # (big + 1) - big + 1
    bias, residual = np.float32([big]), np.full((1, 1, 1, 1), -big, np.float32)
    one = np.float32([[[[1]]]])
    assert stated_order.pointwise_conv2d(one, one, bias, residual=residual).item() == 0  # (1 + big) - big


def test_negative_zero_bias_counts_as_zero():
    x, weight = np.float32([[-1e-30]]), np.float32([[1e-30]])  # the sum is -0
    for bias in (None, np.float32([-0.0]), np.float32([0.0])):
        assert not np.signbit(stated_order.dense(x, weight, bias)).any()


@pytest.mark.parametrize("stride", [1, (2, 3)])
@pytest.mark.parametrize("dilation", [1, (3, 2)])
def test_both_oracles_agree(stride, dilation):
    rng = np.random.default_rng(4)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x, depthwise, conv = draw(2, 9, 10, 4), draw(3, 3, 4, 2), draw(3, 3, 4, 5)
    geometry = {"stride": stride, "padding": "same", "dilation": dilation}
    size = oracle.out_size((9, 10), (3, 3), **geometry)
    residual = draw(2, *size, 5)
    separable = {
        "x": x,
        "depthwise_weight": depthwise,
        "pointwise_weight": draw(8, 5),
        "depthwise_bias": draw(8),
        "pointwise_bias": draw(5),
    }
    calls = {
        "depthwise_conv2d": {"x": x, "weight": depthwise, "bias": draw(8), "activation": "relu6"} | geometry,
        "conv2d": {"x": x, "weight": conv, "bias": draw(5), "residual": residual} | geometry,
        "separable_conv2d": separable | {"depthwise_activation": "relu", "residual": residual} | geometry,
        "pointwise_conv2d": {"x": x, "weight": draw(1, 1, 4, 3), "activation": (-1, 1)},
        "dense": {"x": draw(3, 20), "weight": draw(20, 7), "bias": draw(7), "activation": "relu"},
        "global_average_pool2d": {"x": x, "keepdims": True},
    }
    for name, arguments in calls.items():
        getattr(oracle, name)(**arguments).check(getattr(stated_order, name)(**arguments))
