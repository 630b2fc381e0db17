"""Random problems for every call: shapes, geometries, layouts and values, all from one seed.

A case costs its float64 oracle a few milliseconds. What a depthwise kernel is compiled for comes from a fixed list that
reaches every registered kernel; everything else is free, but that problems of small seeds, which the suite runs, share kernels.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import oracle
from windows import USUAL_WINDOWS, WINDOWS, Window

import fastdw
from fastdw.kernels.spec import Plan
from fastdw.packing import PackedWeight

CALLS = ("depthwise_conv2d", "pointwise_conv2d", "conv2d", "separable_conv2d", "inverted_residual", "dense", "global_average_pool2d")
SHARING = 1_000  # seeds below this: few kernels. The others, which the soak runs, are drawn from all there are
NARROW, WIDTHS = range(2, 29), (3, 7, 14)  # columns for which, or for half of which, depthwise kernels may be compiled, and some of them
LARGEST = 400_000  # multiplications of one case


@dataclass(frozen=True, eq=False)
class Case:
    """One call: its arrays and keywords by parameter name. out is where to write, its surroundings all NaN."""

    call: str
    seed: int
    arrays: dict[str, np.ndarray] = field(repr=False)
    keywords: dict[str, object] = field(repr=False)
    out: np.ndarray = field(repr=False)
    is_exact: bool = field(repr=False)
    n_multiplications: int = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.call}-{self.seed}"

    def __repr__(self) -> str:
        return f"problems.case({self.call!r}, {self.seed})"

    def __str__(self) -> str:
        arrays = [f"{name} {list(array.shape)} strides {array.strides}" for name, array in self.arrays.items()]
        return f"{self!r}: {', '.join(arrays)}, {self.keywords}"

    def run(self, functions: ModuleType, **changes):
        """The call of this name in fastdw, or its meaning in an oracle."""
        return getattr(functions, self.call)(**self.given(**changes))

    def given(self, **changes) -> dict[str, object]:
        """The call's arguments by name."""
        found = self.arrays | self.keywords | changes
        gate = {name: found.pop(name) for name in fastdw.SqueezeExcite._fields if name in found}
        return found | ({"squeeze_excite": fastdw.SqueezeExcite(**gate)} if gate else {})

    def plans(self, **changes) -> list[Plan]:
        plan = fastdw.explain(getattr(fastdw, self.call), **self.given(**changes))
        return [plan] if isinstance(plan, Plan) else list(plan.plans)

    def packed(self) -> dict[str, PackedWeight]:
        """The weights, packed, by parameter name."""
        return {name: pack(self.arrays[name]) for name, pack in PACKERS[self.call].items() if name in self.arrays}

    def rerun(self, file: str) -> str:
        """What failed, and the line that runs it alone in a test file."""
        return f"{self}\nrun it again: python -m pytest {os.path.relpath(file)} --case {self.name}"


def case(call: str, seed: int) -> Case:
    rng = np.random.default_rng([seed, zlib.crc32(call.encode())])
    return MAKERS[call](_Draw(rng, call, seed))


def named(name: str) -> Case:
    call, seed = name.rsplit("-", 1)
    return case(call, int(seed))


def cases(call: str, start: int, count: int) -> Iterator[Case]:
    return (case(call, seed) for seed in range(start, start + count))


