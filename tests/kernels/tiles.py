"""Every tile of the registry, and problems sized relative to a tile."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import stated_order

import fastdw
from fastdw.call import Call, bind
from fastdw.kernels.spec import MIN_LANES, KernelSpec, Plan, registry
from fastdw.machine import Machine, host
from fastdw.packing import BLANK, PackedWeight
from fastdw.problem import CONV, DEPTHWISE, NO_ACTIVATION, POINTWISE, POOL, Activation, Pair, Problem, span
from fastdw.request import Request, Strided, Weight
from fastdw.tile import TileShape

PACK = {DEPTHWISE: fastdw.pack_depthwise, POINTWISE: fastdw.pack_pointwise, CONV: fastdw.pack_conv2d}
MEANING = {
    DEPTHWISE: stated_order.depthwise_conv2d,
    POINTWISE: stated_order.pointwise_conv2d,
    CONV: stated_order.conv2d,
    POOL: stated_order.global_average_pool2d,
}


# ---- tiles ----
FEW = range(1, MIN_LANES)  # channels that do not fill the narrowest vector


class Window(NamedTuple):
    """What a tile of a depthwise kernel is made for: the filter's columns, the multiplier, and perhaps the columns of the image."""

    taps: int = 3
    stride: int = 1
    dilation: int = 1
    multiplier: int = 1
    cols: int = 99

    @property
    def padding(self) -> Pair:
        reach = span(self.taps, self.dilation) - 1
        return reach // 2, reach - reach // 2


EVERY_TILE = [Window(), Window(3, 2), Window(5), Window(5, 2), Window(3, 1, 2)]
SOME_TILES = [
    *(
        Window(cols=7),
        Window(5, cols=14),
        Window(3, 2, cols=14),
        Window(31, cols=14),
        Window(9, 2, cols=5),
        Window(2, cols=9),
        Window(3, 1, 4, cols=14),  # phases of 4 columns and of 3
        Window(5, 1, 4, cols=5),  # of 2 and of 1
    ),  # whole rows
    *(Window(3, 2, 2), Window(3, 2, 3)),  # phases
    *(Window(8), Window(9), Window(31), Window(9, 2), Window(9, 1, 2)),  # chunks
    *(Window(1), Window(2), Window(4), Window(7), Window(3, 3), Window(3, 5)),
    *(Window(multiplier=2), Window(5, 2, 1, 2), Window(multiplier=3), Window(9, 1, 1, 3), Window(multiplier=5)),
    *(Window(3, 1, 2, 8), Window(multiplier=17), Window(multiplier=32)),
]
WINDOWS = EVERY_TILE + SOME_TILES


def roomy(kind: str, channels: int, window: Window = WINDOWS[0]) -> Problem:
    """A problem whose image has room for every tile; channels are those of the input where the kind is depthwise, else of the output."""
    if kind == POOL:
        return Problem(kind, 1, 7, 7, channels, channels, (7, 7))
    if kind == DEPTHWISE:
        taps, stride, dilation, multiplier, cols = window
        padding = ((0, 0), window.padding)
        return Problem(kind, 1, 99, cols, channels, channels * multiplier, (3, taps), (stride, stride), (1, dilation), padding)
    return Problem(kind, 1, 99, 99, 3, channels, (1, 1) if kind == POINTWISE else (3, 3))


