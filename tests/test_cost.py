"""fastdw.cost: the worked numbers, the published totals, and the counts against what the calls themselves state."""

import math
from dataclasses import replace

import numpy as np
import pytest
from profiles import entry

import fastdw
from fastdw import cost, planner, profile_files
from fastdw.cli import main
from fastdw.kernels.spec import Blocking
from fastdw.machine import host
from fastdw.networks import Graph, mobilenet_v1, mobilenet_v2
from fastdw.networks.layers import Conv2D, DepthwiseConv2D
from fastdw.planner import plan
from fastdw.problem import DEPTHWISE, Problem


def test_the_worked_example():
    """8x8x3 -> 8x8x256 with 5x5 kernels."""
    regular, separable = cost.regular((8, 8, 3), 256, 5), cost.separable((8, 8, 3), 256, 5)
    depthwise, pointwise = separable.parts
    assert regular.multiply_adds == 1_228_800
    assert (depthwise.multiply_adds, pointwise.multiply_adds) == (4_800, 49_152)
    assert separable.multiply_adds == 53_952
    assert round(regular.multiply_adds / separable.multiply_adds, 1) == 22.8
    assert cost.separable_ratio(256, 5) == pytest.approx(separable.multiply_adds / regular.multiply_adds, rel=1e-12)


@pytest.mark.parametrize(("size", "kernel", "channels", "out_channels"), [(8, 5, 3, 256), (14, 3, 512, 512), (7, 1, 2, 3), (1, 3, 5, 7)])
def test_the_formulas(size, kernel, channels, out_channels):
    shape, area, taps = (size, size, channels), size**2, kernel**2
    assert cost.regular(shape, out_channels, kernel).multiply_adds == out_channels * area * taps * channels
    assert cost.depthwise(shape, kernel).multiply_adds == channels * area * taps
    assert cost.pointwise(shape, out_channels).multiply_adds == channels * area * out_channels
    assert cost.separable(shape, out_channels, kernel).multiply_adds == channels * area * (taps + out_channels)
    assert cost.separable(shape, out_channels, kernel).parameters == channels * (taps + out_channels)
    assert cost.separable(shape, out_channels, kernel, bias=True).parameters == channels * (taps + out_channels) + channels + out_channels


def test_an_inverted_residual_has_three_parts():
    block = cost.inverted_residual((2, 14, 14, 32), 64, expansion=6, stride=2)
    assert [part.name for part in block.parts] == ["expand", "depthwise", "project"]
    assert [part.multiply_adds for part in block.parts] == [2 * 196 * 32 * 192, 2 * 49 * 9 * 192, 2 * 49 * 192 * 64]
    assert block.out_shape == (2, 7, 7, 64)
    assert [part.name for part in cost.inverted_residual((14, 14, 32), 64, expansion=1).parts] == ["depthwise", "project"]


def test_bytes():
    block = cost.separable((6, 5, 8), 16, bias=True)
    image, hidden, out, weights = 6 * 5 * 8, 6 * 5 * 8, 6 * 5 * 16, 9 * 8 + 8 + 8 * 16 + 16
    assert block.bytes_moved == 4 * (image + weights + out)
    assert block.bytes_planned >= block.bytes_moved + 2 * 4 * hidden
    assert block.intensity == pytest.approx(block.flops / block.bytes_moved)


@pytest.mark.parametrize(
    ("found", "call", "weight", "window"),
    [
        (cost.depthwise((28, 28, 32), stride=2), fastdw.depthwise_conv2d, (3, 3, 32, 1), {"stride": 2, "padding": "same"}),
        (cost.regular((28, 28, 32), 64, stride=2), fastdw.conv2d, (3, 3, 32, 64), {"stride": 2, "padding": "same"}),
        (cost.pointwise((28, 28, 32), 64), fastdw.pointwise_conv2d, (32, 64), {}),
    ],
    ids=["depthwise", "regular", "pointwise"],
)
def test_costs_are_those_of_the_calls(found, call, weight, window):
    """explain() plans with the same problem, so its work and bytes are these."""
    problem = fastdw.explain(call, (1, 28, 28, 32), np.ones(weight, np.float32), **window).problem
    assert (found.multiply_adds, found.bytes_moved) == (problem.multiply_adds, problem.bytes_moved)
    assert found.parameters == math.prod(weight)


def test_costs_are_those_of_the_defaults_whatever_is_tuned(own_profile):
    before = cost.depthwise((56, 56, 128), padding="same")
    default = fastdw.explain(fastdw.depthwise_conv2d, (1, 56, 56, 128), np.ones((3, 3, 128, 1), np.float32), padding="same", threads=1)
    tuned = next(one for one in planner.space(default.problem, 1, host()) if cost.bytes_of(one) != before.bytes_planned)
    profile_files.update(own_profile, [entry(tuned, 1)])
    fastdw.use_profile(None)
    assert planner.plan(default.problem).blocking == tuned.blocking
    assert cost.depthwise((56, 56, 128), padding="same") == before


