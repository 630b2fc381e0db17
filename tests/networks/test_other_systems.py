"""Whole architectures in other systems, with the same weights: their scores, before softmax, are fastdw's."""

from functools import cache

import numpy as np
import pytest

from fastdw.networks import ARCHITECTURES, Graph, Network, read_onnx, read_tflite

TOLERANCE = 1e-4


@cache
def small(name: str) -> Graph:
    graph = ARCHITECTURES[name](size=65, classes=10)
    if graph.layers[-1].kind == "softmax":
        graph.output = graph.layers[-1].inputs[0]
    return graph


@cache
def case(name: str) -> tuple[np.ndarray, np.ndarray]:
    network = Network(small(name))
    x = np.random.default_rng(0).random(network.input_shape, np.float32)
    return x, network(x)


def check(y: np.ndarray, expected: np.ndarray) -> None:
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_litert(name, tmp_path):
    litert = pytest.importorskip("litert", reason="ai-edge-litert is not installed")
    from bench.networks.to_tflite import to_tflite

    x, y = case(name)
    model = to_tflite(small(name))
    check(y, litert.run(model, x))

    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    network = Network(read_tflite(path))
    assert sorted(layer.kind for layer in network.layers) == sorted(layer.kind for layer in Network(small(name)).layers)
    check(network(x), y)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnxruntime(name, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from bench.networks.to_onnx import to_onnx

    x, y = case(name)
    model = to_onnx(small(name)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})
    check(y, expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected)

    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    np.testing.assert_array_equal(Network(read_onnx(path))(x), y)