def roomy_problems(kind: str, lanes: int) -> list[Problem]:
    """For tiles of all the vectors that there may be, of one, and of vectors half as wide."""
    counts = [8 * lanes, lanes, max(MIN_LANES, lanes // 2 + 1)]
    problems = [roomy(kind, channels) for channels in counts]
    if kind == DEPTHWISE:
        problems += [roomy(kind, counts[0], window) for window in EVERY_TILE[1:]]
        problems += [roomy(kind, channels, window) for channels in FEW for window in EVERY_TILE[:2]]
    return problems


def roomy_problems_for_some_tiles(kind: str, lanes: int) -> list[Problem]:
    """For which the widest tile of each number of vectors is enough."""
    if kind == DEPTHWISE:
        few = [roomy(kind, channels) for channels in FEW]
        return few + [
            roomy(kind, channels, window) for window in SOME_TILES for channels in (8 * lanes, 2) if channels > 2 or window.cols == 99
        ]
    return [roomy(kind, channels) for channels in (*FEW, 3 * lanes // 2, 5 * lanes // 2, 3 * lanes, 5 * lanes)]


def offers(spec: KernelSpec, problem: Problem, tile: TileShape) -> bool:
    return spec.refuses(problem, host()) is None and tile in spec.shapes(problem, host())


def tiles_of(spec: KernelSpec, machine: Machine) -> list[TileShape]:
    found = []
    for problem in roomy_problems(spec.kind, machine.lanes):
        if spec.refuses(problem, machine) is None:
            found += [tile for tile in spec.shapes(problem, machine) if tile.lanes >= MIN_LANES or tile.period or spec.is_reference]
    for problem in roomy_problems_for_some_tiles(spec.kind, machine.lanes):
        if spec.refuses(problem, machine) is None:
            found += {tile.vecs: tile for tile in reversed(list(spec.shapes(problem, machine)))}.values()
    found = list(dict.fromkeys(found))
    assert found, f"{spec.name} offers no tile for any problem that it is tried on: add one to roomy_problems"
    return found


def kernel_tiles() -> list[tuple[KernelSpec, TileShape]]:
    return [(spec, tile) for spec in registry().values() for tile in tiles_of(spec, host())]


@cache
def channel_counts(spec: KernelSpec, tile: TileShape) -> dict[Window, list[int]]:
    """For which windows and how many channels of a roomy problem the kernel offers the tile."""
    counts = {}
    for window in WINDOWS if spec.kind == DEPTHWISE else WINDOWS[:1]:
        most = max(4 * tile.width // window.multiplier, 3)
        found = [count for count in range(1, most + 1) if offers(spec, roomy(spec.kind, count, window), tile)]
        if found:
            counts[window] = found
    return counts


def tile_id(value: KernelSpec | TileShape) -> str:
    return value.name if isinstance(value, KernelSpec) else str(value)


# ---- problems ----
SMALLER, WIDER = "smaller than the tile", "wider than rows that are a tile"
SIZES = {  # output rows, columns, channels: so many times the tile's, and so many more
    "equal": ((1, 0), (1, 0), (1, 0)),
    "one row more": ((1, 1), (1, 0), (2, 0)),
    "one column more": ((2, 0), (1, 1), (1, 0)),
    "one channel more": ((1, 0), (2, 0), (1, 1)),
    "one less": ((2, -1), (2, -1), (2, -1)),
    "multiples": ((2, 0), (3, 0), (2, 0)),
    "tails": ((3, -1), (2, 1), (2, 3)),
    SMALLER: ((1, -1), (1, -1), (1, -1)),
}
SIZES_FOR_OTHERS = SIZES | {WIDER: ((1, 0), (16, 0), (1, 0))}


@dataclass(frozen=True)
class Variation:
    """What is known at run time only. A depthwise kernel takes what concerns its columns from the tile."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: str = "none"
    in_channels: int = 3
    bias: bool = True
    residual: bool = False
    activation: Activation = NO_ACTIVATION


VARIATIONS = [
    Variation((3, 3), pad="same", activation=Activation(low=0.0, high=6.0)),
    Variation((1, 2), (2, 2), residual=True, in_channels=5),
    Variation((2, 3), (1, 2), (2, 1), pad="before", bias=False),
    Variation((3, 1), (3, 1), pad="beyond", residual=True, activation=Activation(low=-0.5, high=0.5), in_channels=1),
    Variation((4, 3), (2, 1), (1, 2), pad="same", bias=False, residual=True, in_channels=8),
]
PADS = {  # from the distance between the first tap and the last
    "none": lambda reach: (0, 0),
    "same": lambda reach: (reach // 2, reach - reach // 2),
    "before": lambda reach: (reach, 0),
    "beyond": lambda reach: (reach + 1, reach + 2),
}


def _window(tile: TileShape, variation: Variation, columns: Window) -> dict[str, Pair]:
    v = variation
    if tile.taps == 0:
        return {"kernel": v.kernel, "stride": (v.stride[0], tile.stride or v.stride[1]), "dilation": v.dilation}
    taps, stride, dilation, *_ = columns
    return {"kernel": (v.kernel[0], taps), "stride": (v.stride[0], stride), "dilation": (v.dilation[0], dilation)}


def _padding_and_input(out: int, taps: int, stride: int, dilation: int, pad: str) -> tuple[Pair, int]:
    """The padding, and the extent of x that gives `out` outputs; less padding where nothing would be left of x."""
    reach = span(taps, dilation) - 1
    wanted = (out - 1) * stride + reach + 1
    sides = PADS[pad](reach)
    if sum(sides) >= wanted:
        sides = PADS["same"](reach)
    return sides, wanted - sum(sides)


KNOWS_EDGES = {"depthwise_rows"}  # kernels whose tiles are made for a padding


def columns_that_fit(spec: KernelSpec, tile: TileShape, columns: Window, wanted: int, channels: int) -> tuple[Pair, int, int]:
    """The padding of columns, those of the output, as many as wanted or the next that the tile is offered for, and of the image."""
    sides = (tile.left, tile.right) if columns.dilation == 1 else columns.padding
    apart = columns_apart(columns)
    least = (tile.cols - tile.uneven) * apart + tile.uneven if tile.whole else max(wanted, (tile.cols + 1) * apart)
    for cols in range(least, least + 2 * tile.cols * apart):
        width = (cols - 1) * columns.stride + span(columns.taps, columns.dilation) - sum(sides)
        problem = replace(roomy(spec.kind, channels, columns._replace(cols=99)), width=width)
        if offers(spec, replace(problem, padding=((0, 0), sides)), tile):
            return sides, cols, width
    raise AssertionError(f"no image of about {least} columns is served by {tile}")


@dataclass(frozen=True, eq=False)
class Case:
    """One problem for a tile of a kernel: arrays, keywords, and what identifies it in a failure."""

    size: str
    spec: KernelSpec
    tile: TileShape
    x: np.ndarray = field(repr=False)
    weight: np.ndarray | None = field(repr=False)
    bias: np.ndarray | None = field(repr=False)
    residual: np.ndarray | None = field(repr=False)
    out_shape: tuple[int, ...]
    window: dict
    activation: Activation

    @cached_property
    def expected(self) -> np.ndarray:
        if self.spec.kind == POOL:
            return stated_order.global_average_pool2d(self.x)
        arrays = {"weight": self.weight, "bias": self.bias, "residual": self.residual}
        return MEANING[self.spec.kind](self.x, **arrays, **self.window, activation=stated_order.argument(self.activation))

    @cached_property
    def packed(self) -> PackedWeight:
        return PACK[self.spec.kind](self.weight)

    def image(self, n: int) -> Case:
        """The same problem with one image of the batch."""
        residual = None if self.residual is None else self.residual[n : n + 1]
        given = vars(self) | {"x": self.x[n : n + 1], "residual": residual, "out_shape": (1, *self.out_shape[1:])}
        return Case(**{name: given[name] for name in self.__dataclass_fields__})

    def bind(self, out: np.ndarray, blocking: int = 0, threads: int = 1, is_packed: bool = False) -> Call:
        """The call with this tile, the blocking of that number and so many threads.

        Raises:
          TileNotOffered: the kernel does not offer the tile for a problem of this size.
        """

        def plan(problem: Problem, _: int) -> Plan:
            if self.spec.refuses(problem, host()) is not None:
                raise NotServed
            if not offers(self.spec, problem, self.tile):
                raise TileNotOffered
            blockings = list(self.spec.blockings(problem, self.tile))
            return Plan(problem, self.spec.name, self.tile, blockings[blocking % len(blockings)], threads)

        return bind(self._request(out, is_packed), plan)

    def _request(self, out: np.ndarray, is_packed: bool) -> Request:
        weight = Weight((), ())
        if is_packed:
            weight = Weight(self.packed.shape, self.packed.strides, self.packed.panel, self.packed.lanes, self.packed.kind)
        elif self.weight is not None:
            weight = Weight(self.weight.shape, self.weight.strides)
        bias = None if self.bias is None else self.bias.shape
        residual = None if self.residual is None else strided(self.residual)
        return Request(self.spec.kind, strided(self.x), weight, bias, residual, strided(out), activation=self.activation, **self.window)

    def arrays(self, is_packed: bool = False) -> tuple:
        """x, weight, bias and residual as a call takes them."""
        weight = self.packed.data if is_packed else BLANK if self.weight is None else self.weight
        return self.x, weight, self.bias, self.residual

    def __str__(self) -> str:
        return f"{self.spec.name} {self.tile}, {self.size}: x {self.x.shape}, out {self.out_shape}, {self.window}, {self.activation}"


class TileNotOffered(Exception):
    pass


class NotServed(TileNotOffered):
    """The kernel leaves a problem of this size to another."""


def strided(array: np.ndarray) -> Strided:
    return Strided(array.shape, array.strides)


def columns_apart(columns: Window) -> int:
    """Output columns that a tile takes its next column from: those between them read another grid of input columns."""
    return columns.dilation // math.gcd(columns.dilation, columns.stride)


def rows_apart(spec: KernelSpec, variation: Variation) -> int:
    """Likewise for rows."""
    return variation.dilation[0] // math.gcd(variation.dilation[0], variation.stride[0]) if spec.kind == DEPTHWISE else 1


def make_case(spec: KernelSpec, tile: TileShape, size: str, variation: Variation, batch: int = 2) -> Case:
    rng = np.random.default_rng(zlib.crc32(f"{spec.name} {tile} {size} {variation}".encode()))

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    counts = channel_counts(spec, tile)
    columns = list(counts)[rng.integers(len(counts))]
    multiplier = columns.multiplier if spec.kind == DEPTHWISE else 1
    outputs = (tile.rows, tile.width // tile.period, tile.period) if tile.period else (tile.rows, tile.cols, tile.width)
    sizes = [max(1, times * extent + more) for extent, (times, more) in zip(outputs, SIZES_FOR_OTHERS[size], strict=True)]
    rows, cols, wanted = sizes[0] * rows_apart(spec, variation), sizes[1] * columns_apart(columns), sizes[2]
    count = min(counts[columns], key=lambda count: abs(count * multiplier - wanted))
    channels = count * multiplier
    if spec.kind == POOL:
        return Case(size, spec, tile, normal(batch, rows + 1, cols + 2, channels), None, None, None, (batch, channels), {}, NO_ACTIVATION)
    inputs = count if spec.kind == DEPTHWISE else variation.in_channels
    if spec.kind == POINTWISE:
        window, x_extents, weight = {}, (rows, cols), normal(inputs, channels)
    else:
        window = _window(tile, variation, columns)
        kernel = window.pop("kernel")
        steps = zip((rows, cols), kernel, window["stride"], window["dilation"], strict=True)
        padding, x_extents = zip(*(_padding_and_input(*step, variation.pad) for step in steps), strict=True)
        if spec.name in KNOWS_EDGES:
            sides, cols, width = columns_that_fit(spec, tile, columns, cols, count)
            padding, x_extents = (padding[0], sides), (x_extents[0], width)
        window["padding"] = padding
        outer = (channels,) if spec.kind == CONV else (multiplier,) if multiplier > 1 else ()
        weight = normal(*kernel, inputs, *outer)
    out_shape = (batch, rows, cols, channels)
    bias = normal(channels) if variation.bias else None
    residual = normal(*out_shape) if variation.residual else None
    x = normal(batch, *x_extents, inputs)
    return Case(size, spec, tile, x, weight, bias, residual, out_shape, window, variation.activation)


def case_of_its_own(spec: KernelSpec, tile: TileShape, variation: Variation) -> Case:
    """One image, of a size or a padding that the kernel does not leave to another: where possible less than twice the tile."""
    for size, pad in itertools.product(("one less", "tails", "multiples", "equal", WIDER), (variation.pad, "beyond")):
        case = make_case(spec, tile, size, replace(variation, pad=pad), batch=1)
        try:
            case.bind(np.empty(case.out_shape, np.float32))
        except NotServed:
            continue
        return case
    raise NotServed


def cases(spec: KernelSpec, tile: TileShape) -> Iterator[Case]:
    """The tile at every size, each with one of the variations."""
    first = zlib.crc32(str(tile).encode())
    for i, size in enumerate(SIZES):
        yield make_case(spec, tile, size, VARIATIONS[(first + i) % len(VARIATIONS)])