@pytest.mark.parametrize(
    ("size", "kernel", "channels", "rows", "columns"), [(28, 3, 64, 4, 64), (28, 5, 64, 7, 16), (9, 3, 16, 2, 16), (28, 3, 64, 28, 64)]
)
def test_planned_bytes_are_those_of_the_tasks(size, kernel, channels, rows, columns):
    """Counted task by task: the rows of x under it (padding included as if it were read), its weights and its outputs."""
    out = size - kernel + 1
    planned = plan(Problem(DEPTHWISE, 1, size, size, channels, channels, (kernel, kernel)))
    planned = replace(planned, blocking=Blocking(rows, columns))
    n_blocks = max(1, min(out, -(-out // rows)))
    in_rows = out + n_blocks * (kernel - 1)
    assert cost.bytes_of(planned) == 4 * (in_rows * size * channels + n_blocks * kernel**2 * channels + out * out * channels)


@pytest.mark.parametrize(("make", "millions", "published"), [(mobilenet_v1, 569, 4.2), (mobilenet_v2, 300, 3.4)])
def test_the_published_totals(make, millions, published):
    """Howard et al. 2017, table 4; Sandler et al. 2018, table 4. The second prints 3.4 for 3.47 without biases."""
    whole = cost.network(make())
    assert abs(whole.multiply_adds / 1e6 - millions) < 1
    assert math.floor(whole.parameters / 1e5) / 10 == published
    assert whole.multiply_adds == sum(part.multiply_adds for part in whole.parts)
    assert whole.bytes_moved < sum(part.bytes_moved for part in whole.parts) <= whole.bytes_planned


def test_a_network_by_hand():
    graph = Graph("two", (1, 6, 6, 4))
    first = graph.add(Conv2D("first", ("input",), np.ones((3, 3, 4, 8), np.float32), bias=np.ones(8, np.float32)))
    graph.add(DepthwiseConv2D("second", (first,), np.ones((3, 3, 8, 1), np.float32)))
    found = cost.network(graph)
    assert [part.multiply_adds for part in found.parts] == [16 * 9 * 4 * 8, 4 * 9 * 8]
    assert found.parameters == 9 * 4 * 8 + 8 + 9 * 8
    assert found.bytes_moved == 4 * (36 * 4 + found.parameters + 4 * 8)


def test_the_roof():
    found = cost.depthwise((14, 14, 512))
    arithmetic, memory = cost.Roof(1e9, 1e15), cost.Roof(1e15, 1e9)
    assert found.seconds(arithmetic) == pytest.approx(found.flops / 1e9)
    assert found.seconds(memory) == pytest.approx(found.bytes_moved / 1e9)


WRONG = [
    (lambda: cost.regular((8, 8), 3), ValueError, r"^x_shape: got \(8, 8\); expected \(height, width, channels\)"),
    (lambda: cost.regular(8, 3), TypeError, r"^x_shape: got 8; expected"),
    (lambda: cost.regular((8, 0, 3), 3), ValueError, r"^x_shape: got 0; expected an integer of at least 1"),
    (lambda: cost.regular((8, 8, 3), 0), ValueError, r"^out_channels: got 0; expected"),
    (lambda: cost.regular((8, 8, 3), 4, kernel=0), ValueError, r"^kernel: got 0; expected"),
    (lambda: cost.regular((8, 8, 3), 4, kernel=(3, 3, 3)), ValueError, r"^kernel: got \(3, 3, 3\); expected one integer or \(rows, col"),
    (
        lambda: cost.depthwise((8, 8, 3), 9, padding="valid"),
        ValueError,
        r"^weight: got a kernel that spans 9 in height; expected at most 8",
    ),
    (lambda: cost.depthwise((8, 8, 3), padding="some"), ValueError, r"^padding: got 'some'; expected one of"),
    (lambda: cost.depthwise((8, 8, 3), multiplier=1.5), TypeError, r"^multiplier: got 1.5; expected an integer"),
    (lambda: cost.pointwise((8, 8, 3), True), TypeError, r"^out_channels: got True; expected an integer"),
    (lambda: cost.separable((8, 8, 3), 4, bias=1), TypeError, r"^bias: got 1; expected True or False"),
    (lambda: cost.inverted_residual((8, 8, 3), 4, expansion=0), ValueError, r"^expansion: got 0; expected"),
    (lambda: cost.separable_ratio(0, 3), ValueError, r"^out_channels: got 0; expected"),
    (lambda: cost.Roof(0, 1), ValueError, r"^flops_per_second: got 0; expected more than 0"),
    (lambda: cost.Roof(1, float("nan")), ValueError, r"^bytes_per_second: got nan; expected more than 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_command_on_a_network(capsys):
    assert main(["cost", "--network", "mobilenet_v1", "--roof", "265", "30"]) == 0
    printed = capsys.readouterr().out
    assert "mobilenet_v1: 569 M multiply-adds, 4.22 M parameters\n" in printed
    assert len(printed.split("\n\n")[0].splitlines()) == 1 + 30 + 1
    assert "block12/depthwise" in printed
    assert "layer by layer at least " in printed


def test_the_command_on_a_layer(capsys):
    assert main(["cost", "--layer", "8x8x3", "--out", "256", "--kernel", "5"]) == 0
    printed = capsys.readouterr().out
    for words in ("1,228,800", "53,952", "4,800", "49,152", "22.8 times fewer"):
        assert words in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --network --layer is required"),
        (["--layer", "8x8"], "argument --layer: got 8x8; expected height x width x channels"),
        (["--layer", "8x8x0"], "argument --layer: got 0; expected a whole number"),
        (["--network", "nothing"], "model: got 'nothing'; expected a .tflite or .onnx file, or one of mobilenet_v1"),
        (["--layer", "8x8x8", "--roof", "0", "1"], "flops_per_second: got 0.0; expected more than 0"),
    ],
)
def test_the_command_on_wrong_arguments(capsys, arguments, message):
    try:
        status = main(["cost", *arguments])
    except SystemExit as exit:
        status = exit.code
    printed = capsys.readouterr()
    assert (status, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert message in printed.err
