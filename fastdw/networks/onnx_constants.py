"""Nodes of an ONNX model whose inputs are all constants: shapes that exporters compute, weights that are dequantised or transposed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdw.networks.onnx_step import Step

MOST_BYTES = 1 << 26  # that joining constants may give: repeated doubling must end
CAST_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64}  # TensorProto.DataType


def fold_shape(step: Step) -> np.ndarray:
    shape = step.raw_constant(0).shape if step.is_constant(0) else step.shape()
    return np.array(shape[step.attribute("start", 0) : step.attribute("end")], np.int64)


def fold_constant(step: Step) -> np.ndarray:
    for name, dtype in (("value", None), ("value_int", np.int64), ("value_ints", np.int64), ("value_float", "f4"), ("value_floats", "f4")):
        if (value := step.attribute(name)) is not None:
            return np.array(value, dtype)
    raise ValueError("value: got none; expected numbers")


def fold_cast(step: Step) -> np.ndarray:
    if step.attribute("to") not in CAST_TYPES:
        raise ValueError(f"to: got type {step.attribute('to')}; expected one of {tuple(CAST_TYPES)}")
    with np.errstate(all="ignore"):
        return step.raw_constant(0).astype(CAST_TYPES[step.attribute("to")])


def fold_gather(step: Step) -> np.ndarray:
    values, indices, axis = step.raw_constant(0), step.raw_constant(1), step.attribute("axis", 0)
    if values.nbytes // max(values.shape[axis], 1) * indices.size > MOST_BYTES:
        raise ValueError(f"indices: got {indices.size}; expected a result of at most {MOST_BYTES:,} bytes")
    return np.take(values, indices, axis)


def fold_concat(step: Step) -> np.ndarray:
    arrays = [step.raw_constant(position) for position in range(len(step.node.inputs))]
    if sum(array.nbytes for array in arrays) > MOST_BYTES:
        raise ValueError(f"inputs: got more than {MOST_BYTES:,} bytes; expected at most so many")
    return np.concatenate(arrays, axis=step.attribute("axis", 0))


def fold_unsqueeze(step: Step) -> np.ndarray:
    return np.expand_dims(step.raw_constant(0), step.integers(1, "axes") or ())


def fold_squeeze(step: Step) -> np.ndarray:
    return np.squeeze(step.raw_constant(0), step.integers(1, "axes"))


def fold_reshape(step: Step) -> np.ndarray:
    return step.raw_constant(0).reshape(step.integers(1, "shape") or ())


def fold_transpose(step: Step) -> np.ndarray:
    return step.raw_constant(0).transpose(step.attribute("perm"))


def fold_dequantize(step: Step) -> np.ndarray:
    """(integer - zero_point) * scale, of all or of each index of an axis"""
    values, scale = step.raw_constant(0), step.constant(1)
    zero_point = step.raw_constant(2) if step.has_input(2) else np.zeros_like(scale)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[step.attribute("axis", 1)] = scale.size
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return ((values.astype(np.float64) - zero_point) * scale).astype(np.float32)


def checked(fold: Callable[[Step], np.ndarray]) -> Callable[[Step], np.ndarray]:
    def run(step: Step) -> np.ndarray:
        try:
            return fold(step)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(f"got constants that do not fit ({' '.join(str(error).split())}); expected others") from error

    return run


CONSTANT_FOLDING: dict[str, Callable[[Step], np.ndarray]] = {
    kind: checked(fold)
    for kind, fold in {
        "Shape": fold_shape,
        "Constant": fold_constant,
        "Identity": lambda step: step.raw_constant(0),
        "Cast": fold_cast,
        "Gather": fold_gather,
        "Concat": fold_concat,
        "Unsqueeze": fold_unsqueeze,
        "Squeeze": fold_squeeze,
        "Reshape": fold_reshape,
        "Transpose": fold_transpose,
        "DequantizeLinear": fold_dequantize,
    }.items()
}
