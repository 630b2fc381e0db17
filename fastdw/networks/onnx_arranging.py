"""How the ONNX operators that move elements become layers."""

from __future__ import annotations

from math import prod

import numpy as np

from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear
from fastdw.networks.onnx_conversion import Conversion, Value, stored
from fastdw.networks.windows import Shape

MOST_SCALE = 1_000_000
PLACES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


def convert_pad(op: Conversion) -> Value:
    sizes, value = op.integers(1, "pads"), op.value()
    n_axes = len(value.layout)
    if op.attribute("mode", "constant") != "constant" or (op.has_input(2) and op.constant(2).any()) or op.attribute("value", 0.0):
        raise ValueError("mode: got another than zeros, which is not supported; expected constant, 0")
    if sizes is None or len(sizes) != 2 * n_axes or min(sizes) < 0 or op.has_input(3):
        raise ValueError(f"pads: got {sizes}; expected {2 * n_axes} sizes of at least 0")
    padding = tuple((sizes[axis], sizes[axis + n_axes]) for axis in value.layout)
    return Value(op.graph.add(Pad(op.name, (value.name,), padding=padding)), value.layout)


def convert_flatten(op: Conversion) -> Value:
    shape = op.shape()
    axis = op.attribute("axis", 1)
    axis = len(shape) if axis == len(shape) else op.axis(axis)
    return op.add_plain(Reshape(op.name, (op.plain(),), shape=(prod(shape[:axis]), -1)))


def convert_reshape(op: Conversion) -> Value:
    sizes, shape = op.integers(1, "shape"), op.shape()
    n_copied = 0 if op.attribute("allowzero", 0) else len(shape)
    if not sizes or any(size == 0 and axis >= n_copied for axis, size in enumerate(sizes)):
        raise ValueError(f"shape: got {sizes}; expected sizes of at least 1, -1, or 0 where it stands for a size of {shape}")
    sizes = tuple(shape[axis] if size == 0 else size for axis, size in enumerate(sizes))
    return op.add_plain(Reshape(op.name, (op.plain(),), shape=sizes))


def convert_squeeze(op: Conversion) -> Value:
    shape, axes = op.shape(), op.integers(1, "axes")
    gone = {axis for axis, size in enumerate(shape) if size == 1} if axes is None else {op.axis(axis) for axis in axes}
    if any(shape[axis] != 1 for axis in gone) or len(gone) == len(shape):
        raise ValueError(f"axes: got {sorted(gone)} of {shape}; expected axes of size 1, and one to stay")
    sizes = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    return op.add_plain(Reshape(op.name, (op.plain(),), shape=sizes))


def convert_unsqueeze(op: Conversion) -> Value:
    shape, axes = list(op.shape()), op.integers(1, "axes") or ()
    n_axes = len(shape) + len(axes)
    if any(not -n_axes <= axis < n_axes for axis in axes) or len({axis % n_axes for axis in axes}) < len(axes):
        raise ValueError(f"axes: got {axes}; expected different ones of {n_axes}")
    for axis in sorted(axis % n_axes for axis in axes):
        shape.insert(axis, 1)
    return op.add_plain(Reshape(op.name, (op.plain(),), shape=tuple(shape)))


def convert_transpose(op: Conversion) -> Value:
    name, layout, _ = op.value()
    order = op.attribute("perm", list(reversed(range(len(layout)))))
    if sorted(order) != list(range(len(layout))):
        raise ValueError(f"perm: got {order}; expected each of {len(layout)} axes once")
    return Value(name, tuple(order.index(axis) for axis in layout))


def convert_concat(op: Conversion) -> Value:
    layout, axis = op.value().layout, op.axis(op.attribute("axis", 0))
    values = [op.value(position) for position in range(len(op.node.inputs))]
    if len({len(value.layout) for value in values}) > 1:
        raise ValueError("inputs: got different numbers of axes; expected the same")
    names = tuple(stored(op.graph, value, layout, f"{op.name}_{position}") for position, value in enumerate(values))
    return Value(op.graph.add(Concatenate(op.name, names, axis=layout.index(axis))), layout)


def convert_resize(op: Conversion) -> Value:
    place = op.attribute("coordinate_transformation_mode", "half_pixel" if op.model.opset > 10 else "asymmetric")
    if (mode := op.attribute("mode", "nearest")) != "linear" or place not in PLACES:
        raise ValueError(f"mode: got {mode}, {place}; expected linear, and one of {', '.join(PLACES)}")
    image, shape = op.image(), op.shape()
    size, scale = resized(op, shape)
    if place == "pytorch_half_pixel" and min(size) == 1:
        raise ValueError("sizes: got a height or a width of 1 with pytorch_half_pixel, which is not supported; expected more")
    if op.attribute("antialias", 0) and (size[0] < shape[2] or size[1] < shape[3]):
        raise ValueError("antialias: got 1 and an image that becomes smaller, which is not supported; expected 0")
    aligned, centered = place == "align_corners", place.endswith("half_pixel")
    layer = ResizeBilinear(op.name, (image,), size=size, scale=scale, align_corners=aligned, half_pixel_centers=centered)
    return op.add_image(layer)


def resized(op: Conversion, shape: Shape) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """The new height and width, and the scales where the node gives them: they place the outputs, rounded sizes or not."""
    axes = [op.axis(axis) for axis in op.attribute("axes", [0, 1, 2, 3])]
    if op.has_input(3):
        policy = op.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            raise ValueError(f"keep_aspect_ratio_policy: got {policy!r}, which is not supported; expected 'stretch'")
        given = op.integers(3, "sizes") or ()
        sizes = dict(enumerate(shape)) | dict(zip(axes, given, strict=False))
        if len(given) != len(axes) or (sizes[0], sizes[1]) != shape[:2]:
            raise ValueError(f"sizes: got {given}; expected {shape[:2]}, a height and a width")
        return (sizes[2], sizes[3]), None
    given = tuple(op.constant(2 if op.model.opset > 10 else 1).reshape(-1).tolist())
    scales = dict.fromkeys(range(4), 1.0) | dict(zip(axes, given, strict=False))
    if len(given) != len(axes) or (scales[0], scales[1]) != (1, 1) or max(scales.values()) > MOST_SCALE:
        raise ValueError(f"scales: got {given}; expected 1, 1, and two of at most {MOST_SCALE:,}")
    rows, cols = (int(np.float32(shape[axis]) * np.float32(scales[axis])) for axis in (2, 3))
    return (rows, cols), (scales[2], scales[3])
