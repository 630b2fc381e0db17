"""A signal in pieces gives the bits of the whole signal: with a state, and as a stream."""

from dataclasses import dataclass

import numpy as np
import pytest

import fastdw

# taps, stride, dilation, channels, multiplier: what kernels are compiled for
FEW_KINDS = [(4, 1, 1, 16, 1), (31, 1, 1, 16, 1), (3, 2, 3, 16, 1)]
MORE_KINDS = [*FEW_KINDS, (3, 2, 1, 24, 1), (1, 1, 1, 16, 1), (5, 1, 2, 48, 1), (4, 3, 1, 16, 1), (9, 2, 2, 16, 1), (3, 1, 1, 16, 2)]
MORE_KINDS += [(65, 1, 1, 16, 1), (4, 1, 4, 1, 1), (2, 5, 1, 7, 1)]
DEFAULT_CASES, ALL_CASES = 300, 10_000


@dataclass
class Case:
    """A random signal, layer and cut into pieces."""

    function: object
    x: np.ndarray
    weights: tuple
    keywords: dict
    reach: int
    lengths: list[int]
    has_state: bool


def make_case(seed: int, kinds) -> Case:
    rng = np.random.default_rng(seed)
    taps, stride, dilation, channels, multiplier = kinds[rng.integers(len(kinds))]
    normal = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    has_state, is_separable = rng.random(2) < 0.5
    unit = stride if has_state else 1
    length = int(rng.integers(1, 100)) * unit
    lengths = []
    while sum(lengths) < length:
        most = int(rng.choice([1, 3, 10, 100]))
        lengths.append(min(int(rng.integers(0, most + 1)) * unit, length - sum(lengths)))
    weights = (normal(taps, channels, multiplier),)
    biases = (normal(channels * multiplier) if rng.random() < 0.5 else None,)
    if is_separable:
        weights, biases = (*weights, normal(channels * multiplier, 8)), (*biases, normal(8))
    x = normal(int(rng.integers(1, 4)), length, channels)
    if rng.random() < 0.2:
        x[rng.random(x.shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e-40])
    keywords = {"stride": stride, "dilation": dilation, "activation": rng.choice(["relu", "none"])}
    keywords["activation"] = None if keywords["activation"] == "none" else "relu"
    function = fastdw.separable_conv1d if is_separable else fastdw.depthwise_conv1d
    return Case(function, x, (*weights, *biases), keywords, (taps - 1) * dilation, lengths, bool(has_state))


def in_pieces(case: Case) -> np.ndarray:
    batch, _, channels = case.x.shape
    pieces = np.split(case.x, np.cumsum(case.lengths)[:-1], axis=1)
    if case.has_state:
        state = np.zeros((batch, case.reach, channels), np.float32)
        return np.concatenate(
            [case.function(piece, *case.weights, padding="causal", state=state, **case.keywords) for piece in pieces], axis=1
        )
    stream = fastdw.stream(case.function, *case.weights, batch=batch, **case.keywords)
    return np.concatenate([stream(piece) for piece in pieces], axis=1)


def check(seed: int, kinds, rerun: str) -> None:
    case = make_case(seed, kinds)
    whole = case.function(case.x, *case.weights, padding="causal", **case.keywords)
    found = in_pieces(case)
    same = (
        np.array_equal(found.view(np.int32)[~np.isnan(whole)], whole.view(np.int32)[~np.isnan(whole)])
        if found.shape == whole.shape
        else False
    )
    assert same, f"x {case.x.shape} in {case.lengths}, {case.function.__name__} {case.keywords}; again: {rerun.format(seed=seed)}"
    assert np.isnan(found[np.isnan(whole)]).all()


def test_random_pieces_give_the_bits_of_the_whole(request):
    first = request.config.getoption("--seed")
    for seed in range(first, first + DEFAULT_CASES):
        check(seed, FEW_KINDS, "pytest tests/test_streaming.py -k random_pieces --seed {seed}")


@pytest.mark.slow
def test_very_many_random_pieces_give_the_bits_of_the_whole(request):
    first = request.config.getoption("--seed")
    for seed in range(first, first + ALL_CASES):
        check(seed, MORE_KINDS, "pytest --slow tests/test_streaming.py -k very_many --seed {seed}")


X = np.random.default_rng(0).standard_normal((2, 30, 16), np.float32)
W = np.random.default_rng(1).standard_normal((4, 16), np.float32)
POINTWISE = np.random.default_rng(2).standard_normal((16, 8), np.float32)


def test_sample_by_sample():
    whole = fastdw.depthwise_conv1d(X, W, padding="causal")
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2)
    out = np.empty((2, 1, 16), np.float32)
    for sample in range(30):
        assert stream(X[:, sample : sample + 1], out) is out
        np.testing.assert_array_equal(out[:, 0], whole[:, sample])


