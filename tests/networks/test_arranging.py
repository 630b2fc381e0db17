"""Layers that move elements."""

import numpy as np
import pytest
from graphs import run_layer

from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear, Transpose
from fastdw.networks.graph import INPUT, Graph


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
