"""What a call asks for, without data: shapes and strides, checked against each other and made into a problem and its layout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from fastdw.arguments import error, shown
from fastdw.kernels.panels import panels_for
from fastdw.kernels.spec import Layout
from fastdw.machine import host
from fastdw.problem import CONV, DENSE, DEPTHWISE, NO_ACTIVATION, POINTWISE, POOL, Activation, Padding, Pair, Problem, same_padding, span

MOST_ELEMENTS = 1 << 48


class Strided(NamedTuple):
    """An array without its data."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> Pair:
        """First and last byte that belong to it, relative to its address."""
        steps = [(extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True)]
        return sum(step for step in steps if step < 0), sum(step for step in steps if step > 0) + 4


class Weight(NamedTuple):
    """A weight without its data. panel, lanes: columns of its panels and of their vectors. packed: what it was packed for, or empty."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    panel: int = 0
    lanes: int = 0
    packed: str = ""


class Request(NamedTuple):
    """All that a call's machine code depends on. Hashable: what is bound for it is kept."""

    kind: str
    x: Strided
    weight: Weight = Weight((), ())
    bias: tuple[int, ...] | None = None
    residual: Strided | None = None
    out: Strided | None = None
    stride: Pair = (1, 1)
    padding: str | Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = NO_ACTIVATION
    threads: int = 1  # at most so many
    keepdims: bool = False
    weight_name: str = "weight"
    bias_name: str = "bias"


def contiguous(shape: tuple[int, ...]) -> Strided:
    return Strided(shape, tuple(4 * math.prod(shape[i + 1 :]) for i in range(len(shape))))


def strided(array: Any) -> Strided:
    return Strided(array.shape, array.strides)


def problem_of(request: Request) -> tuple[Problem, tuple[int, ...]]:
    """The problem that a request states, and the shape of its result."""
    x, kind = request.x, request.kind
    _check_image(x, kind)
    if kind == POOL:
        batch, height, width, channels = x.shape
        shape = (batch, 1, 1, channels) if request.keepdims else (batch, channels)
        return Problem(POOL, batch, height, width, channels, channels, kernel=(height, width)), shape
    _check_weight(request)
    channels, out_channels = _channels(request)
    if request.bias is not None and request.bias != (out_channels,):
        raise error(request.bias_name, f"shape {shown(request.bias)}", f"({out_channels},), one for each output channel")
    if kind == DENSE:
        return Problem(POINTWISE, 1, 1, x.shape[0], channels, out_channels, activation=request.activation), (x.shape[0], out_channels)
    batch, height, width, _ = x.shape
    if kind == POINTWISE:
        return Problem(POINTWISE, batch, height, width, channels, out_channels, activation=request.activation), (
            batch,
            height,
            width,
            out_channels,
        )
    kernel = request.weight.shape[0], request.weight.shape[1]
    padding = _resolve_padding(request, kernel, (height, width))
    problem = Problem(
        kind, batch, height, width, channels, out_channels, kernel, request.stride, request.dilation, padding, request.activation
    )
    for side, extent, taps, dilation, pad in zip(("height", "width"), (height, width), kernel, request.dilation, padding, strict=True):
        if span(taps, dilation) > extent + sum(pad):
            raise error(
                request.weight_name,
                f"a kernel that spans {span(taps, dilation)} in {side}",
                f"at most {extent + sum(pad)}, the padded {side} of x",
            )
    return problem, problem.out_shape


def check_results(request: Request, out_shape: tuple[int, ...]) -> None:
    """out and residual against the shape of the result, and that against what memory can hold."""
    check_size(out_shape, request.padding)
    if request.residual is not None:
        _check_shape("residual", request.residual, out_shape)
    if request.out is not None:
        _check_shape("out", request.out, out_shape)
        covered = 4
        for stride, extent in sorted(
            (abs(step), extent) for step, extent in zip(request.out.strides, out_shape, strict=True) if extent > 1
        ):
            if stride < covered:
                raise error(
                    "out", f"strides {request.out.strides}, by which its own elements overlap", "memory of its own for each element"
                )
            covered += stride * (extent - 1)


def check_size(out_shape: tuple[int, ...], padding: Any) -> None:
    if math.prod(out_shape) > MOST_ELEMENTS:
        name = "x" if isinstance(padding, str) else "padding"
        raise error(name, f"what gives a result of shape {shown(out_shape)}", f"a result of at most {MOST_ELEMENTS} elements")


def _check_image(x: Strided, kind: str) -> None:
    wanted = "[batch, in_channels]" if kind == DENSE else "[batch, height, width, channels]"
    if len(x.shape) != (2 if kind == DENSE else 4):
        raise error("x", f"shape {shown(x.shape)}", wanted)
    if 0 in x.shape:
        raise error("x", f"shape {x.shape}", f"{wanted} with every extent at least 1")
    if math.prod(x.shape) > MOST_ELEMENTS:
        raise error("x", f"shape {shown(x.shape)}", f"at most {MOST_ELEMENTS} elements")
    check_channel_stride("x", x)


def check_channel_stride(name: str, array: Any) -> None:
    if array.strides[-1] != 4 and array.shape[-1] != 1:
        is_nchw_view = len(array.shape) == 4 and array.strides[1] == 4 and array.shape[1] > 1
        remedy = f"{name} is an NCHW view of NHWC memory: {name}.transpose(0, 2, 3, 1)" if is_nchw_view else "np.ascontiguousarray(...)"
        raise error(name, f"channels {array.strides[-1]} bytes apart", f"channels next to each other: {remedy}")


