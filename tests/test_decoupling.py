"""fastdw.decouple: exact with all terms, better with each, on random and on trained weights; and its command."""

import re
from itertools import pairwise

import numpy as np
import pytest
from models import MODELS

import fastdw
from fastdw import decoupling
from fastdw.cli import main
from fastdw.networks import ARCHITECTURES, Graph, read_tflite
from fastdw.networks.layers import Conv2D

ORDERS = ("depthwise_first", "pointwise_first")
EXACT = 1e-5
TRAINED = ["kws_ref_model_float32", "vww_96_float", "tf2_mobilenet_v2_1.0_224_ptq", "mobilenet_v1_0.25_128_quant"]


def normal(seed, *shape) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm((found - expected).astype(np.float64)) / np.linalg.norm(expected.astype(np.float64)))


def trained_weights() -> list[np.ndarray]:
    pytest.importorskip("tflite", reason="tflite is not installed")
    paths = [path for name in TRAINED if (path := MODELS / f"{name}.tflite").exists()]
    if not paths:
        pytest.skip(f"no models in {MODELS}: set FASTDW_MODELS to the folder of the real models")
    layers = [layer for path in paths for layer in read_tflite(path).layers if isinstance(layer, Conv2D)]
    weights = [layer.weight for layer in layers if layer.kernel != (1, 1)]
    assert weights
    return weights


def check_errors(weight: np.ndarray, order: str) -> None:
    """Errors are those of the weights that come back, fall with the terms, and end at rounding."""
    every = [fastdw.decouple(weight, terms, order=order) for terms in range(1, fastdw.decouple(weight, order=order).most_terms + 1)]
    errors = [decoupled.error for decoupled in every]
    assert all(relative(decoupled.weight(), weight) == pytest.approx(decoupled.error, abs=1e-7) for decoupled in every)
    assert all(later <= earlier + 1e-7 for earlier, later in pairwise(errors))
    assert errors[-1] < EXACT


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (5, 5, 3, 32), (3, 3, 16, 4), (1, 7, 4, 8), (10, 4, 1, 64), (1, 1, 4, 4), (3, 3, 1, 1)])
def test_errors_fall_to_nothing_on_random_weights(shape, order):
    check_errors(normal(0, *shape), order)


@pytest.mark.parametrize("order", ORDERS)
def test_errors_fall_to_nothing_on_trained_weights(order):
    for weight in trained_weights():
        check_errors(weight, order)


@pytest.mark.parametrize("order", ORDERS)
def test_no_other_terms_do_better(order):
    """Each term is orthogonal to the rest, so its square is what the error loses by it, and the largest come first."""
    weight = normal(1, 3, 3, 6, 8)
    squares = [fastdw.decouple(weight, terms, order=order).error ** 2 for terms in range(1, fastdw.decouple(weight, order=order).terms + 1)]
    gains = -np.diff([1.0, *squares])
    assert (gains > -1e-7).all()
    assert (np.diff(gains) <= 1e-6).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("window", [{"padding": "same"}, {"stride": 2, "padding": ((0, 1), (1, 0))}, {"dilation": 2}], ids=str)
def test_a_sum_of_separable_convolutions_is_the_regular_one(window, order):
    x, weight, bias = normal(0, 2, 9, 8, 8), normal(1, 3, 3, 8, 16), normal(2, 16)
    expected = fastdw.conv2d(x, weight, bias, activation="relu", **window)
    residual = normal(3, *expected.shape)
    expected = fastdw.conv2d(x, weight, bias, activation="relu", residual=residual, **window)
    decoupled = fastdw.decouple(weight, order=order)
    out = np.empty_like(expected)
    assert decoupled.conv2d(x, bias, activation="relu", residual=residual, out=out, **window) is out
    assert relative(out, expected) < EXACT


