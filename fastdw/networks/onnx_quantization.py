"""QuantizeLinear and DequantizeLinear: to integers and back, of constants as the standard says, of tensors that are computed in float32."""

from __future__ import annotations

import numpy as np

from fastdw.networks.onnx_conversion import Conversion, Integers, Value
from fastdw.networks.windows import Shape

UINT8 = 2  # TensorProto.DataType
INTEGER_TYPES: dict[int, np.dtype] = {UINT8: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("u2"), 5: np.dtype("i2")}
ON_INTEGERS = ("Concat", "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")  # these move or pick numbers


def integers_after(op: Conversion) -> Integers | None:
    """The integers that a node gives in the file; ValueError where it computes with integers, which are other numbers than those here."""
    given = {op.values[name].integers for name in op.node.inputs if name in op.values}
    if op.node.kind == "DequantizeLinear":
        if given != {quantization(op)}:
            raise ValueError("scale, zero point: got others than those of a QuantizeLinear before; expected the same")
        return None
    if given == {None}:
        return quantization(op) if op.node.kind == "QuantizeLinear" else None
    if op.node.kind not in ON_INTEGERS or len(given) > 1:
        raise ValueError("inputs: got integers of a QuantizeLinear, which is not supported; expected what a DequantizeLinear gives")
    return given.pop()


def quantization(op: Conversion) -> Integers:
    return tuple(op.constant(1).reshape(-1).tolist()), tuple(zero_point_of(op).reshape(-1).tolist())


def convert_quantize(op: Conversion) -> Value:
    """Nothing to do in float32, but the range of the integers may stand for a relu that the exporter left out."""
    scale, integers = divisor(op), np.iinfo(integer_type(op))
    if (zero_point_of(op) != integers.min).any():
        return op.value()
    return op.activated((0.0, float((integers.max - integers.min) * scale.item())) if scale.size == 1 else "relu")


def divisor(op: Conversion) -> np.ndarray:
    scale = op.constant(1)
    if not (scale > 0).all():
        raise ValueError(f"scale: got {scale.min()}; expected numbers above 0")
    return scale


def integer_type(op: Conversion) -> np.dtype:
    """What a QuantizeLinear gives: as its zero point, else as it says."""
    if op.has_input(2):
        dtype = op.raw_constant(2).dtype
    else:
        code = op.attribute("output_dtype", 0) or UINT8
        if code not in INTEGER_TYPES:
            raise ValueError(f"output_dtype: got type {code}, which is not supported; expected one of {tuple(INTEGER_TYPES)}")
        dtype = INTEGER_TYPES[code]
    if dtype not in INTEGER_TYPES.values():
        raise ValueError(f"zero point: got {dtype}, which is not supported; expected integers of 8 or 16 bits")
    return dtype


def zero_point_of(op: Conversion) -> np.ndarray:
    return op.raw_constant(2).astype(np.int64) if op.has_input(2) else np.zeros(op.raw_constant(1).shape, np.int64)


def fold_quantize(op: Conversion) -> np.ndarray:
    """clip(rint(x / scale) + zero_point), of all or of each index of an axis"""
    values, dtype = op.constant(0), integer_type(op)
    scale, zero_point = along_axis(op, divisor(op), values.shape)
    return np.clip(np.rint(values / scale) + zero_point, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def fold_dequantize(op: Conversion) -> np.ndarray:
    """(integer - zero_point) * scale, of all or of each index of an axis"""
    values = op.raw_constant(0)
    scale, zero_point = along_axis(op, op.constant(1), values.shape)
    return ((values.astype(np.float64) - zero_point) * scale).astype(np.float32)


def along_axis(op: Conversion, scale: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """scale and zero point, in a shape that broadcasts to the values'"""
    sizes = [1] * len(shape)
    if scale.size > 1:
        axis = op.attribute("axis", 1)
        if scale.shape != (shape[axis],):
            raise ValueError(f"scale: got shape {scale.shape}; expected ({shape[axis]},), one for each index of axis {axis}")
        sizes[axis] = scale.size
    return scale.reshape(sizes), zero_point_of(op).reshape(sizes)
