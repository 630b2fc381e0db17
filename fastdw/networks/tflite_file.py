"""Reads the flatbuffer of a .tflite file into plain records.

A flatbuffer is a web of offsets, and nothing in the file can be trusted: every count is held against the size of the file before
it is used, every index against its table, every constant against the bytes that its shape takes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fastdw.networks.windows import Shape

IDENTIFIER = b"TFL3"
BYTES_PER_ENTRY = 4  # what an entry of a flatbuffer vector of tables takes at least
MOST_AXES = 8
DTYPES: dict[str, np.dtype] = {
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}

WINDOW_OPTIONS = ("Padding", "StrideH", "StrideW")
OPTIONS = {
    "CONV_2D": ("Conv2DOptions", (*WINDOW_OPTIONS, "DilationHFactor", "DilationWFactor", "FusedActivationFunction")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*WINDOW_OPTIONS, "DilationHFactor", "DilationWFactor", "FusedActivationFunction")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*WINDOW_OPTIONS, "FilterHeight", "FilterWidth", "FusedActivationFunction")),
    "MAX_POOL_2D": ("Pool2DOptions", (*WINDOW_OPTIONS, "FilterHeight", "FilterWidth", "FusedActivationFunction")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "DIV": ("DivOptions", ("FusedActivationFunction",)),
    "GELU": ("GeluOptions", ("Approximate",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
}


@dataclass(frozen=True, eq=False)
class Tensor:
    index: int
    type_name: str
    shape: Shape
    data: np.ndarray | None = field(repr=False)  # the bytes of a constant
    scale: np.ndarray = field(repr=False)  # float32, empty where the tensor is not quantised
    zero_point: np.ndarray = field(repr=False)
    axis: int
    is_sparse: bool

    @property
    def is_quantised(self) -> bool:
        return self.dtype.kind in "iu" and self.scale.size > 0

    @property
    def dtype(self) -> np.dtype:
        if self.type_name not in DTYPES:
            raise ValueError(f"tensor {self.index}: got type {self.type_name}; expected one of {', '.join(DTYPES)}")
        return DTYPES[self.type_name]

    def stored(self) -> np.ndarray:
        """The values of a constant as the file holds them."""
        if self.data is None or self.is_sparse:
            raise ValueError(f"tensor {self.index}: got {'sparse values' if self.is_sparse else 'no values'}; expected a dense constant")
        n_bytes = prod(self.shape) * self.dtype.itemsize
        if min(self.shape, default=1) < 1 or self.data.size != n_bytes:
            raise ValueError(f"tensor {self.index}: got {self.data.size} bytes; expected {n_bytes} for {self.type_name} {self.shape}")
        return self.data.view(self.dtype).reshape(self.shape)

    def integers(self) -> tuple[int, ...]:
        """A constant of integers: axes, paddings, shapes."""
        if self.dtype.kind != "i":
            raise ValueError(f"tensor {self.index}: got {self.type_name}; expected INT32 or INT64")
        return tuple(self.stored().reshape(-1).tolist())

    def values(self) -> np.ndarray:
        """A constant as float32: (stored - zero_point) * scale where it is quantised."""
        stored = self.stored()
        if self.dtype.kind != "f":
            scale, zero_point = self.quantisation()
            stored = (stored.astype(np.float64) - zero_point) * scale
        with np.errstate(over="ignore"):
            values = stored.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"tensor {self.index}: got a value that is not finite; expected finite ones")
        return values

    def quantisation(self) -> tuple[np.ndarray, np.ndarray]:
        """scale and zero point, in a shape that broadcasts to the tensor's"""
        if not self.is_quantised:
            raise ValueError(f"tensor {self.index}: got {self.type_name} without a scale; expected a quantised tensor")
        if not (np.isfinite(self.scale) & (self.scale > 0)).all():
            raise ValueError(f"tensor {self.index}: got a scale of {self.scale.min()}; expected finite scales above 0")
        if self.scale.size == 1:
            return self.scale[0], self.zero_point[0]
        if not 0 <= self.axis < len(self.shape) or self.scale.size != self.shape[self.axis]:
            raise ValueError(
                f"tensor {self.index}: got {self.scale.size} scales on axis {self.axis}; expected as many as {self.shape} has there"
            )
        broadcast = [-1 if axis == self.axis else 1 for axis in range(len(self.shape))]
        return self.scale.reshape(broadcast), self.zero_point.reshape(broadcast)


@dataclass(frozen=True)
class Operator:
    index: int
    name: str
    inputs: tuple[int, ...]  # tensors; -1 for an optional one left out
    outputs: tuple[int, ...]
    options: dict[str, Any] | None


