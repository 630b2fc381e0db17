"""ONNX files as networks.

Images are NHWC in fastdw, however the file orders them: an input of four axes, and an output of four that comes from an image.
Nodes are converted one by one, in the file's order.
Quantised models (QuantizeLinear and DequantizeLinear around float operators) run in float32 with their weights dequantised.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from fastdw.networks.graph import INPUT, Graph
from fastdw.networks.network import Network
from fastdw.networks.onnx_constants import CONSTANT_FOLDING
from fastdw.networks.onnx_conversion import NHWC, Conversion, Layout, Value, as_it_is, stored
from fastdw.networks.onnx_file import Model, Node, read_model
from fastdw.networks.onnx_operators import CONVERSIONS
from fastdw.networks.onnx_quantization import integers_after

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
PREPARATION = ("Add", "Sub", "Mul", "Div", "Clip", "Cast", "Identity", "QuantizeLinear", "DequantizeLinear")  # of an image, before networks


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
    graph.output = stored(graph, output, output_layout(model, values), "output")
    return graph


def convert_node(op: Conversion) -> None:
    kind = op.node.kind
    for name in op.node.outputs:
        if name in op.values or name in op.constants:
            raise ValueError(f"{name}: got a second node that gives it; expected one")
    if kind in CONSTANT_FOLDING and (kind == "Shape" or all(name in op.constants for name in op.node.inputs if name)):
        op.constants[op.output] = CONSTANT_FOLDING[kind](op)
    elif kind in CONVERSIONS:
        op.values[op.output] = CONVERSIONS[kind](op)._replace(integers=integers_after(op))
    else:
        raise ValueError(f"got an operator that is not supported; expected one of {', '.join(CONVERSIONS)}")


def input_layout(model: Model) -> Layout:
    """An image is held as NHWC. One that is NHWC in the file too goes through a transposition there, as it is or prepared."""
    if len(model.input_shape) != 4:
        return as_it_is(len(model.input_shape))
    names = {model.input_name}
    for node in model.nodes:
        if names.intersection(node.inputs):
            if is_transposition(node, TO_NCHW):
                return as_it_is(4)
            if node.kind in PREPARATION:
                names.update(node.outputs)
    return NHWC


def output_layout(model: Model, values: dict[str, Value]) -> Layout:
    """An image is given as NHWC. The last node that orders its axes tells whether it is in the file: one on images, or a transposition."""
    name = model.output_name
    n_axes = len(values[name].layout)
    if n_axes != 4:
        return as_it_is(n_axes)
    for node in reversed(model.nodes):
        if name in node.outputs:
            if is_transposition(node, TO_NHWC):
                return as_it_is(4)
            if values[name].layout == NHWC:
                return NHWC
            name = next(source for source in node.inputs if source in values)
    return input_layout(model) if len(model.input_shape) == 4 else as_it_is(4)


def is_transposition(node: Node, perm: list[int]) -> bool:
    return node.kind == "Transpose" and node.attributes.get("perm") == perm