def _check_shape(name: str, array: Strided, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise error(name, f"shape {shown(array.shape)}", f"{shape}, the shape of the result")
    check_channel_stride(name, array)


WEIGHT_SHAPES = {
    DEPTHWISE: ("[kernel_h, kernel_w, channels, multiplier] or [kernel_h, kernel_w, channels]", (3, 4)),
    POINTWISE: ("[in_channels, out_channels] or [1, 1, in_channels, out_channels]", (2, 4)),
    DENSE: ("[in_channels, out_channels]", (2,)),
    CONV: ("[kernel_h, kernel_w, in_channels, out_channels]", (4,)),
}


def _check_weight(request: Request) -> None:
    weight, name = request.weight, request.weight_name
    if weight.packed:
        accepted = POINTWISE if request.kind == DENSE else request.kind
        if weight.packed != accepted:
            raise error(
                name,
                f"a weight packed for {weight.packed}",
                f"one packed for {accepted}, by pack_{accepted}{'2d' if accepted == CONV else ''}",
            )
    check_weight_shape(name, request.kind, weight.shape)
    if weight.panel:
        here = panels_for(weight.shape[-1], host())
        if (weight.panel, weight.lanes) != (here.width, here.lanes):
            got = f"a weight packed in panels of {weight.panel} for vectors of {weight.lanes}"
            raise error(name, got, f"panels of {here.width} for vectors of {here.lanes}, as it is packed on this machine")


def check_weight_shape(name: str, kind: str, shape: tuple[int, ...]) -> None:
    wanted, ranks = WEIGHT_SHAPES[kind]
    if kind == DENSE and len(shape) == 4:  # packed for pointwise from [1, 1, in, out]
        ranks = (2, 4)
    if len(shape) not in ranks or (kind in (POINTWISE, DENSE) and len(shape) == 4 and shape[:2] != (1, 1)):
        raise error(name, f"shape {shown(shape)}", wanted)
    if 0 in shape:
        raise error(name, f"shape {shape}", f"{wanted} with every extent at least 1")


def _channels(request: Request) -> Pair:
    """Input and output channels, where x and weight agree on them."""
    x, weight = request.x.shape, request.weight.shape
    if request.kind == DEPTHWISE:
        inputs, outputs = weight[2], weight[2] * (weight[3] if len(weight) == 4 else 1)
    else:
        inputs, outputs = weight[-2], weight[-1]
    if x[-1] != inputs:
        hint = ""
        if len(x) == 4 and x[1] == inputs:
            hint = "; x looks like NCHW: fastdw takes NHWC, np.ascontiguousarray(x.transpose(0, 2, 3, 1))"
        raise error(request.weight_name, f"{inputs} input channels", f"{x[-1]}, the channels of x{hint}")
    return inputs, outputs


def _resolve_padding(request: Request, kernel: Pair, extents: Pair) -> Padding:
    if request.padding == "valid":
        return ((0, 0), (0, 0))
    if isinstance(request.padding, str):
        lower = request.padding == "same_lower"
        sides = [same_padding(*values, lower) for values in zip(extents, kernel, request.stride, request.dilation, strict=True)]
        return (sides[0], sides[1])
    return request.padding


def lay(request: Request, problem: Problem, out: Strided) -> tuple[Problem, Layout]:
    """Strides of (image, row, column), and for pointwise the problem over the longest runs of pixels that all arrays share."""
    arrays = [request.x, out] + ([request.residual] if request.residual else [])
    steps: list[tuple[int, ...]]
    if request.kind == DENSE:
        steps = [(0, 0, array.strides[0]) for array in arrays]
    elif request.kind == POOL:
        steps = [request.x.strides[:3], (out.strides[0], 0, 0)]
    else:
        steps = [array.strides[:3] for array in arrays]
    if request.kind == POINTWISE:
        problem, steps = _longest_runs(problem, steps)
    if request.kind == DEPTHWISE:
        dense = all(array.strides[2] == 4 * array.shape[3] or array.shape[2] == 1 for array in arrays)
        problem = replace(problem, dense_pixels=dense)
    weight = request.weight
    if weight.packed:
        strides = weight.strides
    else:
        strides = weight.strides[:2] if request.kind == DEPTHWISE else weight.strides[-2:-1]
    residual = steps[2] if request.residual else None
    return problem, Layout(steps[0], steps[1], strides, weight.panel, request.bias is not None, residual)


def _longest_runs(problem: Problem, steps: list) -> tuple[Problem, list]:
    images, rows, cols = problem.batch, problem.height, problem.width
    if cols == 1:
        rows, cols, steps = 1, rows, [(image, 0, row) for image, row, _ in steps]
    elif rows == 1 or all(row == cols * col for _, row, col in steps):
        rows, cols = 1, rows * cols
    if cols == 1 and rows == 1:
        images, cols, steps = 1, images, [(0, 0, image) for image, _, _ in steps]
    elif rows == 1 and (images == 1 or all(image == cols * col for image, _, col in steps)):
        images, cols = 1, images * cols
    merged = Problem(POINTWISE, images, rows, cols, problem.channels, problem.out_channels, activation=problem.activation)
    return merged, steps
