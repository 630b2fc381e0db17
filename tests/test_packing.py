"""Packed weights: taken where they fit, refused where not, and what packing does to values."""

import numpy as np
import pytest

import fastdw

X = np.ones((1, 8, 9, 16), np.float32)
WEIGHTS = {
    "depthwise": np.ones((3, 3, 16, 1), np.float32),
    "pointwise": np.ones((16, 24), np.float32),
    "conv": np.ones((3, 3, 16, 24), np.float32),
}
CALLS = {"depthwise": fastdw.depthwise_conv2d, "pointwise": fastdw.pointwise_conv2d, "conv": fastdw.conv2d}
PACKERS = {"depthwise": fastdw.pack_depthwise, "pointwise": fastdw.pack_pointwise, "conv": fastdw.pack_conv2d}


@pytest.mark.parametrize("taken", CALLS)
@pytest.mark.parametrize("given", PACKERS)
def test_a_call_takes_only_weights_packed_for_it(given, taken):
    packed = PACKERS[given](WEIGHTS[given])
    if given == taken:
        np.testing.assert_array_equal(CALLS[taken](X, packed), CALLS[taken](X, WEIGHTS[given]))
    else:
        with pytest.raises((TypeError, ValueError), match=rf"^weight: got [^;]*{given}[^;]*; expected .*pack_{taken}"):
            CALLS[taken](X, packed)


def test_dense_takes_weights_packed_for_pointwise_and_no_others():
    rows = X[0, 0]
    np.testing.assert_array_equal(fastdw.dense(rows, fastdw.pack_pointwise(WEIGHTS["pointwise"])), np.full((9, 24), 16))
    with pytest.raises((TypeError, ValueError), match=r"^weight: got [^;]*conv[^;]*; expected .*pack_pointwise"):
        fastdw.dense(rows, fastdw.pack_conv2d(WEIGHTS["conv"]))


@pytest.mark.parametrize("kind", CALLS)
def test_packed_weights_of_other_channels_are_refused(kind):
    x = np.ones((1, 8, 9, 17), np.float32)
    with pytest.raises(ValueError, match=r"^weight: got [^;]*16[^;]*; expected .*17"):
        CALLS[kind](x, PACKERS[kind](WEIGHTS[kind]))


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_weights_are_not_packed_again(kind):
    with pytest.raises(TypeError, match=r"^weight: got [^;]*packed[^;]*; expected "):
        PACKERS[kind](PACKERS[kind](WEIGHTS[kind]))


@pytest.mark.parametrize("kind", PACKERS)
def test_packing_copies(kind):
    weight = WEIGHTS[kind].copy()
    packed = PACKERS[kind](weight)
    before = CALLS[kind](X, packed)
    weight[...] = 7
    np.testing.assert_array_equal(CALLS[kind](X, packed), before)


@pytest.mark.parametrize("kind", PACKERS)
def test_subnormal_weights_are_flushed_only_when_asked(kind):
    smallest = np.float32(2.0**-149)
    weight = np.full(WEIGHTS[kind].shape, smallest)
    assert (CALLS[kind](X, PACKERS[kind](weight)) > 0).all()
    assert (CALLS[kind](X, PACKERS[kind](weight, flush_subnormals=True)) == 0).all()
    normal = np.full(weight.shape, np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(CALLS[kind](X, PACKERS[kind](normal, flush_subnormals=True)), CALLS[kind](X, normal))