class _Draw:
    """The choices that all calls share."""

    def __init__(self, rng: np.random.Generator, call: str, seed: int):
        self.rng, self.call, self.seed = rng, call, seed
        self.is_exact = self.chance(0.3)
        self.is_sharing = seed < SHARING

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def up_to(self, largest: int) -> int:
        return int(self.rng.integers(1, largest + 1))

    def batch(self) -> int:
        return self.pick(1, 1, 2, 3)

    def image(self) -> tuple[int, int]:
        if self.chance(0.15):  # rows that no scratch holds whole
            return self.up_to(4), self.up_to(2000)
        height, width = (self.up_to(self.pick(3, 10, 20, 40)) for _ in range(2))
        return height, self.pick(*WIDTHS) if self.is_sharing and width in NARROW else width

    def channels(self) -> int:
        around_vectors = self.pick(4, 8, 16, 24, 32, 48, 64, 96, 128) + self.pick(0, 0, 0, -1, 1)
        return self.pick(self.up_to(8), around_vectors, around_vectors, self.up_to(150))

    def window(self) -> Window:
        return self.pick(*(USUAL_WINDOWS if self.chance(0.7) else WINDOWS))

    def channels_of(self, window: Window) -> int:
        """Of the input."""
        least, most = window.channels
        drawn = self.channels()
        return max(1, (drawn if least <= drawn <= most else int(self.rng.integers(least, most + 1))) // window.multiplier)

    def rows_of(self, window: Window) -> tuple[tuple[int, int], dict]:
        """The whole filter and its geometry; what concerns rows is free."""
        is_square = self.chance(0.6)
        rows = window.taps if is_square else self.pick(1, 1, 2, 3, 3, 4, 5, 7, self.up_to(15))
        stride = window.stride if is_square else self.pick(1, 1, 2, 3, self.up_to(6))
        dilation = window.dilation if is_square else self.pick(1, 1, 2, 3, self.up_to(6))
        kernel = (rows, window.taps)
        return kernel, self.geometry(kernel, (stride, window.stride), (dilation, window.dilation))

    def geometry(self, kernel: tuple[int, int], stride, dilation) -> dict:
        few = self.rng.integers(0, 4, 4).tolist()
        wide = [(k - 1) * d + 1 for k, d in zip(kernel, oracle.pair(dilation), strict=True)]
        enough = ((wide[0] // 2, wide[0] // 2), (wide[1] // 2, wide[1] // 2))
        rows = (few[0], few[1])
        if self.chance(0.15):  # seldom: depthwise kernels are compiled for the padding of columns
            padding = self.pick(few[0], (few[0], few[1]), (rows, (few[2], few[3])))
        else:
            padding = self.pick("valid", "same", "same", "same_lower", (rows, (0, 0)), (rows, enough[1]), enough)
        return {"stride": stride, "padding": padding, "dilation": dilation}

    def activation(self, functions: tuple[str, ...] = ()):
        """A clamp, or seldom one of the functions: each compiles a kernel of its own, and its results are not exact."""
        if functions and not self.is_exact and self.chance(0.05 if self.is_sharing else 0.15):
            return self.pick(*functions)
        low, high = sorted(self.rng.integers(-3, 8, 2).tolist())
        return self.pick(None, None, "relu", "relu6", (low, high), (low + 0.5, high + 0.75), (low, float("inf")), (-float("inf"), high))

    def values(self, *shape: int) -> np.ndarray:
        if self.is_exact:
            return self.rng.integers(-4, 5, shape).astype(np.float32)
        return self.rng.standard_normal(shape, np.float32)

    def scattered(self, array: np.ndarray) -> np.ndarray:
        """The same values in some layout: channel stride 1, other strides free, NaN between and around."""
        *extents, channels = array.shape
        if self.chance(0.4):
            offset = self.up_to(16)  # start anywhere in a cache line
            buffer = np.full(array.size + offset, np.nan, np.float32)
            view = buffer[offset:].reshape(array.shape)
        else:
            order = self.rng.permutation(len(extents)) if self.chance(0.2) else np.arange(len(extents))
            steps = [self.pick(1, 1, 1, 2, 3, -1, -2) if self.chance(0.5) else 1 for _ in extents]
            before, after = (self.up_to(20), self.up_to(20)) if self.chance(0.5) else (0, 0)
            spread = [extent * abs(step) for extent, step in zip(extents, steps, strict=True)]
            buffer = np.full([*(spread[axis] for axis in order), before + channels + after], np.nan, np.float32)
            unordered = buffer.transpose(*np.argsort(order), len(extents))
            view = unordered[(*(slice(None, None, step) for step in steps), slice(before, before + channels))]
        view[...] = array
        return view

    def input(self, *shape: int) -> np.ndarray:
        if self.chance(0.1):
            return np.broadcast_to(self.values(*shape[1:]), shape)
        array = self.scattered(self.values(*shape))
        array.flags.writeable = self.chance(0.7)
        return array

    def parameter(self, *shape: int) -> np.ndarray:
        """A weight or bias: mostly contiguous, or in any other layout."""
        values = self.values(*shape)
        return self.pick(values, values, values, self.scattered(values), np.asfortranarray(values), np.repeat(values, 2, -1)[..., ::2])

    def optional(self, probability: float, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        return arrays if self.chance(probability) else {}

    def case(self, arrays: dict, keywords: dict, out_shape: tuple[int, ...], n_multiplications: int) -> Case:
        out = self.scattered(np.full(out_shape, np.nan, np.float32))
        return Case(self.call, self.seed, arrays, keywords, out, self.is_exact, n_multiplications)


def _image_for(draw: _Draw, kernel: tuple[int, int], geometry: dict) -> tuple[int, int]:
    """An image that gives at least one output pixel."""
    size = draw.image()
    out = oracle.out_size(size, kernel, **geometry)
    stride = oracle.pair(geometry["stride"])
    return tuple(extent + max(0, 1 - n_outputs) * step for extent, n_outputs, step in zip(size, out, stride, strict=True))


def _depthwise_weight(draw: _Draw, kernel: tuple[int, int], channels: int, multiplier: int) -> np.ndarray:
    is_three_dimensional = multiplier == 1 and draw.chance(0.3)
    return draw.parameter(*kernel, channels) if is_three_dimensional else draw.parameter(*kernel, channels, multiplier)


def _pointwise_weight(draw: _Draw, channels: int, out_channels: int) -> np.ndarray:
    weight = draw.parameter(channels, out_channels)
    return weight[None, None] if draw.chance(0.3) else weight


def _depthwise_conv2d(draw: _Draw) -> Case:
    window = draw.window()
    kernel, geometry = draw.rows_of(window)
    batch, size, channels, multiplier = draw.batch(), _image_for(draw, kernel, geometry), draw.channels_of(window), window.multiplier
    out_shape = (batch, *oracle.out_size(size, kernel, **geometry), channels * multiplier)
    n_multiplications = int(np.prod(out_shape)) * kernel[0] * kernel[1]
    if n_multiplications > LARGEST:
        return _depthwise_conv2d(draw)
    arrays = {"x": draw.input(batch, *size, channels), "weight": _depthwise_weight(draw, kernel, channels, multiplier)}
    arrays |= draw.optional(0.7, bias=draw.parameter(out_shape[-1]))
    arrays |= draw.optional(0.3, residual=draw.input(*out_shape))
    return draw.case(arrays, geometry | {"activation": draw.activation()}, out_shape, n_multiplications)


def _pointwise_conv2d(draw: _Draw) -> Case:
    batch, size, channels, out_channels = draw.batch(), draw.image(), draw.channels(), draw.channels()
    out_shape = (batch, *size, out_channels)
    n_multiplications = int(np.prod(out_shape)) * channels
    if n_multiplications > LARGEST:
        return _pointwise_conv2d(draw)
    arrays = {"x": draw.input(batch, *size, channels), "weight": _pointwise_weight(draw, channels, out_channels)}
    arrays |= draw.optional(0.7, bias=draw.parameter(out_channels))
    arrays |= draw.optional(0.3, residual=draw.input(*out_shape))
    return draw.case(arrays, {"activation": draw.activation(("hard_swish", "silu"))}, out_shape, n_multiplications)


def _conv2d(draw: _Draw) -> Case:
    others = [(1, 1), (2, 2), (1, 3), (3, 1), (4, 3), (3, 5), (7, 7), (1, 9)]
    kernel = draw.pick((3, 3), (3, 3), (5, 5), draw.pick(*others))
    stride = draw.pick(1, 1, 1, 2, 2, 3, (1, 2), (2, 1), (3, 2))
    geometry = draw.geometry(kernel, stride, draw.pick(1, 1, 1, 1, 1, 2, 3, (1, 2), (2, 1)))
    batch, size, out_channels = draw.batch(), _image_for(draw, kernel, geometry), draw.channels()
    channels = draw.pick(1, 3, 3, draw.channels())
    out_shape = (batch, *oracle.out_size(size, kernel, **geometry), out_channels)
    n_multiplications = int(np.prod(out_shape)) * kernel[0] * kernel[1] * channels
    if n_multiplications > LARGEST:
        return _conv2d(draw)
    arrays = {"x": draw.input(batch, *size, channels), "weight": draw.parameter(*kernel, channels, out_channels)}
    arrays |= draw.optional(0.7, bias=draw.parameter(out_channels))
    arrays |= draw.optional(0.3, residual=draw.input(*out_shape))
    return draw.case(arrays, geometry | {"activation": draw.activation()}, out_shape, n_multiplications)


def _separable_conv2d(draw: _Draw) -> Case:
    window = draw.window()
    kernel, geometry = draw.rows_of(window)
    batch, size, channels, out_channels = draw.batch(), _image_for(draw, kernel, geometry), draw.channels_of(window), draw.channels()
    out_size = oracle.out_size(size, kernel, **geometry)
    middle_channels = channels * window.multiplier
    n_multiplications = batch * out_size[0] * out_size[1] * middle_channels * (kernel[0] * kernel[1] + out_channels)
    if n_multiplications > LARGEST:
        return _separable_conv2d(draw)
    arrays = {
        "x": draw.input(batch, *size, channels),
        "depthwise_weight": _depthwise_weight(draw, kernel, channels, window.multiplier),
        "pointwise_weight": _pointwise_weight(draw, middle_channels, out_channels),
    }
    arrays |= draw.optional(0.6, depthwise_bias=draw.parameter(middle_channels))
    arrays |= draw.optional(0.6, pointwise_bias=draw.parameter(out_channels))
    arrays |= draw.optional(0.3, residual=draw.input(batch, *out_size, out_channels))
    in_depthwise = ("silu",) if window is USUAL_WINDOWS[0] else ()
    activations = {"depthwise_activation": draw.activation(in_depthwise), "activation": draw.activation(("hard_swish",))}
    return draw.case(arrays, geometry | activations, (batch, *out_size, out_channels), n_multiplications)


def _inverted_residual(draw: _Draw) -> Case:
    window = draw.window()
    kernel, geometry = draw.rows_of(window)
    adds_x = draw.chance(0.3)
    if adds_x:
        geometry |= {"padding": draw.pick("same", "same_lower"), "stride": 1}
    batch, size, expanded, expands = draw.batch(), _image_for(draw, kernel, geometry), draw.channels_of(window), draw.chance(0.8)
    channels = draw.channels() if expands else expanded
    middle, out_size = expanded * window.multiplier, oracle.out_size(size, kernel, **geometry)
    out_channels = channels if adds_x else draw.channels()
    n_multiplications = batch * (
        size[0] * size[1] * channels * expanded * expands + out_size[0] * out_size[1] * middle * (kernel[0] * kernel[1] + out_channels)
    )
    if n_multiplications > LARGEST:
        return _inverted_residual(draw)
    arrays = {
        "x": draw.input(batch, *size, channels),
        "depthwise_weight": _depthwise_weight(draw, kernel, expanded, window.multiplier),
        "project_weight": _pointwise_weight(draw, middle, out_channels),
    }
    arrays |= draw.optional(0.6, depthwise_bias=draw.parameter(middle))
    arrays |= draw.optional(0.6, project_bias=draw.parameter(out_channels))
    keywords = {name: draw.activation() for name in ("expand_activation", "depthwise_activation", "activation")} | {"residual": adds_x}
    if expands:
        arrays |= {"expand_weight": _pointwise_weight(draw, channels, expanded)}
        arrays |= draw.optional(0.6, expand_bias=draw.parameter(expanded))
    else:
        keywords["expand_weight"] = None
    if not draw.is_exact and draw.chance(0.3):
        squeezed = draw.up_to(24)
        arrays |= {"squeeze_weight": draw.parameter(middle, squeezed), "excite_weight": draw.parameter(squeezed, middle)}
        arrays |= draw.optional(0.6, squeeze_bias=draw.parameter(squeezed))
        arrays |= draw.optional(0.6, excite_bias=draw.parameter(middle))
    return draw.case(arrays, geometry | keywords, (batch, *out_size, out_channels), n_multiplications)


def _dense(draw: _Draw) -> Case:
    batch, channels, out_channels = draw.pick(1, 1, 2, draw.up_to(20)), draw.up_to(600), draw.up_to(600)
    if batch * channels * out_channels > LARGEST:
        return _dense(draw)
    arrays = {"x": draw.input(batch, channels), "weight": draw.parameter(channels, out_channels)}
    arrays |= draw.optional(0.7, bias=draw.parameter(out_channels))
    return draw.case(arrays, {"activation": draw.activation(("gelu",))}, (batch, out_channels), batch * channels * out_channels)


def _global_average_pool2d(draw: _Draw) -> Case:
    batch, size, channels = draw.batch(), draw.image(), draw.channels()
    keepdims = draw.chance(0.5)
    out_shape = (batch, 1, 1, channels) if keepdims else (batch, channels)
    return draw.case({"x": draw.input(batch, *size, channels)}, {"keepdims": keepdims}, out_shape, batch * size[0] * size[1] * channels)


MAKERS = {
    "depthwise_conv2d": _depthwise_conv2d,
    "pointwise_conv2d": _pointwise_conv2d,
    "conv2d": _conv2d,
    "separable_conv2d": _separable_conv2d,
    "inverted_residual": _inverted_residual,
    "dense": _dense,
    "global_average_pool2d": _global_average_pool2d,
}

PACKERS = {
    "depthwise_conv2d": {"weight": fastdw.pack_depthwise},
    "pointwise_conv2d": {"weight": fastdw.pack_pointwise},
    "conv2d": {"weight": fastdw.pack_conv2d},
    "separable_conv2d": {"depthwise_weight": fastdw.pack_depthwise, "pointwise_weight": fastdw.pack_pointwise},
    "inverted_residual": {
        "expand_weight": fastdw.pack_pointwise,
        "depthwise_weight": fastdw.pack_depthwise,
        "project_weight": fastdw.pack_pointwise,
        "squeeze_weight": fastdw.pack_pointwise,
        "excite_weight": fastdw.pack_pointwise,
    },
    "dense": {"weight": fastdw.pack_pointwise},
    "global_average_pool2d": {},
}
