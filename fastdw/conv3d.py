"""Depthwise convolution of volumes and video [batch, depth, height, width, channels], composed from the 2-D call.

A plane of the result is the sum of as many 2-D convolutions as the kernel has planes; each adds what the one before it gave.
So the order of the sum differs from that of the 2-D calls: each filter plane is summed by itself, rounded, and added.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from fastdw import arguments
from fastdw.arguments import GivenActivation, GivenArray, GivenPadding, GivenPair, error, shown
from fastdw.call import plan_of, refuse_overlap
from fastdw.functional import depthwise_conv2d
from fastdw.gather import check_finite, check_writable, gather
from fastdw.packing import aligned_empty, aligned_zeros
from fastdw.problem import DEPTHWISE, out_extent, same_padding, span
from fastdw.request import check_size

VOLUME = "[batch, depth, height, width, channels]"
WEIGHT = "[kernel_d, kernel_h, kernel_w, channels, multiplier] or [kernel_d, kernel_h, kernel_w, channels]"
PADDING_NUMBERS = "an integer, (planes, rows, columns) or ((front, back), (top, bottom), (left, right))"

Three = tuple[int, int, int]
Sides = tuple[tuple[int, int], ...]


def depthwise_conv3d(
    x: GivenArray,
    weight: GivenArray,
    bias: GivenArray | None = None,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "valid",
    dilation: GivenPair = 1,
    activation: GivenActivation = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Depthwise 3-D convolution, channels last.

    y[n, h, i, j, c*m + k] = act(bias[c*m + k] + sum over o, p, q of
        x[n, h*sd + o*dd - front, i*sh + p*dh - top, j*sw + q*dw - left, c] * weight[o, p, q, c, k])

    Two planes of the result are allocated for the length of the call, and a weight that is not contiguous is copied. Each plane is
    a depthwise_conv2d for each plane of the filter, which explain() tells of; it and prepare() do not take this call.

    Args:
      x: float32 [batch, depth, height, width, channels]; channel stride 1, other strides free. May hold anything.
      weight: float32 [kernel_d, kernel_h, kernel_w, channels, multiplier] or [kernel_d, kernel_h, kernel_w, channels], finite.
      stride, dilation: one integer or (planes, rows, columns).
      padding: "valid", "same" (TensorFlow's), "same_lower" (ONNX's), an integer, (planes, rows, columns) or
        ((front, back), (top, bottom), (left, right)).
      bias, activation, threads: as for depthwise_conv2d.
      out: float32 of the result's shape, written in place; channel stride 1; must not overlap an input.

    Returns:
      float32 [batch, out_d, out_h, out_w, channels*multiplier]; `out` itself when given.

    Raises:
      TypeError, ValueError: as for depthwise_conv2d.
    """
    x, weight = _array(x, "x", 5, VOLUME), _weight(weight)
    if weight.shape[3] != x.shape[4]:
        hint = f"; x looks like [batch, channels, ...]: fastdw takes {VOLUME}" if x.shape[1] == weight.shape[3] else ""
        raise error("weight", f"{weight.shape[3]} input channels", f"{x.shape[4]}, the channels of x{hint}")
    stride, dilation = _three(stride, "stride"), _three(dilation, "dilation")
    sides = _sides(padding, x.shape[1:4], weight.shape[:3], stride, dilation)
    shape = _out_shape(x.shape, weight.shape, stride, sides, dilation)
    check_size(shape, padding)
    window: dict[str, Any] = {"stride": stride[1:], "padding": sides[1:], "dilation": dilation[1:], "threads": threads}
    filters = np.ascontiguousarray(weight)
    check_finite(filters, "weight")
    if out is not None:
        check_writable(out, shape)
    first = None if out is None else out[:, 0]
    request, _, _, biases, _, _ = gather(DEPTHWISE, x[:, 0], filters[0], bias, activation=activation, out=first, **window)
    plan_of(request)
    if out is None:
        out = aligned_empty(shape, x.shape)
    else:
        refuse_overlap(out, x=x, weight=weight, **({} if biases is None else {"bias": biases}))

    partial = [aligned_empty((shape[0], *shape[2:]), x.shape) for _ in range(min(2, len(filters) - 1))]
    for plane in range(shape[1]):
        taps = _taps_inside(plane, x.shape[1], len(filters), stride[0], sides[0][0], dilation[0])
        total = None
        for number, (tap, source) in enumerate(taps):
            given: dict[str, Any] = {"residual": total} | window
            if number == len(taps) - 1:
                depthwise_conv2d(x[:, source], filters[tap], biases, activation=activation, out=out[:, plane], **given)
            else:
                total = depthwise_conv2d(x[:, source], filters[tap], out=partial[number % 2], **given)
        if not taps:
            depthwise_conv2d(
                aligned_zeros((x.shape[0], *x.shape[2:])), filters[0], biases, activation=activation, out=out[:, plane], **window
            )
    return out