@dataclass(frozen=True)
class Model:
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_model(path: Path) -> Model:
    """The first subgraph of a .tflite file; ValueError where the file is not one, or is damaged."""
    try:
        import tflite
    except ImportError:
        raise ImportError("tflite: got no such package; expected it installed, by pip install fastdw[models]") from None
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"got {data[:8]!r} at its start; expected a TensorFlow Lite model, with {IDENTIFIER!r} at byte 4")
    try:
        return Parser(tflite, data).model()
    except (struct.error, IndexError, TypeError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise ValueError(f"got a damaged file ({error}); expected a whole TensorFlow Lite model") from error


class Parser:
    """Walks the tables. Whatever it raises means a damaged file."""

    def __init__(self, tflite: Any, data: bytes):
        self.tflite = tflite
        self.data = data
        self.type_names = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
        self.operator_names = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}

    def model(self) -> Model:
        root = self.tflite.Model.GetRootAs(self.data, 0)
        subgraph = at(list(self.entries(root, "Subgraphs")), 0, "subgraph")
        buffers = list(self.entries(root, "Buffers"))
        codes = [self.operator_name(code) for code in self.entries(root, "OperatorCodes")]
        tensors = [self.tensor(index, table, buffers) for index, table in enumerate(self.entries(subgraph, "Tensors"))]
        operators = [self.operator(index, table, codes) for index, table in enumerate(self.entries(subgraph, "Operators"))]
        model = Model(tensors, operators, self.integers(subgraph, "Inputs"), self.integers(subgraph, "Outputs"))
        for index in (*model.inputs, *model.outputs, *(index for operator in operators for index in operator.inputs + operator.outputs)):
            if not -1 <= index < len(tensors):
                raise ValueError(f"tensor {index} of {len(tensors)}")
        return model

    def tensor(self, index: int, table: Any, buffers: list[Any]) -> Tensor:
        shape = self.integers(table, "Shape")
        if len(shape) > MOST_AXES:
            raise ValueError(f"tensor {index} of {len(shape)} axes")
        buffer = at(buffers, table.Buffer(), "buffer")
        data = self.vector(buffer, "Data", np.uint8)
        quantisation = table.Quantization()
        scale = self.vector(quantisation, "Scale", np.float32)
        zero_point = self.vector(quantisation, "ZeroPoint", np.int64)
        if zero_point.size != scale.size:
            if zero_point.size:
                raise ValueError(f"tensor {index} with {scale.size} scales and {zero_point.size} zero points")
            zero_point = np.zeros(scale.size, np.int64)
        return Tensor(
            index=index,
            type_name=self.type_names.get(table.Type(), str(table.Type())),
            shape=shape,
            data=data if data.size else None,
            scale=scale,
            zero_point=zero_point,
            axis=quantisation.QuantizedDimension() if quantisation else 0,
            is_sparse=table.Sparsity() is not None,
        )

    def operator(self, index: int, table: Any, codes: list[str]) -> Operator:
        name = at(codes, table.OpcodeIndex(), "operator code")
        options = self.options(name, table)
        return Operator(index, name, self.integers(table, "Inputs"), self.integers(table, "Outputs"), options)

    def operator_name(self, code: Any) -> str:
        value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.operator_names.get(value, str(value))
        return f"CUSTOM {code.CustomCode()!r}" if name == "CUSTOM" else name

    def options(self, name: str, table: Any) -> dict[str, Any] | None:
        if name not in OPTIONS or table.BuiltinOptions() is None:
            return None
        class_name, fields = OPTIONS[name]
        if table.BuiltinOptionsType() != getattr(self.tflite.BuiltinOptions, class_name):
            raise ValueError(f"{name} with options of type {table.BuiltinOptionsType()}")
        options = getattr(self.tflite, class_name)()
        options.Init(table.BuiltinOptions().Bytes, table.BuiltinOptions().Pos)
        return {field: getattr(options, field)() for field in fields}

    def entries(self, table: Any, field: str) -> Iterator[Any]:
        count = getattr(table, f"{field}Length")()
        if count * BYTES_PER_ENTRY > len(self.data):
            raise ValueError(f"{count} {field}")
        return (getattr(table, field)(index) for index in range(count))

    def vector(self, table: Any, field: str, dtype: type) -> np.ndarray:
        if table is None or not getattr(table, f"{field}Length")():
            return np.empty(0, dtype)
        return getattr(table, f"{field}AsNumpy")()

    def integers(self, table: Any, field: str) -> tuple[int, ...]:
        return tuple(self.vector(table, field, np.int32).tolist())


def at(entries: list[Any], index: int, what: str) -> Any:
    if not 0 <= index < len(entries):
        raise ValueError(f"{what} {index} of {len(entries)}")
    return entries[index]
