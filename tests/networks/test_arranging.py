"""Layers that move elements."""

import numpy as np
import pytest
from graphs import meaning, run_layer, value

from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear, Transpose
from fastdw.networks.compiled import input_name
from fastdw.networks.elementwise import Activate, Multiply
from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.network import Network
from fastdw.program import Program


def test_pad():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    padding = ((0, 1), (2, 0), (1, 3))
    np.testing.assert_array_equal(run_layer(Pad("pad", (INPUT,), padding=padding), x), np.pad(x, padding))


@pytest.mark.parametrize(("shape", "expected"), [((-1,), (24,)), ((4, -1), (4, 6)), ((24, 1), (24, 1))])
def test_reshape(shape, expected):
    assert Reshape("reshape", (INPUT,), shape=shape).output_shape((2, 3, 4)) == expected


@pytest.mark.parametrize("shape", [(-1, -1), (5, -1), (25,), (0, 24), (0, -1), (-2, -12)])
def test_reshape_that_does_not_fit(shape):
    graph = Graph("test", (2, 3, 4))
    with pytest.raises(ValueError, match=r"^reshape: shape: got .*; expected the 24 elements of "):
        graph.add(Reshape("reshape", (INPUT,), shape=shape))


def test_transpose():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(run_layer(Transpose("transpose", (INPUT,), axes=(2, 0, 1)), x), x.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r"axes: got \(0, 0, 1\); expected each axis of \(2, 3, 4\) once"):
        Transpose("transpose", (INPUT,), axes=(0, 0, 1)).output_shape((2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate(axis):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    y = x[:1] if axis == 0 else x[:, :1] if axis == 1 else x[..., :1]
    np.testing.assert_array_equal(run_layer(Concatenate("concatenate", (INPUT, "b"), axis=axis), x, y), np.concatenate([x, y], axis))


def test_concatenate_what_does_not_fit():
    with pytest.raises(ValueError, match=r"inputs: got shapes .* and .*; expected shapes that differ on axis 1 alone"):
        Concatenate("concatenate", (INPUT, "b"), axis=1).output_shape((2, 3, 4), (2, 3, 5))
    with pytest.raises(ValueError, match="axis: got 3; expected one of the 3 of "):
        Concatenate("concatenate", (INPUT, "b"), axis=3).output_shape((2, 3, 4), (2, 3, 4))


def test_resize_with_corners_aligned():
    x = np.array([[0, 1], [2, 3]], np.float32).reshape(1, 2, 2, 1)
    y = run_layer(ResizeBilinear("resize", (INPUT,), size=(3, 3), align_corners=True), x)
    np.testing.assert_allclose(y[0, :, :, 0], [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])


def test_resize_with_half_pixels():
    x = np.array([[0, 4]], np.float32).reshape(1, 1, 2, 1)
    y = run_layer(ResizeBilinear("resize", (INPUT,), size=(2, 4), half_pixel_centers=True), x)
    np.testing.assert_allclose(y[0, :, :, 0], [[0, 1, 3, 4]] * 2)


@pytest.mark.parametrize(("half_pixels", "expected"), [(False, [0, 1 / 1.3, 2 / 1.3]), (True, [0, 1.5 / 1.3 - 0.5, 2.5 / 1.3 - 0.5])])
def test_resize_by_a_scale_that_gives_no_whole_size(half_pixels, expected):
    """The given scale places the outputs, not 3 / 3."""
    x = np.array([0, 1, 2], np.float32).reshape(1, 1, 3, 1)
    y = run_layer(ResizeBilinear("resize", (INPUT,), size=(1, 3), scale=(1.0, 1.3), half_pixel_centers=half_pixels), x)
    np.testing.assert_allclose(y[0, 0, :, 0], expected, atol=1e-6)


LAYERS = [  # makes the layer of the names of its inputs; input shapes
    (lambda *names: Pad("layer", names, padding=((0, 0), (2, 1), (0, 3), (0, 0))), [(2, 3, 4, 5)]),
    (lambda *names: Pad("layer", names, padding=((0, 0), (0, 0), (1, 0), (0, 0))), [(1, 40, 30, 17)]),
    (lambda *names: Pad("layer", names, padding=((0, 0), (1, 2), (3, 1), (0, 0))), [(2, 80, 60, 17)]),
    (lambda *names: Concatenate("layer", names), [(2, 3, 5), (2, 3, 1), (2, 3, 7), (2, 3, 2)]),
    (lambda *names: Concatenate("layer", names, axis=1), [(2, 30, 30, 16), (2, 1, 30, 16), (2, 2, 30, 16)]),
    (lambda *names: Concatenate("layer", names, axis=0), [(2, 3), (1, 3)]),
    *[
        (lambda *names, size=size, how=how: ResizeBilinear("layer", names, size=size, **how), [(2, 5, 7, channels)])
        for channels, size, how in [
            (1, (9, 20), {}),
            (2, (3, 3), {"half_pixel_centers": True}),
            (3, (9, 20), {"align_corners": True}),
            (21, (41, 39), {"align_corners": True}),
            (21, (1, 1), {"half_pixel_centers": True}),
            (64, (10, 14), {"half_pixel_centers": True}),
            (3, (6, 16), {"half_pixel_centers": True, "scale": (1.3, 2.3)}),
        ]
    ],
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("make", "shapes"), LAYERS)
def test_steps_have_the_bits_of_numpy(make, shapes, threads):
    layer = make(*(f"input{index}" for index in range(len(shapes))))
    inputs = [value(*shape, seed=index) for index, shape in enumerate(shapes)]
    expected, out = (np.full(layer.output_shape(*shapes), np.nan, np.float32) for _ in range(2))
    layer.run(*inputs, out=expected)
    arrays = {input_name(index): array for index, array in enumerate(inputs)} | {"out": out}
    steps = layer.prepare(threads, *shapes).steps
    Program([(step, {**arrays, **parameters}) for step, parameters in steps], threads).run(out, out, out, 0)
    np.testing.assert_array_equal(out.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_of_them_is_one_program(threads):
    graph = Graph("test", (1, 6, 7, 5))
    small = graph.add(Activate("small", (INPUT,), activation="relu6"))
    larger = graph.add(ResizeBilinear("larger", (small,), size=(12, 14)))
    padded = graph.add(Pad("padded", (larger,), padding=((0, 0), (1, 1), (0, 2), (0, 0))))
    twice = graph.add(Multiply("twice", (padded,), constant=np.float32([2])))
    graph.add(Concatenate("all", (padded, twice, padded)))
    x = value(1, 6, 7, 5)
    network = Network(graph, threads=threads)
    assert len(network._runs) == 1
    assert {layer.name for layer in network.layers if not layer.kernel} == {"padded", "all"}, "by themselves they are NumPy's"
    expected = meaning(graph, x)
    for _ in range(2):  # the second time memory holds what the first has left
        np.testing.assert_array_equal(network(x), expected)
