"""Small .tflite files made on the spot."""

from __future__ import annotations

import litert
import numpy as np
from litert import schema

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
NONE, RELU, RELU_N1_TO_1, RELU6, TANH = range(5)  # fused activations
TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}


class TinyModel:
    """A model with one subgraph. Tensors are known by their indices; the first is the input, the last added the output."""

    def __init__(self, *input_shape: int, dtype=np.float32, scale: float | None = None, zero_point: int = 0):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.graph.inputs = [self.tensor(input_shape, dtype, scale=scale, zero_point=zero_point)]
        self.graph.outputs = []

    def tensor(self, shape, dtype=np.float32, data: np.ndarray | None = None, scale=None, zero_point=0, axis: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = list(shape), TYPES[np.dtype(dtype)], f"t{len(self.graph.tensors)}", 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization.zeroPoint = np.broadcast_to(np.asarray(zero_point, np.int64), tensor.quantization.scale.shape).copy()
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values, dtype=np.float32, **quantisation) -> int:
        values = np.asarray(values, dtype)
        return self.tensor(values.shape, dtype, values, **quantisation)

    def operator(self, name: str, inputs, output_shape, dtype=np.float32, options: str = "", quantisation=None, **fields) -> int:
        """Appends an operator; options is the name of its options table, fields what it holds."""
        code = schema.OperatorCodeT()
        value = getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = value, min(value, 127), 1
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        output = self.tensor(output_shape, dtype, **(quantisation or {}))
        operator.inputs, operator.outputs = list(inputs), [output]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for field, field_value in fields.items():
                assert hasattr(operator.builtinOptions, field), field
                setattr(operator.builtinOptions, field, field_value)
        self.graph.operators.append(operator)
        self.graph.outputs = [output]
        return output

    def pack(self) -> bytes:
        return litert.pack(self.model)

    def save(self, folder, name: str = "tiny.tflite"):
        path = folder / name
        path.write_bytes(self.pack())
        return path


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def conv(model, x, output_shape, weight, bias=None, *, padding=SAME, stride=(1, 1), dilation=(1, 1), activation=NONE) -> int:
    inputs = [x, model.constant(weight), *([] if bias is None else [model.constant(bias)])]
    return model.operator(
        "CONV_2D",
        inputs,
        output_shape,
        options="Conv2DOptions",
        padding=padding,
        strideH=stride[0],
        strideW=stride[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=activation,
    )


def depthwise(model, x, output_shape, weight, *, padding=SAME, stride=1, dilation=(1, 1), activation=NONE) -> int:
    return model.operator(
        "DEPTHWISE_CONV_2D",
        [x, model.constant(weight), model.constant(random(weight.shape[-1]))],
        output_shape,
        options="DepthwiseConv2DOptions",
        padding=padding,
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        depthMultiplier=weight.shape[-1] // model.graph.tensors[x].shape[-1],
        fusedActivationFunction=activation,
    )


def pool(model, kind, x, output_shape, window, stride, padding, activation=NONE) -> int:
    return model.operator(
        kind,
        [x],
        output_shape,
        options="Pool2DOptions",
        padding=padding,
        strideH=stride[0],
        strideW=stride[1],
        filterHeight=window[0],
        filterWidth=window[1],
        fusedActivationFunction=activation,
    )
