"""Signals: depthwise_conv1d and separable_conv1d against float64, and against images of one row to the last bit."""

import numpy as np
import pytest

import fastdw

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 40, 16), np.float32)
W = RNG.standard_normal((5, 16), np.float32)
POINTWISE = RNG.standard_normal((16, 8), np.float32)


def sides_of(padding, length: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    reach = (taps - 1) * dilation
    if padding in ("same", "same_lower"):
        total = max(0, (-(-length // stride) - 1) * stride + reach + 1 - length)
        return (total // 2, total - total // 2) if padding == "same" else (total - total // 2, total // 2)
    return {"valid": (0, 0), "causal": (reach, 0)}.get(padding, padding)


def oracle(x, weight, bias, stride, padding, dilation) -> np.ndarray:
    """By definition, in float64."""
    weight = weight.reshape(*weight.shape[:2], -1).astype(np.float64)
    taps, channels, multiplier = weight.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), sides_of(padding, x.shape[1], taps, stride, dilation), (0, 0)))
    length = (padded.shape[1] - (taps - 1) * dilation - 1) // stride + 1
    y = np.zeros((len(x), length, channels, multiplier))
    for p in range(taps):
        y += padded[:, p * dilation :][:, : (length - 1) * stride + 1 : stride, :, np.newaxis] * weight[p]
    return y.reshape(len(x), length, -1) + bias


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "causal", (3, 1)])
@pytest.mark.parametrize(
    ("taps", "stride", "dilation", "multiplier"), [(5, 1, 1, 1), (4, 2, 1, 1), (3, 2, 3, 1), (31, 1, 1, 1), (3, 1, 1, 2)]
)
def test_against_float64(padding, taps, stride, dilation, multiplier):
    weight = RNG.standard_normal((taps, 16, multiplier), np.float32)
    bias = RNG.standard_normal(16 * multiplier, np.float32)
    found = fastdw.depthwise_conv1d(X, weight, bias, stride=stride, padding=padding, dilation=dilation)
    expected = oracle(X, weight, bias, stride, padding, dilation)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-6 * taps * np.abs(expected).max()


def test_a_causal_output_depends_on_nothing_after_it():
    y = fastdw.depthwise_conv1d(X, W, padding="causal", dilation=2)
    later = X.copy()
    later[:, 20:] = np.nan
    np.testing.assert_array_equal(fastdw.depthwise_conv1d(later, W, padding="causal", dilation=2)[:, :20], y[:, :20])


def test_it_is_an_image_of_one_row():
    y = fastdw.depthwise_conv1d(X, W, stride=2, padding=(3, 1), activation="relu")
    image = fastdw.depthwise_conv2d(X[:, None], W[None, :, :, None], stride=(1, 2), padding=((0, 0), (3, 1)), activation="relu")
    np.testing.assert_array_equal(y, image[:, 0])


def test_separable_is_depthwise_then_pointwise():
    found = fastdw.separable_conv1d(X, W, POINTWISE, padding="causal", depthwise_activation="relu6", activation="relu")
    hidden = fastdw.depthwise_conv1d(X, W, padding="causal", activation="relu6")
    np.testing.assert_array_equal(found, fastdw.pointwise_conv2d(hidden[:, None], POINTWISE, activation="relu")[:, 0])


def test_forms_of_a_weight_and_layouts_of_x():
    y = fastdw.depthwise_conv1d(X, W, padding="same")
    wider = np.zeros((2, 80, 24), np.float32)
    view = wider[:, ::2, 4:20]
    view[...] = X
    for x in (X, view):
        for weight in (W, W[:, :, None], fastdw.pack_depthwise(W[None]), fastdw.pack_depthwise(W[None, :, :, None])):
            np.testing.assert_array_equal(fastdw.depthwise_conv1d(x, weight, padding="same"), y)


def test_out():
    y = fastdw.depthwise_conv1d(X, W)
    out = np.full((2, 36, 24), 7, np.float32)
    view = out[..., 4:20]
    assert fastdw.depthwise_conv1d(X, W, out=view) is view
    np.testing.assert_array_equal(view, y)
    assert (out[..., :4] == 7).all()
    assert (out[..., 20:] == 7).all()


def test_prepared_and_explained():
    for function, weights in ((fastdw.depthwise_conv1d, (W,)), (fastdw.separable_conv1d, (W, POINTWISE))):
        layer = fastdw.prepare(function, X.shape, *weights, padding="causal", stride=2)
        y = function(X, *weights, padding="causal", stride=2)
        np.testing.assert_array_equal(layer(X), y)
        out = np.empty_like(y)
        assert layer(X, out) is out
        np.testing.assert_array_equal(out, y)
        assert "1x40x16" in repr(fastdw.explain(function, X.shape, *weights, padding="causal", stride=2))
    with pytest.raises(ValueError, match=r"^x: got shape \(2, 39, 16\); expected \(2, 40, 16\), which the layer was prepared for"):
        layer(X[:, 1:])
    with pytest.raises(ValueError, match=r"^out: got shape \(2, 40, 16\); expected \(2, 20, 8\), the shape of the result"):
        layer(X, np.empty_like(X))


