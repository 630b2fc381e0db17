"""NaN, infinities, signed zeros, subnormals and overflow in x pass as IEEE 754 says, in the stated order."""

import numpy as np
import problems
import pytest
import stated_order

import fastdw

INF, NAN = np.float32("inf"), np.float32("nan")
SMALLEST = np.float32(2.0**-149)
LARGEST = np.finfo(np.float32).max
VALUES = {
    "nan": [NAN],
    "infinities": [INF, -INF],
    "nan and infinities": [NAN, INF, -INF],
    "zeros": [0.0, -0.0],
    "subnormals": [SMALLEST, -3 * SMALLEST, 2.0**-127, -(2.0**-130)],
    "overflow": [LARGEST, -LARGEST, LARGEST / 3],
    "everything": [NAN, INF, -INF, -0.0, SMALLEST, -LARGEST],
}
DENSITIES = [0.02, 0.5, 1.0]
COUNT = 8


def pytest_generate_tests(metafunc):
    if "start" in metafunc.fixturenames:
        metafunc.parametrize("start", [metafunc.config.getoption("--seed")], ids=lambda start: f"seed {start}")


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("call", problems.CALLS)
def test_special_values_spread_as_the_stated_order_says(call, values, start):
    for case in problems.cases(call, start, COUNT):
        rng = np.random.default_rng(case.seed)
        arrays = {name: with_specials(rng, case.arrays[name], VALUES[values]) for name in ("x", "residual") if name in case.arrays}
        what = f"{case} with {values} from default_rng({case.seed})"
        stated_order.check_bits(case.run(fastdw, **arrays), case.run(stated_order, **arrays), what)


def with_specials(rng: np.random.Generator, array: np.ndarray, values: list) -> np.ndarray:
    chosen = rng.random(array.shape) < rng.choice(DENSITIES)
    return np.where(chosen, rng.choice(np.float32(values), array.shape), array)


# ---- worked by hand ----


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("channels", [1, 3, 16, 37])
@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_one_special_pixel_reaches_its_windows_and_no_other(special, channels):
    x = ones(2, 11, 13, channels)
    last = channels - 1
    x[1, 5, 6, last] = special
    y = fastdw.depthwise_conv2d(x, ones(3, 3, channels, 1), padding="same")
    reached = np.zeros(y.shape, bool)
    reached[1, 4:7, 5:8, last] = True
    np.testing.assert_array_equal(y[reached], np.full(9, special))
    assert np.isfinite(y[~reached]).all()


def test_nan_passes_every_clamp():
    for activation in ("relu", "relu6", (-1, 1)):
        y = fastdw.pointwise_conv2d(np.full((1, 5, 5, 8), NAN), ones(8, 24), activation=activation)
        assert np.isnan(y).all(), activation


def test_infinity_is_clamped():
    x = np.float32([INF, -INF]).reshape(1, 1, 2, 1)
    y = fastdw.depthwise_conv2d(x, ones(1, 1, 1, 1), activation="relu6")
    np.testing.assert_array_equal(y.ravel(), [6, 0])


def test_opposite_infinities_make_nan():
    assert np.isnan(fastdw.dense(np.float32([[INF, -INF]]), ones(2, 20))).all()


def test_infinity_times_zero_weight_makes_nan():
    assert np.isnan(fastdw.pointwise_conv2d(np.full((1, 2, 2, 1), INF), np.zeros((1, 17), np.float32))).all()


def test_overflow_on_the_way_is_not_taken_back():
    x, weight = np.float32([[LARGEST, LARGEST, -LARGEST]]), ones(3, 9)
    np.testing.assert_array_equal(fastdw.dense(x, weight), np.full((1, 9), INF))


def test_subnormal_results_are_not_flushed():
    x, weight = np.full((1, 3, 3, 19), SMALLEST), ones(3, 3, 19, 1)
    np.testing.assert_array_equal(fastdw.depthwise_conv2d(x, weight), np.full((1, 1, 1, 19), 9 * SMALLEST))


@pytest.mark.parametrize("bias", [None, 0.0, -0.0], ids=["no bias", "+0", "-0"])
def test_a_zero_result_is_positive(bias):
    x = np.full((1, 4, 4, 20), -1e-30, np.float32)
    weight = np.full((20, 20), 1e-30, np.float32)  # each product underflows to -0
    y = fastdw.pointwise_conv2d(x, weight, None if bias is None else np.full(20, bias, np.float32))
    assert (y == 0).all()
    assert not np.signbit(y).any()


def test_the_sign_of_a_zero_bound_does_not_depend_on_earlier_calls():
    x, weight = -ones(1, 2, 2, 8), ones(8, 8)
    first = fastdw.pointwise_conv2d(x, weight, activation=(-0.0, 5.0))
    fastdw.pointwise_conv2d(x, weight, activation=(0.0, 7.0))
    then = fastdw.pointwise_conv2d(x, weight, activation=(-0.0, 7.0))
    stated_order.check_bits(then, first, "a clamp at -0")


def test_padding_is_positive_zero_even_beside_infinities():
    x = np.full((1, 1, 1, 8), INF)
    y = fastdw.depthwise_conv2d(x, ones(3, 3, 8, 1), padding=2)
    assert (y == INF).all(), "every 3x3 window at padding 2 holds the one pixel"
    y = fastdw.depthwise_conv2d(x, ones(3, 3, 8, 1), padding=3)
    np.testing.assert_array_equal(np.isinf(y[0, :, :, 0]), np.pad(np.ones((3, 3), bool), 1))
    assert (y[~np.isinf(y)] == 0).all()