def test_the_state_is_the_last_samples():
    state = np.zeros((2, 3, 16), np.float32)
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2)
    for first, last in ((0, 2), (2, 2), (2, 9), (9, 30)):
        fastdw.depthwise_conv1d(X[:, first:last], W, padding="causal", state=state)
        stream(X[:, first:last])
        expected = np.concatenate((np.zeros((2, 3, 16), np.float32), X[:, :last]), axis=1)[:, -3:]
        np.testing.assert_array_equal(state, expected)
        np.testing.assert_array_equal(stream.state, expected)


def test_a_state_may_be_a_view():
    wide = np.zeros((2, 6, 32), np.float32)
    state = wide[:, ::2, 8:24]
    whole = fastdw.depthwise_conv1d(X, W, padding="causal")
    parts = [fastdw.depthwise_conv1d(X[:, i : i + 10], W, padding="causal", state=state) for i in range(0, 30, 10)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_reset_and_going_on_elsewhere():
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2, stride=3)
    first = stream(X)
    stream.reset()
    np.testing.assert_array_equal(np.concatenate((stream(X[:, :7]), stream(X[:, 7:])), axis=1), first)
    other = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2, stride=3)
    stream.reset()
    beginning = stream(X[:, :7])
    other.state, other.start = saved = stream.state, stream.start
    np.testing.assert_array_equal(np.concatenate((beginning, other(X[:, 7:])), axis=1), first)
    for n_samples in (1, 2, 20):  # what was kept stays as it was
        stream(X[:, :n_samples])
    stream.state, stream.start = saved
    np.testing.assert_array_equal(np.concatenate((beginning, stream(X[:, 7:])), axis=1), first)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("state", np.zeros((2, 4, 16), np.float32), ValueError, r"^state: got shape \(2, 4, 16\); expected \(2, 3, 16\)$"),
        ("state", np.zeros((2, 3, 16)), TypeError, r"^state: got float64; expected float32$"),
        ("start", -1, ValueError, r"^start: got -1; expected an integer of at least 0$"),
        ("start", 3, ValueError, r"^start: got 3; expected less than 3, the stride$"),
        ("start", 1.0, TypeError, r"^start: got 1.0; expected an integer"),
    ],
)
def test_what_cannot_be_remembered_is_refused(name, value, error, message):
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2, stride=3)
    stream(X[:, :7])
    before = stream.state, stream.start
    with pytest.raises(error, match=message):
        setattr(stream, name, value)
    with pytest.raises(ValueError, match="read-only"):
        stream.state[...] = 0
    np.testing.assert_array_equal(stream.state, before[0])
    assert stream.start == before[1]


def test_a_piece_that_is_refused_changes_nothing():
    stream = fastdw.stream(fastdw.depthwise_conv1d, W, batch=2)
    stream(X[:, :10])
    with pytest.raises(ValueError, match=r"^x: got shape \(1, 10, 16\); expected \(2, any length, 16\)"):
        stream(X[:1, 10:20])
    with pytest.raises(ValueError, match=r"^out: got shape \(2, 9, 16\); expected \(2, 10, 16\)"):
        stream(X[:, 10:20], np.empty((2, 9, 16), np.float32))
    with pytest.raises(ValueError, match=r"^out: got an array that overlaps x; expected memory of its own"):
        stream(X[:, 10:20], X[:, 10:20])
    with pytest.raises(ValueError, match=r"^x: got shape .*; expected a smaller one: there is no memory"):
        stream(np.broadcast_to(X[:, :1], (2, 1 << 40, 16)))
    np.testing.assert_array_equal(stream(X[:, 10:]), fastdw.depthwise_conv1d(X, W, padding="causal")[:, 10:])


WRONG = [
    ((fastdw.depthwise_conv2d, W), {}, TypeError, r"^function: got .*; expected fastdw.depthwise_conv1d or fastdw.separable_conv1d"),
    ((fastdw.depthwise_conv1d,), {}, TypeError, r"weight"),
    ((fastdw.depthwise_conv1d, W[0]), {}, ValueError, r"^weight: got shape \(16,\); expected \[kernel, channels, multiplier\]"),
    ((fastdw.depthwise_conv1d, W * np.inf), {}, ValueError, r"^weight: got infinities or NaNs; expected finite numbers"),
    ((fastdw.depthwise_conv1d, W, W[0, :8]), {}, ValueError, r"^bias: got shape \(8,\); expected \(16,\)"),
    ((fastdw.depthwise_conv1d, W), {"batch": 0}, ValueError, r"^batch: got 0; expected an integer of at least 1"),
    ((fastdw.depthwise_conv1d, W), {"stride": 0}, ValueError, r"^stride: got 0; expected an integer of at least 1"),
    ((fastdw.depthwise_conv1d, W), {"padding": "same"}, TypeError, r"^padding: got 'same'; expected none: a stream is causal"),
    ((fastdw.depthwise_conv1d, W), {"state": 1}, TypeError, r"^state: got 1; expected none: a stream is causal and carries its own"),
    ((fastdw.separable_conv1d, W, POINTWISE[:8]), {}, ValueError, r"^pointwise_weight: got 8 input channels; expected 16"),
]


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        fastdw.stream(*arguments, **keywords)