def _taps_inside(plane: int, depth: int, taps: int, stride: int, front: int, dilation: int) -> list[tuple[int, int]]:
    """Planes of the filter, each with the plane of x under it, where there is one."""
    under = [(tap, plane * stride + tap * dilation - front) for tap in range(taps)]
    return [(tap, source) for tap, source in under if 0 <= source < depth]


def _array(value: Any, name: str, rank: int, wanted: str) -> np.ndarray:
    array = arguments.array(value, name)
    if array.ndim != rank:
        raise error(name, f"shape {shown(array.shape)}", wanted)
    if 0 in array.shape:
        raise error(name, f"shape {array.shape}", f"{wanted} with every extent at least 1")
    return array


def _weight(weight: Any) -> np.ndarray:
    rank = 4 if getattr(weight, "ndim", 5) == 4 else 5
    weight = _array(weight, "weight", rank, WEIGHT)
    return weight.reshape(*weight.shape[:4], -1)


def _three(value: Any, name: str, least: int = 1) -> Three:
    if isinstance(value, (tuple, list)):
        if len(value) != 3:
            raise error(name, shown(value), "one integer or (planes, rows, columns)")
        return (
            arguments.integer(value[0], name, least),
            arguments.integer(value[1], name, least),
            arguments.integer(value[2], name, least),
        )
    one = arguments.integer(value, name, least)
    return (one, one, one)


def _sides(padding: Any, extents: tuple[int, ...], taps: tuple[int, ...], stride: Three, dilation: Three) -> Sides:
    if isinstance(padding, str):
        if arguments.padding_name(padding, otherwise=PADDING_NUMBERS) == "valid":
            return ((0, 0),) * 3
        return tuple(same_padding(*of_one, padding == "same_lower") for of_one in zip(extents, taps, stride, dilation, strict=True))
    is_sequence = isinstance(padding, (tuple, list))
    if is_sequence and any(isinstance(side, (tuple, list)) for side in padding):
        if len(padding) != 3 or not all(isinstance(side, (tuple, list)) and len(side) == 2 for side in padding):
            raise error("padding", shown(padding), PADDING_NUMBERS)
        return tuple(arguments.pair(side, "padding", 0) for side in padding)
    if is_sequence and len(padding) != 3:
        raise error("padding", shown(padding), PADDING_NUMBERS)
    if not is_sequence and not isinstance(padding, numbers.Integral):
        raise arguments.wrong_type("padding", padding, PADDING_NUMBERS)
    return tuple((side, side) for side in _three(padding, "padding", 0))


def _out_shape(x_shape, weight_shape, stride: Three, sides: Sides, dilation: Three) -> tuple[int, ...]:
    extents = []
    for name, extent, taps, step, pad, gap in zip(
        ("depth", "height", "width"), x_shape[1:4], weight_shape[:3], stride, sides, dilation, strict=True
    ):
        if span(taps, gap) > extent + sum(pad):
            got = f"a kernel that spans {span(taps, gap)} in {name}"
            raise error("weight", got, f"at most {extent + sum(pad)}, the padded {name} of x")
        extents.append(out_extent(extent, taps, step, gap, pad))
    return (x_shape[0], *extents, weight_shape[3] * weight_shape[4])
