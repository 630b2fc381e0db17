"""LiteRT as the reference: runs a model, and rewrites a quantised one so that it runs in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

flatbuffers = pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")
interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

DTYPES = {schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8, schema.TensorType.INT32: np.int32}
QUANTIZATION = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    """The output of a model with one input and one output."""
    runner = interpreter.Interpreter(model_content=model, num_threads=1)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], x)
    runner.invoke()
    return runner.get_tensor(runner.get_output_details()[0]["index"])


def read(path: Path):
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def pack(model) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def builtin_code(model, operator) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def dequantised(path: Path) -> bytes:
    """The same network in float32: constants dequantised, activations float, operators between integers and floats left out."""
    model = read(path)
    (graph,) = model.subgraphs
    for tensor in graph.tensors:
        quantisation = tensor.quantization
        if tensor.type not in DTYPES or quantisation is None or quantisation.scale is None or not len(quantisation.scale):
            continue
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            stored = np.frombuffer(np.asarray(data, np.uint8).tobytes(), DTYPES[tensor.type]).reshape(tensor.shape)
            scales = np.reshape(quantisation.scale, [-1 if axis == quantisation.quantizedDimension else 1 for axis in range(stored.ndim)])
            zero_points = np.reshape(quantisation.zeroPoint, scales.shape)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(((stored.astype(np.float64) - zero_points) * scales).astype(np.float32).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        tensor.type = schema.TensorType.FLOAT32
        tensor.quantization = None
    renamed: dict[int, int] = {}
    operators = []
    for operator in graph.operators:
        operator.inputs = np.array([renamed.get(index, index) for index in operator.inputs], np.int32)
        if builtin_code(model, operator) in QUANTIZATION:
            renamed[operator.outputs[0]] = operator.inputs[0]
        else:
            operators.append(operator)
    graph.operators = operators
    graph.outputs = np.array([renamed.get(index, index) for index in graph.outputs], np.int32)
    model.signatureDefs = None
    return pack(model)
