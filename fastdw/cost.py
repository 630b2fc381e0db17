"""What a convolution costs before it runs: multiplications, parameters, bytes, and the time that a machine needs at least.

With D_p x D_p outputs, D_k x D_k filter taps, M input and N output channels:

    regular     N * D_p^2 * D_k^2 * M
    depthwise       M * D_p^2 * D_k^2
    pointwise   N * D_p^2 * M
    separable       M * D_p^2 * (D_k^2 + N), which is 1/N + 1/D_k^2 of the regular one

Taps on padding count. See Howard et al., MobileNets, arXiv:1704.04861, section 3.1, and Williams et al., Roofline, CACM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastdw import arguments, planner
from fastdw.arguments import GivenPadding, GivenPair
from fastdw.kernels.blocks import count_blocks
from fastdw.kernels.spec import Plan
from fastdw.machine import host
from fastdw.problem import CONV, DENSE, DEPTHWISE, POINTWISE, POOL, Pair, span
from fastdw.request import Request, Weight, contiguous, lay, problem_of

FLOAT_BYTES = 4
KINDS = {"depthwise_conv2d": DEPTHWISE, "pointwise_conv2d": POINTWISE, "conv2d": CONV, "dense": DENSE}


@dataclass(frozen=True, slots=True)
class Roof:
    """What a machine can do at most: flops_per_second by its multiply-add units, bytes_per_second by its memory."""

    flops_per_second: float
    bytes_per_second: float

    def __post_init__(self) -> None:
        for name in ("flops_per_second", "bytes_per_second"):
            if not getattr(self, name) > 0:
                raise arguments.error(name, arguments.shown(getattr(self, name)), "more than 0")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a layer, or several one after the other, costs.

    multiply_adds: multiplications, each with its addition.
    parameters: numbers in the weights, and in the biases where they were asked for.
    bytes_moved: the least possible: what comes in, parameters, what goes out; nothing between the parts.
    bytes_planned: what the tasks of fastdw's default plans for one thread read and write, each of them each of its bytes once.
    out_shape: [batch, height, width, channels] of the result.
    parts: the costs that this one is the sum of, if any.
    """

    name: str
    multiply_adds: int
    parameters: int
    bytes_moved: int
    bytes_planned: int
    out_shape: tuple[int, ...]
    parts: tuple[Cost, ...] = ()

    @property
    def flops(self) -> int:
        """Two a multiply-add."""
        return 2 * self.multiply_adds

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: flops for each byte moved at least."""
        return self.flops / self.bytes_moved

    def seconds(self, roof: Roof) -> float:
        """Roofline time, the least possible: that of the arithmetic or that of the bytes, whichever is longer."""
        return max(self.flops / roof.flops_per_second, self.bytes_moved / roof.bytes_per_second)


def regular(
    x_shape: Sequence[int],
    out_channels: int,
    kernel: GivenPair = 3,
    *,
    stride: GivenPair = 1,
    padding: GivenPadding = "same",
    dilation: GivenPair = 1,
    bias: bool = False,
    name: str = "regular",
) -> Cost:
    """The cost of a regular convolution: conv2d of x with a weight [kernel_h, kernel_w, channels, out_channels].

    Args:
      x_shape: (height, width, channels), or (batch, height, width, channels).
      out_channels: N.
      kernel, stride, dilation: one integer, or (rows, columns). padding: as for conv2d.
      bias: count a bias among the parameters.
      name: of the result.

    Raises:
      TypeError, ValueError: as for conv2d.
    """
    shape = _image(x_shape)
    return _layer(name, CONV, shape, (*_kernel(kernel), shape[3], _count(out_channels, "out_channels")), bias, stride, padding, dilation)


def depthwise(
    x_shape: Sequence[int],
    kernel: GivenPair = 3,
    *,
    multiplier: int = 1,
    stride: GivenPair = 1,
    padding: GivenPadding = "same",
    dilation: GivenPair = 1,
    bias: bool = False,
    name: str = "depthwise",
) -> Cost:
    """The cost of depthwise_conv2d with a weight [kernel_h, kernel_w, channels, multiplier]. Arguments and errors as for regular."""
    shape = _image(x_shape)
    return _layer(name, DEPTHWISE, shape, (*_kernel(kernel), shape[3], _count(multiplier, "multiplier")), bias, stride, padding, dilation)


def pointwise(x_shape: Sequence[int], out_channels: int, *, bias: bool = False, name: str = "pointwise") -> Cost:
    """The cost of pointwise_conv2d with a weight [channels, out_channels]. Arguments and errors as for regular."""
    shape = _image(x_shape)
    return _layer(name, POINTWISE, shape, (shape[3], _count(out_channels, "out_channels")), bias)


def separable(
    x_shape: Sequence[int],
    out_channels: int,
    kernel: GivenPair = 3,
    *,
    multiplier: int = 1,
    stride: GivenPair = 1,
    padding: GivenPadding = "same",
    dilation: GivenPair = 1,
    bias: bool = False,
    name: str = "separable",
) -> Cost:
    """The cost of separable_conv2d: depthwise, then pointwise. Arguments and errors as for regular."""
    first = depthwise(x_shape, kernel, multiplier=multiplier, stride=stride, padding=padding, dilation=dilation, bias=bias)
    return chain(name, [first, pointwise(first.out_shape, out_channels, bias=bias)])


def inverted_residual(
    x_shape: Sequence[int],
    out_channels: int,
    kernel: GivenPair = 3,
    *,
    expansion: int = 6,
    stride: GivenPair = 1,
    padding: GivenPadding = "same",
    dilation: GivenPair = 1,
    bias: bool = False,
    name: str = "inverted_residual",
) -> Cost:
    """The cost of MobileNetV2's block: pointwise to expansion * channels (none where expansion is 1), depthwise, pointwise.

    Other arguments and errors as for regular.
    """
    shape, parts = _image(x_shape), []
    if _count(expansion, "expansion") > 1:
        parts.append(pointwise(shape, expansion * shape[3], bias=bias, name="expand"))
        shape = parts[-1].out_shape
    parts.append(depthwise(shape, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias))
    parts.append(pointwise(parts[-1].out_shape, out_channels, bias=bias, name="project"))
    return chain(name, parts)


def network(graph: Any) -> Cost:
    """The cost of a graph of fastdw.networks; its parts are the layers. Biases count."""
    parts = []
    for layer in graph.layers:
        shapes = graph.input_shapes(layer)
        out_shape = graph.shapes[layer.name]
        n_bytes = FLOAT_BYTES * (sum(math.prod(shape) for shape in shapes) + layer.n_parameters + math.prod(out_shape))
        planned = n_bytes
        if layer.kind in KINDS:
            plan, _ = _plan(KINDS[layer.kind], shapes[0], layer.weight.shape, **getattr(layer, "geometry", {}))
            planned += bytes_of(plan) - plan.problem.bytes_moved
        parts.append(Cost(layer.name, layer.multiply_adds(*shapes), layer.n_parameters, n_bytes, planned, out_shape))
    return _total(graph.name, parts, graph.input_shape, graph.output_shape)


def separable_ratio(out_channels: int, kernel: GivenPair) -> float:
    """Multiplications of a separable convolution over those of a regular one: 1/N + 1/D_k^2."""
    return 1 / _count(out_channels, "out_channels") + 1 / math.prod(_kernel(kernel))


def _layer(name: str, kind: str, x_shape, weight_shape, bias, stride=1, padding="valid", dilation=1) -> Cost:
    plan, out_shape = _plan(kind, x_shape, weight_shape, arguments.pair(stride, "stride"), padding, arguments.pair(dilation, "dilation"))
    p = plan.problem
    n_biases = p.out_channels if arguments.flag(bias, "bias") else 0
    moved, planned = (n_bytes + FLOAT_BYTES * n_biases for n_bytes in (p.bytes_moved, bytes_of(plan)))
    return Cost(name, p.multiply_adds, p.weight_count + n_biases, moved, planned, out_shape)


def _plan(
    kind: str, x_shape, weight_shape, stride: Pair = (1, 1), padding="valid", dilation: Pair = (1, 1)
) -> tuple[Plan, tuple[int, ...]]:
    """The default plan for contiguous arrays and one thread, and the shape of the result."""
    weight = Weight(tuple(weight_shape), contiguous(weight_shape).strides)
    request = Request(kind, contiguous(x_shape), weight, stride=stride, padding=arguments.padding(padding), dilation=dilation)
    problem, out_shape = problem_of(request)
    return planner.default_plan(lay(request, problem, contiguous(out_shape))[0], 1, host()), out_shape


def chain(name: str, parts: Sequence[Cost]) -> Cost:
    """Layers of which each reads only what the one before it gives."""
    between = sum(2 * FLOAT_BYTES * math.prod(part.out_shape) for part in parts[:-1])
    moved = sum(part.bytes_moved for part in parts) - between
    return Cost(name, *_sums(parts), moved, sum(part.bytes_planned for part in parts), parts[-1].out_shape, tuple(parts))


def _total(name: str, parts: Sequence[Cost], in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Cost:
    multiply_adds, parameters = _sums(parts)
    moved = FLOAT_BYTES * (math.prod(in_shape) + parameters + math.prod(out_shape))
    return Cost(name, multiply_adds, parameters, moved, sum(part.bytes_planned for part in parts), out_shape, tuple(parts))


def _sums(parts: Sequence[Cost]) -> tuple[int, int]:
    return sum(part.multiply_adds for part in parts), sum(part.parameters for part in parts)


def bytes_of(plan: Plan) -> int:
    """What the tasks of a plan read and write: rows under two blocks of rows twice, weights in each block of rows,
    and all of a row in each block of channels where an output needs all channels."""
    p = plan.problem
    if p.kind == POOL:
        return p.bytes_moved
    images, rows = (p.batch * p.height, p.width) if p.kind == POINTWISE else (p.batch, p.out_height)
    row_blocks = count_blocks(rows, 1, plan.blocking.rows)
    x_bytes = FLOAT_BYTES * p.batch * p.height * p.width * p.channels
    if p.kind != DEPTHWISE:
        x_bytes *= -(-p.out_channels // plan.blocking.channels)
    shared_rows = max(0, span(p.kernel[0], p.dilation[0]) - p.stride[0]) if p.kind != POINTWISE else 0
    x_bytes += FLOAT_BYTES * p.batch * (row_blocks - 1) * shared_rows * p.width * p.channels
    return x_bytes + FLOAT_BYTES * (p.weight_count * images * row_blocks + math.prod(p.out_shape))


def _image(x_shape) -> tuple[int, ...]:
    if not isinstance(x_shape, (tuple, list)):
        raise arguments.wrong_type("x_shape", x_shape, "(height, width, channels) or (batch, height, width, channels)")
    if len(x_shape) not in (3, 4):
        raise arguments.error("x_shape", arguments.shown(x_shape), "(height, width, channels) or (batch, height, width, channels)")
    shape = tuple(_count(extent, "x_shape") for extent in x_shape)
    return shape if len(shape) == 4 else (1, *shape)


def _kernel(kernel) -> Pair:
    return arguments.pair(kernel, "kernel")


def _count(value, name: str) -> int:
    return arguments.integer(value, name, 1)
