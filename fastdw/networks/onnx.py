"""ONNX files as networks.

Images are NHWC in fastdw, however the file orders them, and an input and output of four axes are too. Nodes are converted one by
one, in the file's order.
Quantised models (QuantizeLinear and DequantizeLinear around float operators) run in float32 with their weights dequantised.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.network import Network
from fastdw.networks.onnx_constants import CONSTANT_FOLDING
from fastdw.networks.onnx_conversion import NHWC, Conversion, Value, as_it_is, stored
from fastdw.networks.onnx_file import Model, read_model
from fastdw.networks.onnx_operators import CONVERSIONS
from fastdw.networks.onnx_quantization import integers_after


def load_onnx(path: str | PathLike[str], *, threads: int | None = None, fuse: bool = True) -> Network:
    """The network of an .onnx file, planned; threads and fuse as for `Network`.

    Raises:
      OSError: the file cannot be read.
      ImportError: the package `onnx` is missing.
      ValueError: the file is no model, is damaged, or has an operator that is not supported; the message names the file and the operator.
    """
    return Network(read_onnx(path), threads=threads, fuse=fuse)


def read_onnx(path: str | PathLike[str]) -> Graph:
    """The graph of an .onnx file, as `load_onnx` reads it."""
    path = Path(path)
    try:
        return convert(read_model(path), path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def convert(model: Model, name: str) -> Graph:
    """The layers of a model's nodes."""
    layout = input_layout(model)
    graph = Graph(name, [model.input_shape[axis] for axis in layout])
    values = {model.input_name: Value(INPUT, layout)}
    constants = dict(model.constants)
    for node in model.nodes:
        try:
            convert_node(Conversion(model, graph, values, constants, node))
        except ValueError as error:
            raise ValueError(f"node {node.index} {node.kind}: {error}") from error
    output = values.get(model.output_name)
    if output is None or output.name == INPUT:
        raise ValueError(f"{model.output_name}: got an output that nothing computes; expected one that a node gives")
    n_axes = len(output.layout)
    wanted = layout if n_axes == len(layout) else as_it_is(n_axes)
    graph.output = stored(graph, output, wanted, "output")
    return graph


def convert_node(op: Conversion) -> None:
    kind = op.node.kind
    for name in op.node.outputs:
        if name in op.values or name in op.constants:
            raise ValueError(f"{name}: got a second node that gives it; expected one")
    if kind in CONSTANT_FOLDING and (kind == "Shape" or all(op.is_constant(position) for position in range(len(op.node.inputs)))):
        op.constants[op.output] = CONSTANT_FOLDING[kind](op)
    elif kind in CONVERSIONS:
        op.values[op.output] = CONVERSIONS[kind](op)._replace(integers=integers_after(op))
    else:
        raise ValueError(f"got an operator that is not supported; expected one of {', '.join(CONVERSIONS)}")


def input_layout(model: Model) -> tuple[int, ...]:
    """An image is held as NHWC. One that is NHWC in the file too goes through a transposition there first."""
    n_axes = len(model.input_shape)
    readers = [node for node in model.nodes if model.input_name in node.inputs]
    is_nhwc = any(node.kind == "Transpose" and node.attributes.get("perm") == [0, 3, 1, 2] for node in readers)
    return NHWC if n_axes == 4 and not is_nhwc else as_it_is(n_axes)
