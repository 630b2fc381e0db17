"""TensorFlow Lite files as networks.

Float32 models run as they are. Quantised ones (int8, uint8, per tensor and per channel) run in float32 with their weights
and biases dequantised. Operators are converted one by one, in the file's order, which is the order they run in.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from fastdw.networks.graph import INPUT, Graph, Quantization
from fastdw.networks.network import Network
from fastdw.networks.tflite_conversion import Conversion, only
from fastdw.networks.tflite_file import Model, Tensor, read_model
from fastdw.networks.tflite_operators import CONVERSIONS


def load_tflite(path: str | PathLike[str], *, threads: int | None = None, fuse: bool = True) -> Network:
    """The network of a .tflite file, planned; threads and fuse as for `Network`.

    Raises:
      OSError: the file cannot be read.
      ImportError: the package `tflite` is missing.
      ValueError: the file is no model, is damaged, or has an operator that is not supported; the message names the file and the operator.
    """
    return Network(read_tflite(path), threads=threads, fuse=fuse)


def read_tflite(path: str | PathLike[str]) -> Graph:
    """The graph of a .tflite file, as `load_tflite` reads it."""
    path = Path(path)
    try:
        return convert(read_model(path), path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def convert(model: Model, name: str) -> Graph:
    """The layers of a model's operators."""
    source, output = only(model.inputs, "inputs"), only(model.outputs, "outputs")
    tensor = model.tensors[source]
    graph = Graph(name, tensor.shape, input_quantization(tensor))
    values: dict[int, str] = {source: INPUT}
    constants: dict[int, np.ndarray] = {}
    for operator in model.operators:
        try:
            convert_operator(Conversion(model, graph, values, constants, operator))
        except ValueError as error:
            raise ValueError(f"operator {operator.index} {operator.name}: {error}") from error
    if values.get(output, INPUT) == INPUT:
        raise ValueError(f"tensor {output}: got an output that nothing computes; expected one that an operator gives")
    graph.output = values[output]
    return graph


def convert_operator(op: Conversion) -> None:
    if op.operator.name not in CONVERSIONS:
        raise ValueError(f"got an operator that is not supported; expected one of {', '.join(CONVERSIONS)}")
    output = op.output
    if output.index in op.values or output.index in op.constants:
        raise ValueError(f"tensor {output.index}: got a second operator that gives it; expected one")
    result = CONVERSIONS[op.operator.name](op)
    if isinstance(result, str):
        op.values[output.index], shape = result, op.graph.shapes[result]
    else:
        op.constants[output.index], shape = result, result.shape
    if shape != output.shape:
        raise ValueError(f"tensor {output.index}: got shape {output.shape}; expected {shape}, as its inputs give")


def input_quantization(tensor: Tensor) -> Quantization | None:
    if tensor.dtype.kind == "f":
        return None
    scale, zero_point = tensor.quantisation()
    if scale.size != 1:
        raise ValueError(f"tensor {tensor.index}: got {scale.size} scales for the input; expected 1")
    return Quantization(tensor.dtype, float(scale), int(zero_point))
