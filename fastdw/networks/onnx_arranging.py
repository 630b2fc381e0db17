"""How the ONNX operators that move elements become layers."""

from __future__ import annotations

from math import prod

from fastdw.networks.arranging import Concatenate, Pad, Reshape, ResizeBilinear
from fastdw.networks.onnx_step import Step, Value, stored

PLACES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


def convert_pad(step: Step) -> Value:
    sizes, value = step.integers(1, "pads"), step.value()
    n_axes = len(value.layout)
    if step.attribute("mode", "constant") != "constant" or (step.has_input(2) and step.constant(2).any()) or step.attribute("value", 0):
        raise ValueError("mode: got another than zeros, which is not supported; expected constant, 0")
    if sizes is None or len(sizes) != 2 * n_axes or min(sizes) < 0 or step.has_input(3):
        raise ValueError(f"pads: got {sizes}; expected {2 * n_axes} sizes of at least 0")
    padding = tuple((sizes[axis], sizes[axis + n_axes]) for axis in value.layout)
    return Value(step.graph.add(Pad(step.name, (value.name,), padding=padding)), value.layout)


def convert_flatten(step: Step) -> Value:
    shape = step.shape()
    axis = step.attribute("axis", 1)
    axis = len(shape) if axis == len(shape) else step.axis(axis)
    return step.add_plain(Reshape(step.name, (step.plain(),), shape=(prod(shape[:axis]), -1)))


def convert_reshape(step: Step) -> Value:
    sizes, shape = step.integers(1, "shape"), step.shape()
    if not sizes or any(size == 0 and axis >= len(shape) for axis, size in enumerate(sizes)) or step.attribute("allowzero", 0):
        raise ValueError(f"shape: got {sizes}; expected sizes of at least 1, -1 or 0")
    sizes = tuple(shape[axis] if size == 0 else size for axis, size in enumerate(sizes))
    return step.add_plain(Reshape(step.name, (step.plain(),), shape=sizes))


def convert_squeeze(step: Step) -> Value:
    shape, axes = step.shape(), step.integers(1, "axes")
    gone = {axis for axis, size in enumerate(shape) if size == 1} if axes is None else {step.axis(axis) for axis in axes}
    if any(shape[axis] != 1 for axis in gone) or len(gone) == len(shape):
        raise ValueError(f"axes: got {sorted(gone)} of {shape}; expected axes of size 1, and one to stay")
    sizes = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    return step.add_plain(Reshape(step.name, (step.plain(),), shape=sizes))


def convert_unsqueeze(step: Step) -> Value:
    shape, axes = list(step.shape()), step.integers(1, "axes") or ()
    n_axes = len(shape) + len(axes)
    if any(not -n_axes <= axis < n_axes for axis in axes) or len({axis % n_axes for axis in axes}) < len(axes):
        raise ValueError(f"axes: got {axes}; expected different ones of {n_axes}")
    for axis in sorted(axis % n_axes for axis in axes):
        shape.insert(axis, 1)
    return step.add_plain(Reshape(step.name, (step.plain(),), shape=tuple(shape)))


def convert_transpose(step: Step) -> Value:
    name, layout = step.value()
    order = step.attribute("perm", list(reversed(range(len(layout)))))
    if sorted(order) != list(range(len(layout))):
        raise ValueError(f"perm: got {order}; expected each of {len(layout)} axes once")
    return Value(name, tuple(order.index(axis) for axis in layout))


def convert_concat(step: Step) -> Value:
    layout, axis = step.value().layout, step.axis(step.attribute("axis", 0))
    values = [step.value(position) for position in range(len(step.node.inputs))]
    if len({len(value.layout) for value in values}) > 1:
        raise ValueError("inputs: got different numbers of axes; expected the same")
    names = tuple(stored(step.graph, value, layout, f"{step.name}_{position}") for position, value in enumerate(values))
    return Value(step.graph.add(Concatenate(step.name, names, axis=layout.index(axis))), layout)


def convert_resize(step: Step) -> Value:
    place = step.attribute("coordinate_transformation_mode", "half_pixel" if step.model.opset > 10 else "asymmetric")
    if (mode := step.attribute("mode", "nearest")) != "linear" or place not in PLACES:
        raise ValueError(f"mode: got {mode}, {place}; expected linear, and one of {', '.join(PLACES)}")
    shape = step.shape()
    if step.has_input(3):
        sizes = step.integers(3, "sizes") or ()
    else:
        scales = step.constant(2 if step.model.opset > 10 else 1).reshape(-1)
        sizes = tuple(int(size * scale) for size, scale in zip(shape, scales, strict=False) if 0 < scale < 1e6)
    if len(sizes) != 4 or sizes[:2] != shape[:2] or min(sizes) < 1:
        raise ValueError(f"sizes: got {sizes}; expected {shape[:2]}, a height and a width")
    if place == "pytorch_half_pixel" and min(sizes[2:]) == 1:
        raise ValueError("sizes: got a height or a width of 1 with pytorch_half_pixel, which is not supported; expected more")
    ways = {"align_corners": place == "align_corners", "half_pixel_centers": place.endswith("half_pixel")}
    return step.add_image(ResizeBilinear(step.name, (step.image(),), size=(sizes[2], sizes[3]), **ways))
