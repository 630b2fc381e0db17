"""What the kernels on panels of columns share: pointwise and regular convolution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from fastdw.kernels.spec import Blocking, Layout, lanes_for
from fastdw.machine import Machine
from fastdw.packing import Panels
from fastdw.tile import TileShape

PANEL_FIELDS = (
    "weight_depth",  # bytes from one row of a panel to the next
    "weight_panel",  # bytes from one panel to the next
    "weight_channel",  # bytes a column, where the weight is raw and a panel is found by its first column
    "weight_last",  # bytes from the first vector of a panel to its last
    "out_last",
    "panels",
    "last_panel",  # the first column of the last panel
    "panel_blocks",
)


EXTENTS = (1, 2, 4, 6, 7, 8, 12, 14)  # pixels of a tile: a finite set, or odd images would compile for seconds each
USUAL_GAIN = 0.95  # panels of another width than the usual one must save so much: each is machine code of its own
LONE = 1.1  # what a panel of one vector costs, with a factor to load for every multiply-add


@cache
def panels_for(columns: int, machine: Machine) -> Panels:
    """Two vectors wide where vectors are wide or registers few, four where a vector is short and registers are many;
    another width where that computes clearly fewer columns twice."""
    widest = lanes_for(columns, machine)
    usual = min(4 if widest < 8 and machine.registers == 32 else 2, -(-columns // widest))
    most = 6 if machine.registers == 32 else 3 if machine.is_fused else 2

    def cost(panels: Panels) -> tuple:
        time = panels.count * panels.vecs * (2 if panels.lanes == 16 and machine.is_halved else 1)
        is_usual = (panels.vecs, panels.lanes) == (usual, widest)
        factor = USUAL_GAIN if is_usual else LONE if panels.vecs == 1 else 1
        return time * factor, -panels.lanes, abs(panels.vecs - usual)

    lanes = [widest, 8] if widest == 16 and machine.is_halved else [widest]
    found = [Panels(columns, vecs, each) for each in lanes for vecs in range(1, most + 1) if (vecs - 1) * each < columns]
    return min(found, key=cost)


def panel_fields(columns: int, shape: TileShape, layout: Layout, channels_a_task: int) -> dict[str, int]:
    panels = Panels(columns, shape.vecs, shape.lanes)
    packed = layout.panel > 0
    return {
        "weight_depth": layout.weight[0],
        "weight_panel": layout.weight[1] if packed else 0,
        "weight_channel": 0 if packed else 4,
        "weight_last": shape.last_vec if packed else 4 * panels.last_vec,
        "out_last": 4 * panels.last_vec,
        "panels": panels.count,
        "last_panel": panels.last,
        "panel_blocks": max(1, min(panels.count, -(-columns // max(1, channels_a_task)))),
    }


def extents_up_to(limit: int) -> list[int]:
    return [extent for extent in EXTENTS if extent <= limit]


def panel_shapes(extents: Iterable[int], columns: int, machine: Machine) -> Iterator[TileShape]:
    """Every tile of so many pixels that fits the registers: accumulators, a row of the panel, what is multiplied with it, and a product
    where it is not fused. That is one number broadcast, or where a lane can be a factor a vector of input channels of each pixel."""
    panels = panels_for(columns, machine)
    depth = machine.lanes if machine.is_lane_operand else 1
    for extent in sorted(extents, reverse=True):
        factors = (extent if depth > 1 else 1) + (0 if machine.is_fused else 1)
        if extent * panels.vecs + panels.vecs + factors <= machine.registers:
            yield TileShape(1, extent, panels.vecs, panels.lanes, depth=depth)


ENOUGH = 12  # accumulators that hide the latency of the FMA units


def best_panel_shape(extents: list[int], shapes: Iterator[TileShape]) -> TileShape:
    """The tile that computes the fewest pixels twice in runs of pixels, and of those the smallest that hides the FMA units' latency."""

    def cost(shape: TileShape) -> tuple:
        accumulators = shape.pixels * shape.vecs
        computed = sum(-(-extent // shape.pixels) * shape.pixels for extent in extents)
        time = computed * max(1, ENOUGH / accumulators)
        return (time, accumulators if accumulators >= ENOUGH else -accumulators)

    return min(shapes, key=cost)


def panel_blockings(rows: int, row_tile: int, columns: int, shape: TileShape) -> Iterator[Blocking]:
    for tiles in (1, 4, 8, 16):
        for panels in (1, 4, 1 << 30):
            yield Blocking(min(rows, tiles * row_tile), min(columns, panels * shape.width))
