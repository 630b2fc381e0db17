"""Reads an .onnx file into plain records. Nothing outside the file is read, and no count in it is trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fastdw.networks.graph import MOST_VALUE_BYTES
from fastdw.networks.windows import Shape

MOST_AXES = 8
OLDEST_OPSET = 7


@dataclass(frozen=True)
class Node:
    index: int
    kind: str
    inputs: tuple[str, ...]  # "" for an optional one left out
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Model:
    """One input that is no constant, one output."""

    opset: int
    input_name: str
    input_shape: Shape
    output_name: str
    nodes: list[Node]
    constants: dict[str, np.ndarray] = field(repr=False)


def read_model(path: Path) -> Model:
    """The graph of an .onnx file; ValueError where the file is not one, or is damaged."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ImportError("onnx: got no such package; expected it installed, by pip install fastdw[onnx]") from None
    data = path.read_bytes()
    try:
        proto = onnx.ModelProto.FromString(data)
    except (DecodeError, RuntimeError) as error:
        raise ValueError(f"got a damaged file ({' '.join(str(error).split())}); expected a whole ONNX model") from error
    return Parser(onnx).model(proto)


class Parser:
    def __init__(self, onnx: Any):
        self.onnx = onnx

    def model(self, proto: Any) -> Model:
        opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if opset < OLDEST_OPSET:
            raise ValueError(f"operator set: got {opset}; expected at least {OLDEST_OPSET}")
        constants = {tensor.name: self.constant(tensor) for tensor in proto.graph.initializer}
        inputs = [value for value in proto.graph.input if value.name not in constants]
        if len(inputs) != 1 or len(proto.graph.output) != 1:
            raise ValueError(f"got {len(inputs)} inputs and {len(proto.graph.output)} outputs; expected one of each")
        if not proto.graph.node:
            raise ValueError("got a graph without nodes; expected at least one")
        nodes = [self.node(index, node) for index, node in enumerate(proto.graph.node)]
        return Model(opset, inputs[0].name, self.shape(inputs[0]), proto.graph.output[0].name, nodes, constants)

    def node(self, index: int, node: Any) -> Node:
        kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        try:
            attributes = {attribute.name: self.attribute(attribute) for attribute in node.attribute}
        except ValueError as error:
            raise ValueError(f"node {index} {kind}: {error}") from error
        return Node(index, kind, tuple(node.input), tuple(node.output), attributes)

    def attribute(self, attribute: Any) -> Any:
        if attribute.type == attribute.TENSOR:
            return self.constant(attribute.t)
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            raise ValueError(f"{attribute.name}: got a graph inside a node, which is not supported; expected none")
        if attribute.type == attribute.STRING:
            return attribute.s.decode("utf-8", "replace")
        values = {
            attribute.INT: attribute.i,
            attribute.FLOAT: attribute.f,
            attribute.INTS: list(attribute.ints),
            attribute.FLOATS: list(attribute.floats),
            attribute.STRINGS: list(attribute.strings),
        }
        if attribute.type not in values:
            raise ValueError(f"{attribute.name}: got an attribute of type {attribute.type}; expected numbers, texts or a tensor")
        return values[attribute.type]

    def constant(self, tensor: Any) -> np.ndarray:
        shape = tuple(tensor.dims)
        if len(shape) > MOST_AXES or min(shape, default=0) < 0 or prod(shape) * 8 > MOST_VALUE_BYTES:
            raise ValueError(
                f"{tensor.name}: got shape {shape[: MOST_AXES + 1]}; expected at most {MOST_AXES} axes, {MOST_VALUE_BYTES:,} bytes"
            )
        if tensor.data_location == tensor.EXTERNAL:
            raise ValueError(f"{tensor.name}: got values in another file; expected them in the model")
        try:
            values = self.onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{tensor.name}: got damaged values ({error}); expected {shape} of a known type") from error
        if values.dtype.kind not in "fiub" and values.dtype.name != "bfloat16":
            raise ValueError(f"{tensor.name}: got {values.dtype}; expected numbers")
        return values

    def shape(self, value: Any) -> Shape:
        """The shape of the input; a batch of no fixed size is 1."""
        tensor = value.type.tensor_type
        if tensor.elem_type not in (self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.FLOAT16):
            raise ValueError(f"{value.name}: got an input of type {tensor.elem_type}; expected float numbers")
        if not 0 < len(tensor.shape.dim) <= MOST_AXES:
            raise ValueError(f"{value.name}: got {len(tensor.shape.dim)} axes; expected 1 to {MOST_AXES}")
        sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
        shape = (sizes[0] if sizes[0] > 0 else 1, *sizes[1:])
        if min(shape) < 1:
            raise ValueError(f"{value.name}: got shape {shape} (0 where it is not fixed); expected fixed sizes")
        return shape