def test_one_kernel_serves_every_width_vectorised(monkeypatch):
    monkeypatch.setenv("FASTDW_STRICT", "1")
    for taps in (1, 4, 10, 31, 65):
        plan = fastdw.explain(fastdw.depthwise_conv1d, (1, 80, 16), np.ones((taps, 16), np.float32), padding="causal")
        assert "reference" not in plan.kernel


def zeros(*shape, dtype=np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def huge(channels: int = 16) -> np.ndarray:
    """More samples than there is memory for the result, in memory of one."""
    return np.broadcast_to(zeros(1, 1, channels), (1, 1 << 40, channels))


STATE = {"padding": "causal", "state": zeros(2, 4, 16)}
WRONG = [
    ({"x": X[0]}, ValueError, r"^x: got shape \(40, 16\); expected \[batch, length, channels\]$"),
    ({"x": X[:, :0]}, ValueError, r"^x: got shape \(2, 0, 16\); expected .* with every extent at least 1"),
    ({"x": X.astype(np.float64)}, TypeError, r"^x: got float64; expected float32"),
    ({"x": [1.0]}, TypeError, r"^x: got list; expected a float32 array"),
    ({"x": X.transpose(0, 2, 1).copy()}, ValueError, r"^weight: got 16 input channels; expected 40.*x looks like \[batch, ch"),
    ({"x": zeros(2, 40, 32)[..., ::2]}, ValueError, r"^x: got channels 8 bytes apart; expected channels next to each other"),
    ({"weight": W[0]}, ValueError, r"^weight: got shape \(16,\); expected \[kernel, channels, multiplier\] or \[kernel, channels\]"),
    ({"weight": W[:0]}, ValueError, r"^weight: got shape \(0, 16\); expected .* at least 1"),
    ({"weight": W[:, :8]}, ValueError, r"^weight: got 8 input channels; expected 16, the channels of x$"),
    ({"weight": W * np.nan}, ValueError, r"^weight: got infinities or NaNs; expected finite numbers"),
    ({"weight": zeros(41, 16)}, ValueError, r"^weight: got a kernel that spans 41 samples; expected at most 40, the padded length of x"),
    ({"dilation": 10}, ValueError, r"^weight: got a kernel that spans 41 samples; expected at most 40"),
    ({"weight": fastdw.pack_depthwise(zeros(3, 3, 16, 1))}, ValueError, r"^weight: got a weight \(3, 3, 16, 1\) packed for depthwise; exp"),
    ({"bias": zeros(8)}, ValueError, r"^bias: got shape \(8,\); expected \(16,\), one for each output channel"),
    ({"stride": 0}, ValueError, r"^stride: got 0; expected an integer of at least 1"),
    ({"stride": (1, 1)}, TypeError, r"^stride: got \(1, 1\); expected an integer of at least 1"),
    ({"dilation": 1.5}, TypeError, r"^dilation: got 1.5; expected an integer"),
    ({"padding": "Causal"}, ValueError, r"^padding: got 'Causal'; expected one of 'valid', 'same', 'same_lower', 'causal', an integer or"),
    ({"padding": -1}, ValueError, r"^padding: got -1; expected an integer of at least 0"),
    ({"padding": (1, 2, 3)}, ValueError, r"^padding: got \(1, 2, 3\); expected an integer or \(before, after\)"),
    ({"padding": ((0, 0), (1, 1))}, ValueError, r"^padding: got \(\(0, 0\), \(1, 1\)\); expected an integer or \(before, after\)"),
    ({"padding": None}, TypeError, r"^padding: got None; expected an integer"),
    ({"activation": "swish"}, ValueError, r"^activation: got 'swish'; expected one of"),
    ({"threads": 0}, ValueError, r"^threads: got 0; expected an integer of at least 1"),
    ({"out": zeros(2, 40, 16)}, ValueError, r"^out: got shape \(2, 40, 16\); expected \(2, 36, 16\), the shape of the result"),
    ({"out": []}, TypeError, r"^out: got list; expected a float32 NumPy array"),
    ({"out": read_only(zeros(2, 36, 16))}, ValueError, r"^out: got a read-only array; expected a writable one"),
    ({"out": X[:, :36]}, ValueError, r"^out: got an array that overlaps x; expected memory of its own"),
    ({"x": huge()}, ValueError, r"^x: got shape \(1, 1099511627776, 16\); expected a smaller one: there is no memory"),
    ({"state": zeros(2, 4, 16)}, ValueError, r"^state: got an array with padding='valid'; expected padding=\"causal\", or no state"),
    (STATE | {"state": zeros(2, 5, 16)}, ValueError, r"^state: got shape \(2, 5, 16\); expected \(2, 4, 16\): \[batch, \(kernel"),
    (STATE | {"state": zeros(1, 4, 16)}, ValueError, r"^state: got shape \(1, 4, 16\); expected \(2, 4, 16\)"),
    (STATE | {"dilation": 2}, ValueError, r"^state: got shape \(2, 4, 16\); expected \(2, 8, 16\)"),
    (STATE | {"state": zeros(4, 16)}, ValueError, r"^state: got shape \(4, 16\); expected \(2, 4, 16\)"),
    (STATE | {"state": zeros(2, 4, 16, dtype=np.float64)}, TypeError, r"^state: got float64; expected float32"),
    (STATE | {"state": True}, TypeError, r"^state: got True; expected a float32 NumPy array"),
    (STATE | {"state": read_only(zeros(2, 4, 16))}, ValueError, r"^state: got a read-only array; expected a writable one"),
    (STATE | {"state": X[:, :4]}, ValueError, r"^state: got an array that overlaps x; expected memory of its own"),
    (STATE | {"x": zeros(2, 40, 32)[..., ::2]}, ValueError, r"^x: got channels 8 bytes apart; expected channels next to each other"),
    (STATE | {"out": X}, ValueError, r"^out: got an array that overlaps x; expected memory of its own"),
    (STATE | {"stride": 2, "x": X[:, :39]}, ValueError, r"^x: got 39 samples; expected a multiple of the stride 2 with a state: fastdw"),
    (STATE | {"x": huge(), "state": zeros(1, 4, 16)}, ValueError, r"^x: got shape .*; expected a smaller one: there is no memory"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(changes, error, message):
    given = {"x": X, "weight": W} | changes
    state = given.get("state")
    before = state.copy() if isinstance(state, np.ndarray) else None
    with pytest.raises(error, match=message) as caught:
        fastdw.depthwise_conv1d(**given)
    assert "\n" not in str(caught.value)
    assert before is None or np.array_equal(state, before)


@pytest.mark.parametrize("length", [2, 40])
def test_a_refused_piece_of_any_length_writes_nothing(length):
    x, out = zeros(2, length, 32)[..., ::2], np.full((2, length, 16), 7, np.float32)
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2)
    for call in (stream, lambda x, out: fastdw.depthwise_conv1d(x, W, **STATE, out=out)):
        with pytest.raises(ValueError, match=r"^x: got channels 8 bytes apart; expected channels next to each other"):
            call(x, out)
    assert (out == 7).all()
    assert not stream.state.any()


WRONG_SEPARABLE = [
    ({"depthwise_weight": W[:, :8]}, ValueError, r"^depthwise_weight: got 8 input channels; expected 16, the channels of x"),
    ({"pointwise_weight": POINTWISE[:8]}, ValueError, r"^pointwise_weight: got 8 input channels; expected 16"),
    (
        {"pointwise_weight": POINTWISE[None]},
        ValueError,
        r"^pointwise_weight: got shape \(1, 16, 8\); expected \[in_channels, out_channels\]",
    ),
    ({"pointwise_bias": zeros(3)}, ValueError, r"^pointwise_bias: got shape \(3,\); expected \(8,\)"),
    ({"pointwise_bias": zeros(3), "state": zeros(2, 4, 16)}, ValueError, r"^pointwise_bias: got shape \(3,\); expected \(8,\)"),
    ({"depthwise_activation": "swish2"}, ValueError, r"^depthwise_activation: got 'swish2'; expected one of"),
    ({"state": zeros(2, 3, 16)}, ValueError, r"^state: got shape \(2, 3, 16\); expected \(2, 4, 16\)"),
    ({"out": zeros(2, 40, 16)}, ValueError, r"^out: got shape \(2, 40, 16\); expected \(2, 40, 8\), the shape of the result"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_SEPARABLE, ids=[message for *_, message in WRONG_SEPARABLE])
def test_wrong_arguments_of_separable(changes, error, message):
    given = {"x": X, "depthwise_weight": W, "pointwise_weight": POINTWISE, "padding": "causal"} | changes
    with pytest.raises(error, match=message):
        fastdw.separable_conv1d(**given)
    assert given.get("state") is None or not given["state"].any()