def test_its_weights_go_into_separable_conv2d():
    x, weight, bias = normal(0, 1, 9, 8, 8), normal(1, 3, 3, 8, 16), normal(2, 16)
    decoupled = fastdw.decouple(weight, 4)
    assert decoupled.depthwise.shape == (3, 3, 8, 4)
    assert decoupled.pointwise.shape == (32, 16)
    found = fastdw.separable_conv2d(x, decoupled.depthwise, decoupled.pointwise, None, bias, padding="same")
    np.testing.assert_array_equal(found, decoupled.conv2d(x, bias, padding="same"))
    assert relative(found, fastdw.conv2d(x, decoupled.weight(), bias, padding="same")) < EXACT


def test_the_error_asked_for_is_kept_with_the_fewest_terms():
    weight = normal(3, 3, 3, 8, 16)
    for wanted in (0.9, 0.5, 0.3, 0.1, 1e-3):
        decoupled = fastdw.decouple(weight, error=wanted)
        assert decoupled.error <= wanted * (1 + 1e-5)
        assert decoupled.terms == 1 or fastdw.decouple(weight, decoupled.terms - 1).error > wanted
    assert fastdw.decouple(weight, error=0).terms == 9


def test_a_separable_weight_takes_one_term():
    depthwise, pointwise = normal(0, 3, 3, 8), normal(1, 8, 16)
    assert fastdw.decouple(np.einsum("pqc,cn->pqcn", depthwise, pointwise), error=1e-5).terms == 1
    zero = fastdw.decouple(np.zeros((3, 3, 2, 4), np.float32), error=0.1)
    assert (zero.terms, zero.error) == (1, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_multiplications_and_where_they_break_even(order):
    weight = normal(0, 3, 3, 8, 16)
    regular = fastdw.cost.regular((12, 12, 8), 16).multiply_adds
    counts = {terms: fastdw.decouple(weight, terms, order=order).cost((12, 12, 8)).multiply_adds for terms in range(1, 9)}
    even = fastdw.decouple(weight, order=order).break_even
    assert all((count < regular) == (terms < even) for terms, count in counts.items())
    assert all(count == terms * counts[1] for terms, count in counts.items())
    if order == "depthwise_first":
        assert counts[3] == fastdw.cost.separable((12, 12, 8), 16, multiplier=3).multiply_adds


W = np.ones((3, 3, 4, 8), np.float32)
WRONG = [
    (((3, 3, 4, 8),), {}, TypeError, r"^weight: got tuple; expected a float32 array"),
    ((W.astype(np.float64),), {}, TypeError, r"^weight: got float64; expected float32"),
    ((W[0],), {}, ValueError, r"^weight: got shape \(3, 4, 8\); expected \[kernel_h, kernel_w, in_channels, out_channels\]"),
    ((W[:0],), {}, ValueError, r"^weight: got shape \(0, 3, 4, 8\); expected"),
    ((W * np.inf,), {}, ValueError, r"^weight: got infinities or NaNs; expected finite numbers"),
    ((W, 0), {}, ValueError, r"^terms: got 0; expected an integer of at least 1"),
    ((W, -3), {}, ValueError, r"^terms: got -3; expected an integer of at least 1"),
    ((W, 9), {}, ValueError, r"^terms: got 9; expected at most 8, which are exact"),
    ((W, 5), {"order": "pointwise_first"}, ValueError, r"^terms: got 5; expected at most 4, which are exact"),
    ((W, 1.5), {}, TypeError, r"^terms: got 1.5; expected an integer"),
    ((W, True), {}, TypeError, r"^terms: got True; expected an integer"),
    ((W, 2, 0.1), {}, ValueError, r"^error: got 0.1 and terms=2; expected one of the two"),
    ((W,), {"error": -0.1}, ValueError, r"^error: got -0.1; expected a number of at least 0 and less than 1"),
    ((W,), {"error": 1}, ValueError, r"^error: got 1; expected a number of at least 0 and less than 1"),
    ((W,), {"error": float("nan")}, ValueError, r"^error: got nan; expected a number"),
    ((W,), {"error": "small"}, TypeError, r"^error: got 'small'; expected a number"),
    ((W,), {"order": "random"}, ValueError, r"^order: got 'random'; expected one of 'depthwise_first', 'pointwise_first'"),
]


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(arguments, keywords, error, message):
    with pytest.raises(error, match=message) as caught:
        fastdw.decouple(*arguments, **keywords)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": normal(0, 7)}, r"^(pointwise_)?bias: got shape \(7,\); expected \(8,\)"),
        ({"activation": "elu"}, r"^activation: got 'elu'"),
        ({"stride": 0}, r"^stride: got 0"),
        ({"residual": normal(0, 1, 8, 8, 8)}, r"^residual: got shape .*; expected \(1, 6, 6, 8\)"),
        ({"out": normal(0, 1, 8, 8, 8)}, r"^out: got shape .*; expected \(1, 6, 6, 8\)"),
        ({"x": (memory := normal(0, 1, 8, 8, 8))[..., :4], "out": memory[:, :6, :6]}, r"^out: got an array that overlaps x"),
        ({"residual": (sums := normal(0, 1, 6, 6, 8)), "out": sums}, r"^out: got an array that overlaps residual"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_wrong_arguments_of_the_convolution_compute_nothing(changes, message, order, monkeypatch):
    monkeypatch.setattr(decoupling, "pointwise_conv2d", lambda *arrays, **keywords: pytest.fail("computed first"))
    with pytest.raises(ValueError, match=message):
        fastdw.decouple(W, order=order).conv2d(**({"x": normal(0, 1, 8, 8, 4)} | changes))


@pytest.fixture
def regular_network(monkeypatch):
    """A small network with two regular convolutions, under a name of its own."""
    graph = Graph("regular", (1, 8, 8, 4))
    first = graph.add(Conv2D("first", ("input",), normal(0, 3, 3, 4, 8), bias=normal(1, 8), activation="relu"))
    graph.add(Conv2D("second", (first,), normal(2, 3, 3, 8, 8), bias=None))
    monkeypatch.setitem(ARCHITECTURES, "regular", lambda: graph)


ROW = re.compile(r"^(first|second) +\S+ +3x3x[48]x8 +(\d) +(0\.\d{4}) +([\d,]+) +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+$", re.MULTILINE)


def test_the_command(capsys, regular_network):
    assert main(["decouple", "regular", "--terms", "4", "--repeat", "2", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    rows = ROW.findall(printed)
    assert [(name, terms) for name, terms, *_ in rows] == [("first", "4"), ("second", "4")]
    assert float(rows[0][2]) == pytest.approx(fastdw.decouple(normal(0, 3, 3, 4, 8), 4).error, abs=1e-4)
    assert rows[0][3] == f"{36 * 4 * 4 * (9 + 8):,}"
    assert "first: fewer multiplications below 4.24 terms; " in printed


def test_the_command_by_error(capsys, regular_network):
    assert main(["decouple", "regular", "--error", "0.5", "--repeat", "1", "--threads", "1"]) == 0
    terms = {name: int(number) for name, number, *_ in ROW.findall(capsys.readouterr().out)}
    assert terms["first"] == fastdw.decouple(normal(0, 3, 3, 4, 8), error=0.5).terms


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.tflite"], "model: got 'nothing.tflite'; expected a .tflite or .onnx file, or one of"),
        (["regular", "--terms", "0"], "argument --terms: got 0; expected a whole number of at least 1"),
        (["regular", "--terms", "4", "9"], "terms: got 9; expected at most 8, which make every layer exact"),
        (["regular", "--terms", "2", "--error", "0.5"], "argument --error: not allowed with argument --terms"),
        (["regular", "--error", "2"], "error: got 2.0; expected a number of at least 0 and less than 1"),
    ],
)
def test_the_command_on_wrong_arguments(capsys, regular_network, arguments, message):
    try:
        status = main(["decouple", *arguments])
    except SystemExit as exit:
        status = exit.code
    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert message in printed.err
