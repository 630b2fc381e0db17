"""Small .onnx files made on the spot, and what ONNX Runtime says they compute."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

IR_VERSIONS = {7: 3, 10: 5, 11: 6, 13: 7, 17: 8, 18: 8, 20: 9, 21: 10}  # by operator set


class TinyOnnx:
    """A model with one input "x". Each node gives "y0", "y1", ...; the last one's is the output."""

    def __init__(self, *input_shape: int | str, opset: int = 17):
        self.input_shape, self.opset = input_shape, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes) -> str:
        name = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def proto(self) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.input_shape)
        y = helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "tiny", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSIONS[self.opset])

    def save(self, folder, name: str = "tiny.onnx"):
        path = folder / name
        path.write_bytes(self.proto().SerializeToString())
        return path


def run(model: TinyOnnx, x: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.proto().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
