"""Nodes of an ONNX model whose inputs are all constants: shapes that exporters compute, weights quantised, dequantised or transposed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdw.networks.onnx_conversion import Conversion
from fastdw.networks.onnx_quantization import fold_dequantize, fold_quantize

MOST_BYTES = 1 << 26  # that joining constants may give: repeated doubling must end
CAST_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64}  # TensorProto.DataType


def fold_shape(op: Conversion) -> np.ndarray:
    shape = op.raw_constant(0).shape if op.is_constant(0) else op.shape()
    return np.array(shape[op.attribute("start", 0) : op.attribute("end")], np.int64)


def fold_constant(op: Conversion) -> np.ndarray:
    for name, dtype in (("value", None), ("value_int", np.int64), ("value_ints", np.int64), ("value_float", "f4"), ("value_floats", "f4")):
        if (value := op.attribute(name)) is not None:
            return np.array(value, dtype)
    raise ValueError("value: got none; expected numbers")


def fold_cast(op: Conversion) -> np.ndarray:
    if op.attribute("to") not in CAST_TYPES:
        raise ValueError(f"to: got type {op.attribute('to')}; expected one of {tuple(CAST_TYPES)}")
    with np.errstate(all="ignore"):
        return op.raw_constant(0).astype(CAST_TYPES[op.attribute("to")])


def fold_gather(op: Conversion) -> np.ndarray:
    values, indices, axis = op.raw_constant(0), op.raw_constant(1), op.attribute("axis", 0)
    if values.nbytes // max(values.shape[axis], 1) * indices.size > MOST_BYTES:
        raise ValueError(f"indices: got {indices.size}; expected a result of at most {MOST_BYTES:,} bytes")
    return np.take(values, indices, axis)


def fold_concat(op: Conversion) -> np.ndarray:
    arrays = [op.raw_constant(position) for position in range(len(op.node.inputs))]
    if sum(array.nbytes for array in arrays) > MOST_BYTES:
        raise ValueError(f"inputs: got more than {MOST_BYTES:,} bytes; expected at most so many")
    return np.concatenate(arrays, axis=op.attribute("axis", 0))


def fold_unsqueeze(op: Conversion) -> np.ndarray:
    return np.expand_dims(op.raw_constant(0), op.integers(1, "axes") or ())


def fold_squeeze(op: Conversion) -> np.ndarray:
    return np.squeeze(op.raw_constant(0), op.integers(1, "axes"))


def fold_reshape(op: Conversion) -> np.ndarray:
    return op.raw_constant(0).reshape(op.integers(1, "shape") or ())


def fold_transpose(op: Conversion) -> np.ndarray:
    return op.raw_constant(0).transpose(op.attribute("perm"))


def checked(fold: Callable[[Conversion], np.ndarray]) -> Callable[[Conversion], np.ndarray]:
    def run(op: Conversion) -> np.ndarray:
        try:
            return fold(op)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(f"got constants that do not fit ({' '.join(str(error).split())}); expected others") from error

    return run


CONSTANT_FOLDING: dict[str, Callable[[Conversion], np.ndarray]] = {
    kind: checked(fold)
    for kind, fold in {
        "Shape": fold_shape,
        "Constant": fold_constant,
        "Identity": lambda op: op.raw_constant(0),
        "Cast": fold_cast,
        "Gather": fold_gather,
        "Concat": fold_concat,
        "Unsqueeze": fold_unsqueeze,
        "Squeeze": fold_squeeze,
        "Reshape": fold_reshape,
        "Transpose": fold_transpose,
        "QuantizeLinear": fold_quantize,
        "DequantizeLinear": fold_dequantize,
    }.items()
}
